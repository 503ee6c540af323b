"""A trained translator as a SavedModel: strings in, strings out.

`export_translator` writes a version as `versions.py` has it. To load it one
needs TensorFlow and `tensorflow_text`, for the subwords. Its functions are
those of `served.py`.
"""

import tensorflow as tf

from translation.search.ensemble import keras_models
from translation.search.translate import MAX_SOURCE_LENGTH, Translation
from translation.serving.served import ServedTranslator
from translation.serving.versions import version_path, write_version


def export_translator(
    translator,
    tokenizer,
    folder,
    options=None,
    max_source_length=MAX_SOURCE_LENGTH,
    target_languages=(),
    about=None,
    warmup_texts=(),
    in_8_bits=False,
):
    """Writes a new version of a translator to a folder; see `write_version`.

    Args:
        translator, tokenizer, options, max_source_length, target_languages:
            as for `ServedTranslator`.
        folder: str or path of all versions. Made when missing.
        about: dict or None. More for the card, see `translation.serving.card`.
        warmup_texts: Sequence of str, the usual kind of source.
        in_8_bits: bool. Whether the matrices of the Keras model, or of all
            members of an ensemble, are kept in 8 bits: see `quantized.py`.

    Returns:
        `pathlib.Path` of the version, `folder/<number>`.

    `LoadedTranslator` has an example.
    """
    served = ServedTranslator(
        translator, tokenizer, options, max_source_length, target_languages
    )
    if in_8_bits:
        served.quantize(keras_models(translator))
    return write_version(served, folder, about, warmup_texts)


class LoadedTranslator:
    """A SavedModel made by `export_translator`, called with Python strings.

    Args:
        path: str or path: a version, or the folder of all versions, of
            which the newest is taken.
        batch_size: int. Texts translated at a time.

    Attributes:
        has_targets: bool. Whether it is told into which language.

    Example:

    >>> import tempfile
    >>> from translation.text.tokenizer.training import train_tokenizer
    >>> class Echo:  # says the source again; the state is the place
    ...     def encode(self, source_ids):
    ...         return source_ids, tf.zeros(tf.shape(source_ids))
    ...     def step(self, ids, state, memory):
    ...         place = tf.cast(state[:, 0], tf.int32) % tf.shape(memory)[1]
    ...         said = tf.gather(memory, place, axis=1, batch_dims=1)
    ...         return tf.one_hot(said, 300, 9.0), state + 1.0
    ...     def alignment(self, state):
    ...         return state
    >>> tokenizer = train_tokenizer(["ha ha ha", "ha"], 300)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = export_translator(Echo(), tokenizer, folder)
    ...     translations = load_translator(folder)(["ha"])
    >>> path.name, translations[0].text
    ('1', 'ha')
    """

    def __init__(self, path, batch_size=64):
        self.path = version_path(path)
        self.batch_size = batch_size
        # Keep the object: its variables live as long as it does.
        self._loaded = tf.saved_model.load(str(self.path))
        self._translate = self._loaded.signatures["serving_default"]
        _, inputs = self._translate.structured_input_signature
        self.has_targets = "target_language" in inputs

    def __call__(self, texts, targets=""):
        """Translates texts.

        Args:
            texts: List of str.
            targets: str or list of str, the language of all translations or
                of each. The empty one stands for the first that the model
                writes, and is all that a model of one language takes.

        Returns:
            List of `Translation`.

        Raises:
            ValueError: if a model of one language is asked for another.
        """
        if not self.has_targets and targets != "":
            raise ValueError(
                "`targets` is for models of several target languages, and "
                f"{self.path} has one. Received: targets={targets!r}"
            )
        if isinstance(targets, str):
            targets = [targets] * len(texts)
        found = []
        for start in range(0, len(texts), self.batch_size):
            some = slice(start, start + self.batch_size)
            asked = {"inputs": tf.constant(texts[some], tf.string)}
            if self.has_targets:
                asked["target_language"] = tf.constant(targets[some], tf.string)
            result = self._translate(**asked)
            found += [
                Translation(text.decode(), float(score))
                for text, score in zip(
                    result["outputs"].numpy(),
                    result["scores"].numpy(),
                    strict=True,
                )
            ]
        return found


def load_translator(path, batch_size=64):
    """Loads an exported translator; see `LoadedTranslator`.

    Raises:
        ValueError: if there is no exported translator at `path`.
    """
    return LoadedTranslator(path, batch_size)
