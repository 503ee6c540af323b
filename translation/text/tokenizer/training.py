"""A vocabulary of subwords, learned from text by SentencePiece.

With the options that `tokenizer.py` counts on: byte fallback, special ids of
our own, no rules of normalisation but that of U+2581, and the same bytes from
the same text every time.
"""

import io
import pathlib
import re
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from translation.text.corpora.reservoir import reservoir
from translation.text.normalization import FORMS, normalized
from translation.text.special_ids import BOS_ID, EOS_ID, PAD_ID, UNK_ID
from translation.text.tokenizer.tokenizer import Tokenizer, TokenizerError

_MODEL_TYPES = ("unigram", "bpe")
# Of 256 bytes and four special ids.
_RESERVED_PIECES = 260


def train_tokenizer(
    sentences,
    vocab_size,
    model_type="unigram",
    input_sentence_size=500_000,
    character_coverage=0.9999,
    seed=0,
    normalization="none",
):
    """Learns a vocabulary of subwords from text.

    The same sentences and arguments give the same model.

    Args:
        sentences: iterable of str, of both languages when they share a
            vocabulary. Read once; sentences of more than 4,192 bytes are
            passed over.
        vocab_size: int. Entries wanted, 260 of them special ids and bytes.
            There are fewer when the text does not bear so many.
        model_type: `"unigram"` or `"bpe"`.
        input_sentence_size: int. At most so many sentences are kept in
            memory and learned from, drawn evenly from all.
        character_coverage: float. Fraction of the characters in the text that
            get an entry of their own; rarer ones are spelled in bytes.
        seed: int. Seed of that draw.
        normalization: str. `NFC` or `NFKC`, the normal form of Unicode that
            text is brought into, here and by the tokenizer later, or `none`.

    Returns:
        A `Tokenizer`.

    Raises:
        TokenizerError: if `vocab_size` has no room for the characters of
            the text, or there is no text.

    Example:

    >>> tokenizer = train_tokenizer(["ein Baum", "a tree"], 280, "bpe")
    >>> tokenizer.decode(tokenizer.encode(["Bäume, 樹"]))
    ['Bäume, 樹']
    """
    if model_type not in _MODEL_TYPES:
        raise TokenizerError(
            f"`model_type` must be one of {', '.join(_MODEL_TYPES)}. "
            f"Received: model_type={model_type!r}"
        )
    if normalization not in FORMS:
        raise TokenizerError(
            f"`normalization` must be one of {', '.join(FORMS)}. "
            f"Received: normalization={normalization!r}"
        )
    sample = reservoir(filter(None, sentences), input_sentence_size, seed)
    if not sample:
        raise TokenizerError(
            "`sentences` must hold at least one that is not empty."
        )
    tokenizer = Tokenizer(
        _learn(
            [normalized(sentence, normalization) for sentence in sample],
            vocab_size=vocab_size,
            model_type=model_type,
            character_coverage=character_coverage,
        )
    )
    return tokenizer.normalized(normalization)


def _learn(sentences, vocab_size, **options):
    """Bytes of the model that SentencePiece learns, with our options."""
    model = io.BytesIO()
    try:
        with tempfile.TemporaryDirectory() as folder:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=(" " + sentence for sentence in sentences),
                model_writer=model,
                vocab_size=vocab_size,
                **options,
                **_escape_rules(pathlib.Path(folder)),
                **_FIXED_OPTIONS,
            )
    except RuntimeError as error:
        raise TokenizerError(_explain(error, vocab_size)) from error
    return _without_paths(model.getvalue())


_FIXED_OPTIONS = {
    "byte_fallback": True,
    "remove_extra_whitespaces": False,
    "add_dummy_prefix": False,
    "hard_vocab_limit": False,
    "pad_id": PAD_ID,
    "bos_id": BOS_ID,
    "eos_id": EOS_ID,
    "unk_id": UNK_ID,
    "num_threads": 2,  # part of the model: another number, other bytes
    "minloglevel": 2,
}


def _escape_rules(folder):
    """Rules that carry U+2581 through as U+FDD0, and nothing else."""
    escape, restore = folder / "escape.tsv", folder / "restore.tsv"
    escape.write_text("2581\tFDD0\n", encoding="utf-8")
    restore.write_text("FDD0\t2581\n", encoding="utf-8")
    return {
        "normalization_rule_tsv": str(escape),
        "denormalization_rule_tsv": str(restore),
    }


def _without_paths(model_proto):
    """The model without the names of temporary files, that differ each time."""
    model = sentencepiece_model_pb2.ModelProto.FromString(model_proto)
    model.normalizer_spec.ClearField("normalization_rule_tsv")
    model.denormalizer_spec.ClearField("normalization_rule_tsv")
    return model.SerializeToString(deterministic=True)


def _explain(error, vocab_size):
    """Say what to change, in place of SentencePiece's own message."""
    too_small = re.search(r"required_chars\. \d+ vs (\d+)", str(error))
    if too_small:
        return (
            f"`vocab_size` must be at least {too_small[1]}: "
            f"{_RESERVED_PIECES} special ids and bytes, and the characters "
            f"of the text. Received: vocab_size={vocab_size}"
        )
    if "sentences_.empty()" in str(error):
        return (
            "`sentences` must hold one of at most 4,192 bytes; "
            "all are longer. Split them."
        )
    return f"SentencePiece cannot learn a vocabulary: {error}"
