"""The folder of a translator's run: that of any run, and

tokenizer.model the SentencePiece model
filters.json    what the filters dropped from the training corpora
export/N/       SavedModel, version N
test.*          sources (src), translations (hyp) and references (ref) of the
                test corpus, a line each
"""

import functools
import pathlib
import re
import shlex

import keras
import tensorflow as tf

from moe_keras.monitoring import uncounted
from trainers.engine.checkpoints.recent import training_folder
from trainers.engine.folder.files import replace_file, write_json
from trainers.engine.folder.run_folder import RunFolder
from trainers.translator.fields import RULES, identity
from translation.model.translator import Translator
from translation.text.tokenizer.tokenizer import Tokenizer


class ModelFolder(RunFolder):
    """Paths and files of one run of the translator.

    Args:
        path: str or path, in which `~` is expanded. Made when something is
            first saved.

    Raises:
        FolderError: for a URL.

    Example:

    >>> import tempfile
    >>> from trainers.engine.config.presets import preset_named
    >>> from trainers.translator.presets import PRESETS
    >>> from translation.text.tokenizer.training import train_tokenizer
    >>> tokenizer = train_tokenizer(["a dog sleeps", "the cat sees it"], 280)
    >>> sizes = ["vocab_size=280", "depth=8", "lstm_units=8"]
    >>> config = preset_named(PRESETS, "phrasebook", sizes)
    >>> folder = ModelFolder(tempfile.mkdtemp())
    >>> folder.save_model(config, build_model(config), tokenizer)
    >>> model, tokenizer = folder.load_model(folder.load_config())
    """

    def __init__(self, path):
        super().__init__(path, RULES)
        self.tokenizer_path = self.path / "tokenizer.model"
        self.export_path = self.path / "export"

    def check_same(self, config, also=()):
        """Refuses to go on with another model than the folder's."""
        # Checkpoints of earlier versions know their corpus by its place only.
        place = () if self._knows_its_corpus() else ("train",)
        super().check_same(config, (*place, *also))

    def hint_on(self, names):
        if names != ["train"]:
            return ""
        return (
            " Or, if the same corpus has only moved, write its place into "
            f"{self.path / 'config.json'}."
        )

    def start_from(self):
        """Flags that start another run from these weights."""
        return f"--init_from={shlex.quote(str(self.path))} --model_dir=OTHER"

    def _knows_its_corpus(self):
        return any(
            "train.pairs" in stored.about.get("identity", {})
            for stored in training_folder(self.path).stored()
        )

    def save_texts(self, name, texts):
        """Writes sentences for other programs: NAME.src, NAME.hyp, NAME.ref.

        Args:
            name: str.
            texts: dict of lists of str, by the ends of the names. Ends of
                lines within a sentence become spaces.

        Returns:
            List of the paths.
        """
        for ending, lines in texts.items():
            whole = [" ".join(re.split("[\r\n]+", line)) for line in lines]
            text = "".join(f"{line}\n" for line in whole)
            data = text.encode("utf-8", "replace")
            write = functools.partial(pathlib.Path.write_bytes, data=data)
            replace_file(self.path / f"{name}.{ending}", write)
        return [self.path / f"{name}.{ending}" for ending in texts]

    def save_tokenizer(self, tokenizer):
        """Writes the SentencePiece model."""
        replace_file(self.tokenizer_path, tokenizer.save)

    def load_tokenizer(self):
        """Loads the tokenizer of the run.

        Raises:
            TokenizerError: if there is none.
        """
        return Tokenizer.load(self.tokenizer_path)

    def save_filter_reports(self, reports):
        """Writes what was dropped from the training corpora, and why."""
        if reports:
            path = self.path / "filters.json"
            write_json(path, [vars(report) for report in reports])

    def build_model(self, config):
        """Builds a translator with fresh weights."""
        return build_model(config)

    def identity(self, config, vocabulary):
        """Returns what makes the run, for its checkpoints."""
        return identity(config, vocabulary)

    def save_vocabulary(self, config, vocabulary):
        """Writes the SentencePiece model."""
        del config
        self.save_tokenizer(vocabulary)

    def load_vocabulary(self, config):
        """Reads the tokenizer of the run."""
        del config
        return self.load_tokenizer()


def build_model(config):
    """Builds a translator with fresh weights."""
    return build_translator(config.model, config.precision)


def build_translator(model_config, precision):
    """Builds a translator with fresh weights, under a dtype policy of Keras."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        model = Translator(model_config, name="translator")
    finally:
        keras.config.set_dtype_policy(before)
    ids = tf.ones((1, 2), tf.int32)
    with uncounted(model):  # under a strategy only replicas can count
        model({"source": ids, "target_in": ids})
    return model
