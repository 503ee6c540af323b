"""The folder of a run: what it holds and how a model comes back from it.

config.json     the effective configuration
tokenizer.model the SentencePiece model
checkpoints/    the last states of training
best/           weights of the best evaluation
logs/           TensorBoard
routing.jsonl   windows of the routing, with verdicts
export/N/       SavedModel, version N
results.json    figures of the finished run
"""

import dataclasses
import json
import pathlib

import keras
import tensorflow as tf

from trainers.checkpoints import load_best
from trainers.presets import NmtConfig, field_paths, with_overrides
from translation.model import Translator
from translation.tokenizer import Tokenizer

# What makes a run: fields that cannot change while it goes on.
FIXED = (
    "pair",
    "train",
    "vocabulary_type",
    "label_smoothing",
    "precision",
    "model.",
    "batches.",
    "loop.seed",
)


class FolderError(ValueError):
    """A model folder does not hold what is asked of it; a one-line message."""


class ModelFolder:
    """Paths and files of one run.

    Args:
        path: str or path. Made when something is first saved.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.tokenizer_path = self.path / "tokenizer.model"
        self.export_path = self.path / "export"

    def save_config(self, config):
        """Writes the configuration, replacing an earlier one."""
        self._write_json("config.json", dataclasses.asdict(config))

    def load_config(self, changes=()):
        """The configuration of the run.

        Args:
            changes: List of `"field=value"` for fields of the search, the
                only ones that a trained model leaves open.

        Raises:
            FolderError: if the folder has none, or for other changes.
        """
        values = self._read_json("config.json")
        if values is None:
            raise FolderError(
                f"No trained model in {self.path}: config.json is missing. "
                "Train one with --mode=train_and_evaluate."
            )
        config = _as_dataclass(NmtConfig, values)
        changed = with_overrides(config, changes)
        if dataclasses.replace(changed, search=config.search) != config:
            raise FolderError(
                "A trained model leaves only the search to be changed: "
                f"{', '.join(field_paths(config.search))}. "
                f"Received: {', '.join(changes)}"
            )
        return changed

    def check_same(self, config):
        """Refuses to go on with another model than the folder's.

        Raises:
            FolderError: naming the fields that differ.
        """
        if not (self.path / "config.json").exists():
            return
        old, new = field_paths(self.load_config()), field_paths(config)
        differing = [
            f"{name} (there {old[name]!r}, now {new[name]!r})"
            for name in new
            if name.startswith(FIXED) and old[name] != new[name]
        ]
        if differing:
            raise FolderError(
                f"{self.path} holds a model of another configuration: "
                f"{', '.join(differing)}. Take another --model_dir."
            )

    def save_results(self, results):
        """Writes the figures of the finished run."""
        self._write_json("results.json", results)

    def load_results(self, config):
        """The figures of the run if it finished with this config, or None."""
        results = self._read_json("results.json")
        if results and _as_dataclass(NmtConfig, results["config"]) == config:
            return results
        return None

    def load_model(self, config):
        """The best translator of the run and its tokenizer.

        Raises:
            FolderError: if nothing was saved yet.
        """
        tokenizer = Tokenizer.load(self.tokenizer_path)
        model = build_model(config)
        if load_best(self.path, model) is None:
            raise FolderError(
                f"No checkpoint in {self.path / 'best'} yet. Train on with "
                "--mode=train_and_evaluate."
            )
        return model, tokenizer

    def _write_json(self, name, values):
        self.path.mkdir(parents=True, exist_ok=True)
        text = json.dumps(values, indent=2, ensure_ascii=False)
        aside = self.path / f"{name}.new"
        aside.write_text(text + "\n", encoding="utf-8")
        aside.replace(self.path / name)

    def _read_json(self, name):
        file = self.path / name
        if not file.exists():
            return None
        return json.loads(file.read_text(encoding="utf-8"))


def build_model(config):
    """A translator with fresh weights."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.precision)
    try:
        model = Translator(config.model, name="translator")
    finally:
        keras.config.set_dtype_policy(before)
    ids = tf.ones((1, 2), tf.int32)
    model({"source": ids, "target_in": ids})
    return model


def _as_dataclass(kind, values):
    """Rebuilds a nest of frozen dataclasses from a nest of dicts."""
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(defaults))
    if unknown:
        raise FolderError(
            f"config.json has fields that this version does not know: "
            f"{', '.join(unknown)}. It was written by another version."
        )
    read = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(defaults[name]):
            read[name] = _as_dataclass(type(defaults[name]), value)
        else:
            read[name] = tuple(value) if isinstance(value, list) else value
    return kind(**read)
