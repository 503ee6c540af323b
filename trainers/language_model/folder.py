"""The folder of a language model's run: that of any run, and

tokenizer.model the SentencePiece model, or
words.tsv       the words and their counts
export/N/       SavedModel, version N
"""

import keras
import tensorflow as tf

from language_model.model import LanguageModel
from language_model.words import WordVocabulary
from moe_keras.monitoring import uncounted
from trainers.engine.folder.files import FolderError, replace_file
from trainers.engine.folder.run_folder import RunFolder
from trainers.language_model.fields import RULES, identity
from translation.text.tokenizer.tokenizer import Tokenizer

# By `LmConfig.vocabulary_kind`: its class and its file.
VOCABULARIES = {
    "subwords": (Tokenizer, "tokenizer.model"),
    "words": (WordVocabulary, "words.tsv"),
}


class LmFolder(RunFolder):
    """Paths and files of one run of the language model.

    Args:
        path: str or path. Made when something is first saved.

    Example:

    >>> import tempfile
    >>> from language_model.words import count_words
    >>> from trainers.engine.config.presets import preset_named
    >>> from trainers.language_model.presets import PRESETS
    >>> words = count_words(["a dog sleeps", "the cat sees it"], 20)
    >>> sizes = ["vocab_size=11", "depth=8", "lstm_units=8"]
    >>> sizes += ["vocabulary_kind=words", "num_experts=4"]
    >>> config = preset_named(PRESETS, "small", sizes)
    >>> folder = LmFolder(tempfile.mkdtemp())
    >>> folder.save_model(config, build_model(config), words)
    >>> model, words = folder.load_model(folder.load_config())
    """

    def __init__(self, path):
        super().__init__(path, RULES)
        self.export_path = self.path / "export"

    def vocabulary_path(self, kind):
        """Returns the path of a vocabulary of this kind."""
        return self.path / VOCABULARIES[kind][1]

    def save_vocabulary(self, config, vocabulary):
        """Writes the vocabulary."""
        path = self.vocabulary_path(config.vocabulary_kind)
        replace_file(path, vocabulary.save)

    def load_vocabulary(self, config):
        """Reads the vocabulary of the run.

        Raises:
            FolderError: if there is none.
        """
        path = self.vocabulary_path(config.vocabulary_kind)
        if not path.exists():
            raise FolderError(
                f"There is no {path}. All workers must have the same folder "
                "under this path; the chief writes the vocabulary there."
            )
        return VOCABULARIES[config.vocabulary_kind][0].load(path)

    def build_model(self, config):
        """Builds a language model with fresh weights."""
        return build_model(config)

    def identity(self, config, vocabulary):
        """Returns what makes the run, for its checkpoints."""
        return identity(config, vocabulary)


def build_model(config):
    """Builds a language model with fresh weights, as an `LmConfig` says."""
    return build_language_model(config.model, config.precision)


def build_language_model(config, precision):
    """Builds a language model with fresh weights.

    Args:
        config: `LanguageModelConfig`.
        precision: str, name of a dtype policy of Keras.

    Returns:
        A built `LanguageModel`.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        model = LanguageModel(config, name="language_model")
    finally:
        keras.config.set_dtype_policy(before)
    with uncounted(model):  # under a strategy only replicas can count
        model(tf.ones((1, 2), tf.int32))
    return model
