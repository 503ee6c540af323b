"""A trained language model as a SavedModel: strings in, strings out.

To load a version one needs TensorFlow and `tensorflow_text`; for a vocabulary
of words TensorFlow alone. Its functions are those of `served.py`.
"""

from language_model.serving.served import MAX_LENGTH, ServedLanguageModel
from translation.serving.versions import write_version


def export_language_model(
    model,
    vocabulary,
    folder,
    options=None,
    max_length=MAX_LENGTH,
    about=None,
    warmup_texts=(),
    in_8_bits=False,
):
    """Writes a new version of a language model; see `write_version`.

    Args:
        model, vocabulary, options, max_length: as for `ServedLanguageModel`.
        folder: str or path of all versions. Made when missing.
        about: dict or None. More for the card, see `translation.serving.card`.
        warmup_texts: Sequence of str, the usual kind of text.
        in_8_bits: bool. Whether the weights are kept in 8 bits: see
            `translation.serving.quantized`.

    Returns:
        `pathlib.Path` of the version, `folder/<number>`.

    Example, of a model that has yet to be trained:

    >>> import tempfile
    >>> import tensorflow as tf
    >>> from language_model.config import LanguageModelConfig
    >>> from language_model.model import LanguageModel
    >>> from language_model.words import count_words
    >>> words = count_words(["a dog sleeps"], 9)
    >>> model = LanguageModel(
    ...     LanguageModelConfig(vocab_size=7, depth=4, lstm_units=4)
    ... )
    >>> model.build()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = export_language_model(model, words, folder)
    ...     loaded = tf.saved_model.load(str(path))
    >>> score = loaded.signatures["score"]
    >>> score(inputs=tf.constant(["a dog"]))["tokens"].numpy().tolist()
    [[b'a', b'dog', b'</s>']]
    """
    served = ServedLanguageModel(model, vocabulary, options, max_length)
    if in_8_bits:
        served.quantize([model])
    return write_version(served, folder, about, warmup_texts)
