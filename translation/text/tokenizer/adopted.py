"""A SentencePiece model from elsewhere, made to fit the translator.

The model keeps its pieces and its rules of normalisation. Special ids, bytes
for unknown characters and the space before the first word become ours
(`tokenizer.py`). Ordinary text gets the same pieces as from the model itself.
"""

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from translation.text.special_ids import BOS_ID, EOS_ID, PAD_ID, UNK_ID
from translation.text.tokenizer.tokenizer import (
    Tokenizer,
    TokenizerError,
    read_model,
)

_Piece = sentencepiece_model_pb2.ModelProto.SentencePiece
_Trainer = sentencepiece_model_pb2.TrainerSpec
_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")  # in the order of their ids
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def adopt_tokenizer(path, normalization=None):
    """Reads any SentencePiece model of kind unigram or bpe.

    One that `train_tokenizer` made is taken as it is. Of others the special
    pieces are replaced and missing byte pieces added, so that there may be
    up to 260 subwords more; a text comes back as the model normalises it.

    Args:
        path: str or path.
        normalization: str. The normal form that text is brought into before
            the model sees it, one of `translation.text.normalization.FORMS`;
            None leaves that of one of ours, and is NFC for others.

    Returns:
        A `Tokenizer`.

    Raises:
        TokenizerError: if there is no such file, or it holds no such model.
    """
    model_proto = read_model(path)
    try:
        tokenizer = Tokenizer(model_proto)
        return tokenizer.normalized(normalization or tokenizer.normalization)
    except TokenizerError:
        pass  # not one of ours
    model = _adopted(_parsed(path, model_proto))
    tokenizer = Tokenizer(model.SerializeToString(deterministic=True))
    return tokenizer.normalized(normalization or "NFC")


def _parsed(path, model_proto):
    """The model as a message, if it is one that can be adopted."""
    try:
        sentencepiece.SentencePieceProcessor(model_proto=model_proto)
        model = sentencepiece_model_pb2.ModelProto.FromString(model_proto)
    except Exception as error:  # both have kinds of their own
        raise TokenizerError(f"{path} is not a SentencePiece model.") from error
    if not model.pieces:
        raise TokenizerError(f"{path} is not a SentencePiece model.")
    kinds = (_Trainer.UNIGRAM, _Trainer.BPE)
    spec = model.trainer_spec
    if spec.model_type not in kinds or spec.treat_whitespace_as_suffix:
        kind = _Trainer.ModelType.Name(spec.model_type).lower()
        raise TokenizerError(
            f"{path} must be a unigram or bpe model with spaces before the "
            f"words. Received: model_type={kind}, treat_whitespace_as_suffix="
            f"{spec.treat_whitespace_as_suffix}"
        )
    return model


def _adopted(model):
    """The model with our special ids, bytes and rules."""
    ours = {*_SPECIAL, *_BYTES}
    own = [
        piece
        for piece in model.pieces
        if piece.type not in (_Piece.CONTROL, _Piece.UNKNOWN)
        and piece.piece not in ours
    ]
    special = [
        _Piece(
            piece=name, type=_Piece.UNKNOWN if i == UNK_ID else _Piece.CONTROL
        )
        for i, name in enumerate(_SPECIAL)
    ]
    spelled = [_Piece(piece=name, type=_Piece.BYTE) for name in _BYTES]
    adopted = sentencepiece_model_pb2.ModelProto(
        pieces=[*special, *spelled, *own],
        trainer_spec=model.trainer_spec,
        normalizer_spec=model.normalizer_spec,
        denormalizer_spec=model.denormalizer_spec,
    )
    spec = adopted.trainer_spec
    spec.pad_id, spec.bos_id, spec.eos_id, spec.unk_id = (
        PAD_ID,
        BOS_ID,
        EOS_ID,
        UNK_ID,
    )
    spec.pad_piece, spec.bos_piece, spec.eos_piece, spec.unk_piece = _SPECIAL
    spec.byte_fallback = True
    spec.vocab_size = len(adopted.pieces)
    adopted.normalizer_spec.add_dummy_prefix = False
    adopted.normalizer_spec.remove_extra_whitespaces = False
    return adopted
