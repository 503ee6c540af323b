"""Subwords: text to ids and back, in Python and in the graph.

SentencePiece with byte fallback, so every string has ids and comes back as it
was, or in the normal form of Unicode that the model names. Two things make that
hold in both libraries, the `sentencepiece` of Python and the older one inside
tensorflow-text:

- The space before the first word is put and taken away here
  (`add_dummy_prefix` is off): tensorflow-text loses spaces at the start
  of a sentence when it does so itself.
- SentencePiece writes a space as U+2581. A U+2581 of the text itself travels
  as U+FDD0, a code point that Unicode reserves for such internal use.

The normal form is the name of the model's rules (`normalizer_spec.name`), so
that a model takes it along wherever it goes.

The only strings that do not come back are those that hold U+FDD0, which
returns as U+2581, and bytes that are not UTF-8, which return as U+FFFD.

B: batch    L: length in subwords
"""

import functools
import hashlib
import pathlib

import sentencepiece
import tensorflow as tf
import tensorflow_text as tf_text
from sentencepiece import sentencepiece_model_pb2

from moe_keras.paths import local_path
from translation.text.normalization import (
    FORMS,
    normalized,
    normalized_strings,
)
from translation.text.special_ids import BOS_ID, EOS_ID, PAD_ID, UNK_ID
from translation.text.tokenizer.word_cuts import cut_words

_Piece = sentencepiece_model_pb2.ModelProto.SentencePiece


class TokenizerError(ValueError):
    """A tokenizer cannot be trained, read or written."""


class Tokenizer(tf.Module):
    """Turn text into subword ids and back.

    It is a `tf.Module`: as an attribute of an exported module it takes its
    model with it into the SavedModel, which can then be loaded wherever
    `tensorflow_text` is imported.

    Args:
        model_proto: bytes. A SentencePiece model made by `train_tokenizer`.

    Attributes:
        vocab_size: int.
        targets: dict of int by tag, the ids of the tokens of the target
            languages; empty for a model of one. See `with_targets`.
        normalization: str. The normal form that all text is brought into
            first, one of `translation.text.normalization.FORMS`.

    Example:

    >>> from translation.text.tokenizer.training import train_tokenizer
    >>> tokenizer = train_tokenizer(["a green tree", "un arbre vert"], 280)
    >>> ids = tokenizer.encode(["a green tree"])
    >>> tokenizer.decode(ids)
    ['a green tree']
    >>> tokenizer.tokenize(tf.constant(["a tree", ""])).shape
    TensorShape([2, None])
    """

    pad_id = PAD_ID
    bos_id = BOS_ID
    eos_id = EOS_ID
    unk_id = UNK_ID

    def __init__(self, model_proto):
        super().__init__(name="tokenizer")
        self.model_proto = _checked(model_proto)
        self._processor = sentencepiece.SentencePieceProcessor(
            model_proto=self.model_proto
        )
        self.vocab_size = self._processor.vocab_size()
        self.normalization = _normalization(self.model_proto)
        self._subwords = tf_text.SentencepieceTokenizer(
            self.model_proto, out_type=tf.int32
        )

    @functools.cached_property  # as an attribute it would be saved
    def targets(self):
        """Ids of the tokens of target languages: dict of int by tag."""
        return _targets(self.model_proto)

    @property
    def sha256(self):
        """SHA-256 of its model: str of 64 hexadecimal digits."""
        return hashlib.sha256(self.model_proto).hexdigest()

    def normalized(self, normalization):
        """The same vocabulary with another normal form.

        Args:
            normalization: str, one of `translation.text.normalization.FORMS`.

        Returns:
            A `Tokenizer`.
        """
        if normalization == self.normalization:
            return self
        model = _parsed(self.model_proto)
        # SentencePiece's word for rules such as ours.
        plain = normalization == "none"
        model.normalizer_spec.name = "user_defined" if plain else normalization
        return Tokenizer(model.SerializeToString(deterministic=True))

    def with_targets(self, tags):
        """The same vocabulary with tokens for these target languages.

        The token of French is the control piece `<2fr>`, which stands for no
        text: no text is split into it, and it is decoded into none. It comes
        behind the other subwords, unless the vocabulary has it already.
        Tokens of other languages are no longer `targets`, and keep their ids.

        Args:
            tags: Sequence of str, language tags.

        Returns:
            A `Tokenizer`.

        Example:

        >>> from translation.text.tokenizer.training import train_tokenizer
        >>> tokenizer = train_tokenizer(["a tree", "un arbre"], 280)
        >>> both = tokenizer.with_targets(["fr", "en"])
        >>> size = tokenizer.vocab_size
        >>> both.targets == {"fr": size, "en": size + 1}
        True
        """
        if set(tags) == set(self.targets):
            return self
        model = _parsed(self.model_proto)
        wanted = [f"<2{tag}>" for tag in tags]
        for piece in model.pieces:
            if piece.piece in wanted:
                piece.type = piece.CONTROL
                wanted.remove(piece.piece)
            elif _is_target(piece):
                piece.piece = f"<no longer {piece.piece[1:]}"
        for name in wanted:
            model.pieces.add(piece=name, type=_Piece.CONTROL)
        model.trainer_spec.vocab_size = len(model.pieces)
        return Tokenizer(model.SerializeToString(deterministic=True))

    def without_paths(self):
        """The same vocabulary, whose model tells no path of its corpus.

        SentencePiece writes the paths of what it was trained on into a model.

        Returns:
            A `Tokenizer`.
        """
        model = _parsed(self.model_proto)
        for field in ("input", "model_prefix", "seed_sentencepieces_file"):
            model.trainer_spec.ClearField(field)
        return Tokenizer(model.SerializeToString(deterministic=True))

    def encode(self, sentences):
        """Ids of each sentence, without bos and eos, in plain Python.

        Args:
            sentences: list of str.

        Returns:
            List of lists of int.
        """
        whole = [normalized(text, self.normalization) for text in sentences]
        return self._processor.encode(
            [" " + sentence if sentence else "" for sentence in whole]
        )

    def decode(self, ids):
        """Text of each row of ids: the inverse of `encode`.

        A row ends at its first eos; other special ids are left out, and so
        are ids beyond the vocabulary.

        Args:
            ids: list of lists of int.

        Returns:
            List of str.
        """
        texts = self._processor.decode([self._plain_ids(row) for row in ids])
        return [text.removeprefix(" ") for text in texts]

    def pieces(self, ids):
        """Subwords as SentencePiece writes them, a space as U+2581.

        Args:
            ids: list of int.

        Returns:
            List of str.
        """
        return [self._processor.id_to_piece(int(index)) for index in ids]

    def tokenize(self, strings, cuts=None, seed=None):
        """Ids of each string, without bos and eos, in the graph.

        Args:
            strings: string tensor of shape `(B,)`, in UTF-8.
            cuts: float, or float tensor of shape `(B,)`. With this
                probability a word is cut at each place within it, so that
                other subwords come out: see `word_cuts.py`. None: never.
            seed: int tensor of shape `(2,)`, which decides the cuts.

        Returns:
            `RaggedTensor` of shape `(B, None)`, int32. An empty string has
            no ids.
        """
        strings = normalized_strings(strings, self.normalization)
        prefixed_B = tf.strings.join([" ", strings])
        strings = tf.where(tf.equal(strings, ""), strings, prefixed_B)
        if cuts is None:
            return self._subwords.tokenize(strings)
        parts = cut_words(strings, cuts, seed)
        ids = self._subwords.tokenize(parts.values)
        return parts.with_values(ids).merge_dims(1, 2)

    def pieces_of(self, ids):
        """Subwords as SentencePiece writes them, in the graph.

        Args:
            ids: int32 tensor.

        Returns:
            String tensor of the same shape; `""` beyond the vocabulary.
        """
        known = (ids >= 0) & (ids < self.vocab_size)
        pieces = self._subwords.id_to_string(tf.where(known, ids, 0))
        return tf.where(known, pieces, "")

    def detokenize(self, ids):
        """Text of each row of ids, in the graph: as `decode`.

        Args:
            ids: int32 tensor of shape `(B, L)`, padded.

        Returns:
            String tensor of shape `(B,)`, valid UTF-8.
        """
        ids = tf.convert_to_tensor(ids, tf.int32)
        is_end_BL = tf.cast(tf.equal(ids, EOS_ID), tf.int32)
        keep_BL = (
            tf.equal(tf.cumsum(is_end_BL, axis=1), 0)
            & (ids > UNK_ID)
            & (ids < self.vocab_size)
        )
        texts_B = self._subwords.detokenize(
            tf.ragged.boolean_mask(ids, keep_BL)
        )
        return tf.strings.regex_replace(texts_B, "^ ", "", replace_global=False)

    def save(self, path):
        """Writes the model to a file that `load` and SentencePiece read."""
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.model_proto)

    @classmethod
    def load(cls, path):
        """Reads a tokenizer that `save` wrote.

        Raises:
            TokenizerError: if there is no such file, or it holds no
                tokenizer of ours.
        """
        model_proto = read_model(path)
        try:
            return cls(model_proto)
        except TokenizerError as error:
            raise TokenizerError(f"{path}: {error}") from error

    def _plain_ids(self, row):
        row = [int(index) for index in row]
        if EOS_ID in row:
            row = row[: row.index(EOS_ID)]
        return [index for index in row if UNK_ID < index < self.vocab_size]


def read_model(path):
    """Bytes of a file, of any SentencePiece model.

    Raises:
        TokenizerError: if it cannot be read.
    """
    try:
        return local_path(path).read_bytes()
    except ValueError as error:
        raise TokenizerError(str(error)) from error
    except OSError as error:
        raise TokenizerError(
            f"Cannot read a tokenizer from {path}: {error.strerror}."
        ) from error


def _parsed(model_proto):
    return sentencepiece_model_pb2.ModelProto.FromString(model_proto)


def _targets(model_proto):
    """Ids of the tokens of target languages, by tag."""
    pieces = _parsed(model_proto).pieces
    return {
        piece.piece[2:-1]: index
        for index, piece in enumerate(pieces)
        if _is_target(piece)
    }


def _is_target(piece):
    return piece.type == _Piece.CONTROL and piece.piece.startswith("<2")


def _normalization(model_proto):
    """The normal form that a model names; others name rules of their own."""
    name = _parsed(model_proto).normalizer_spec.name
    return name if name in FORMS else "none"


def _checked(model_proto):
    """The model, if it is one of `train_tokenizer`."""
    try:
        model = _parsed(model_proto)
    except Exception as error:  # protobuf has several DecodeErrors
        raise TokenizerError("Not a SentencePiece model.") from error
    if not model.pieces:
        raise TokenizerError("Not a SentencePiece model: it has no pieces.")
    spec = model.trainer_spec
    ids = (spec.pad_id, spec.bos_id, spec.eos_id, spec.unk_id)
    if (
        ids != (PAD_ID, BOS_ID, EOS_ID, UNK_ID)
        or not spec.byte_fallback
        or model.normalizer_spec.add_dummy_prefix
    ):
        raise TokenizerError(
            "The SentencePiece model was not made by `train_tokenizer`: pad, "
            "bos, eos and unk must be 0, 1, 2, 3, with byte fallback and "
            f"without a dummy prefix. Received: pad, bos, eos, unk={ids}"
        )
    return model_proto
