"""The folder of a run: what it holds and how a model comes back from it.

config.json     the effective configuration
tokenizer.model the SentencePiece model
filters.json    what the filters dropped from the training corpora
checkpoints/    the last states of training
best/           weights of the best evaluations
averaged/       a folder like this one, with the mean of several of them
bad_steps/      batches whose loss or gradient was not finite
lock            held by the process that trains
logs/           TensorBoard
routing.jsonl   windows of the routing, with verdicts
export/N/       SavedModel, version N
results.json    figures of the finished run
test.*          sources (src), translations (hyp) and references (ref) of the
                test corpus, a line each
"""

import contextlib
import dataclasses
import fcntl
import functools
import json
import os
import pathlib
import re
import shlex
import socket

import keras
import tensorflow as tf

from moe_keras.monitoring import uncounted
from moe_keras.paths import local_path
from trainers.engine.checkpoints.best import best_folder, load_best
from trainers.engine.checkpoints.contents import weights_by_path
from trainers.engine.checkpoints.files import (
    CheckpointError,
    DamagedCheckpoint,
    flush_to_disk,
)
from trainers.engine.checkpoints.recent import training_folder
from trainers.engine.overrides import field_paths, with_overrides
from trainers.translator.fields import FIXED, fields_of, identity
from trainers.translator.stored_config import config_of
from translation.model.translator import Translator
from translation.text.tokenizer.tokenizer import Tokenizer


class FolderError(ValueError):
    """A model folder does not hold what is asked of it; a one-line message."""


class ModelFolder:
    """Paths and files of one run.

    Args:
        path: str or path, in which `~` is expanded. Made when something is
            first saved.

    Raises:
        FolderError: for a URL.

    Example:

    >>> import tempfile
    >>> from trainers.translator.presets import preset
    >>> from translation.text.tokenizer.training import train_tokenizer
    >>> tokenizer = train_tokenizer(["a dog sleeps", "the cat sees it"], 280)
    >>> config = with_overrides(
    ...     preset("phrasebook"),
    ...     [f"vocab_size={tokenizer.vocab_size}", "depth=8", "lstm_units=8"],
    ... )
    >>> folder = ModelFolder(tempfile.mkdtemp())
    >>> folder.save_model(config, build_model(config), tokenizer)
    >>> model, tokenizer = folder.load_model(folder.load_config())
    """

    def __init__(self, path):
        try:
            self.path = local_path(path)
        except ValueError as error:
            raise FolderError(f"A model folder: {error}") from error
        self.tokenizer_path = self.path / "tokenizer.model"
        self.export_path = self.path / "export"
        self._lock_path = self.path / "lock"
        self._best = best_folder(self.path)

    @contextlib.contextmanager
    def lock(self):
        """Within the block no other process can have the lock.

        The kernel gives it back when the process ends, however it ends. A
        folder that was made for it, and got nothing else, is taken away again.

        Raises:
            FolderError: if another process has it, or the folder cannot be
                written to.
        """
        is_new = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = open(self._lock_path, "a+", encoding="utf-8")
        except OSError as error:
            raise FolderError(
                f"{self.path} cannot be written to: {error.strerror}."
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._check_is_there(file)
            except (BlockingIOError, FileNotFoundError) as error:
                file.seek(0)
                raise FolderError(
                    f"{self.path} is in use by {file.read().strip()}. Wait "
                    "for it, or take another --model_dir."
                ) from error
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            try:
                yield
            finally:
                if is_new and list(self.path.iterdir()) == [self._lock_path]:
                    self._lock_path.unlink()
                    self.path.rmdir()

    def _check_is_there(self, file):
        """The process that had the lock may have taken it away meanwhile."""
        there, ours = os.stat(self._lock_path), os.fstat(file.fileno())
        if not os.path.samestat(there, ours):
            raise FileNotFoundError(self._lock_path)

    def save_config(self, config):
        """Writes the configuration, replacing an earlier one."""
        self._write_json("config.json", dataclasses.asdict(config))

    def load_config(self, changes=()):
        """The configuration of the run.

        Args:
            changes: List of `"field=value"` for fields of the search and
                `bleu_tokenizer`, the only ones that a trained model leaves
                open.

        Raises:
            FolderError: if the folder has none, or for other changes.
        """
        values = self._read_json("config.json")
        if values is None:
            raise FolderError(
                f"No trained model in {self.path}: config.json is missing. "
                "Train one with --mode=train_and_evaluate."
            )
        config = _config(values)
        changed = with_overrides(config, changes)
        same = dataclasses.replace(
            changed,
            search=config.search,
            bleu_tokenizer=config.bleu_tokenizer,
        )
        if same != config:
            raise FolderError(
                "A trained model leaves only the search to be changed, "
                f"{', '.join(field_paths(config.search))}, and how BLEU is "
                "measured, bleu_tokenizer. "
                f"Received: {', '.join(changes)}"
            )
        return changed

    def has_config(self):
        """Whether a run has begun here."""
        return (self.path / "config.json").exists()

    def check_same(self, config):
        """Refuses to go on with another model than the folder's.

        Raises:
            FolderError: naming the fields that differ.
        """
        if not self.has_config():
            return
        if any("averaged" in best.about for best in self._best.stored()):
            raise FolderError(
                f"{self.path} holds a mean of checkpoints, which cannot be "
                "trained on; train in the folder that they are from, or start "
                f"another run from it: {self._way_on()}."
            )
        # Checkpoints of earlier versions know their corpus by its place only.
        fixed = FIXED if self._knows_its_corpus() else ("train", *FIXED)
        old, new = (fields_of(c, fixed) for c in (self.load_config(), config))
        names = [name for name in new if old[name] != new[name]]
        differing = [
            f"{name} (there {old[name]!r}, now {new[name]!r})" for name in names
        ]
        hint = (
            " Or, if the same corpus has only moved, write its place into "
            f"{self.path / 'config.json'}."
        )
        if differing:
            raise FolderError(
                f"{self.path} holds a model of another configuration: "
                f"{', '.join(differing)}. Take another --model_dir; to start "
                f"from the weights of this one, {self._way_on()}."
                f"{hint * (names == ['train'])}"
            )

    def check_nothing_is_lost(self):
        """Refuses to train where training would replace what cannot go on.

        Raises:
            FolderError: if there are weights but no checkpoint to go on from,
                or checkpoints without their vocabulary; it says how to go on.
        """
        best, training = self._best.stored(), training_folder(self.path)
        if not (best or training.stored()):
            return
        if not self.tokenizer_path.exists():
            raise FolderError(
                f"{self.path} has checkpoints, but not their vocabulary: "
                f"{self.tokenizer_path.name} is missing. Put it back, or take "
                "another --model_dir."
            )
        if training.stored():
            return
        names = ", ".join(
            f"{stored.path.name} (score {stored.about.get('score', '?')})"
            for stored in best
        )
        raise FolderError(
            f"{self.path} has the weights of evaluations in best/, {names}, "
            f"but nothing in {training.path.name}/ to go on from: training "
            "from the beginning would replace them. The other modes work with "
            f"them as before. To train on from them, {self._way_on()}. To "
            "begin anew here, move best/ away."
        )

    def _way_on(self):
        return f"--init_from={shlex.quote(str(self.path))} --model_dir=OTHER"

    def _knows_its_corpus(self):
        return any(
            "train.pairs" in stored.about.get("identity", {})
            for stored in training_folder(self.path).stored()
        )

    def save_results(self, results):
        """Writes the figures of the finished run."""
        self._write_json("results.json", results)

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
            self._replace(f"{name}.{ending}", write)
        return [self.path / f"{name}.{ending}" for ending in texts]

    def load_results(self, config):
        """The figures of the run if it finished with this config, or None."""
        results = self._read_json("results.json")
        if results and _config(results["config"]) == config:
            return results
        return None

    def save_tokenizer(self, tokenizer):
        """Writes the SentencePiece model."""
        self._replace(self.tokenizer_path.name, tokenizer.save)

    def save_filter_reports(self, reports):
        """Writes what was dropped from the training corpora, and why."""
        if reports:
            self._write_json("filters.json", [vars(r) for r in reports])

    def load_tokenizer(self):
        """The tokenizer of the run.

        Raises:
            TokenizerError: if there is none.
        """
        return Tokenizer.load(self.tokenizer_path)

    def save_model(self, config, model, tokenizer, step=0, **about):
        """Makes this the folder of a trained model.

        Its configuration and its vocabulary are written, and its weights as
        the best, in place of those that were.

        Args:
            config: `NmtConfig`.
            model: The translator.
            tokenizer: `Tokenizer`.
            step: int. Updates that it has had.
            **about: What else is to be known of it, as JSON has it.

        Raises:
            CheckpointError: if the disk does not take it.
        """
        self.save_config(config)
        self.save_tokenizer(tokenizer)
        earlier = self._best.stored()
        write = tf.train.Checkpoint(model=weights_by_path(model)).write
        about = {"identity": identity(config, tokenizer), **about}
        self._best.write(step, write, about)
        for stored in earlier:
            self._best.remove(stored)

    def load_model(self, config):
        """The best translator of the run and its tokenizer.

        Raises:
            FolderError: if nothing was saved yet.
            CheckpointError: if what was saved cannot be used.
        """
        tokenizer = self.load_tokenizer()
        model = build_model(config)
        try:
            found = load_best(self.path, model, identity(config, tokenizer))
        except DamagedCheckpoint as error:
            raise CheckpointError(
                f"{error} No checkpoint in {self.path / 'best'} is whole. "
                "Train on (delete results.json if training was over), and "
                "another is made from the last weights."
            ) from error
        if found is None:
            raise FolderError(
                f"No checkpoint in {self.path / 'best'} yet. Train on with "
                "--mode=train_and_evaluate."
            )
        return model, tokenizer

    def _write_json(self, name, values):
        text = json.dumps(values, indent=2, ensure_ascii=False)
        self._replace(
            name, lambda path: path.write_text(text + "\n", encoding="utf-8")
        )

    def _replace(self, name, write):
        """Lets `write` make a file, which is then there in whole or as before.

        Args:
            name: str.
            write: Function of the path to write to.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        aside = self.path / f"{name}.new"
        write(aside)
        flush_to_disk(aside)
        aside.replace(self.path / name)

    def _read_json(self, name):
        file = self.path / name
        if not file.exists():
            return None
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise FolderError(
                f"{file} is torn: {error}. Delete it; the command that has "
                "trained the model writes it anew."
            ) from error


def build_model(config):
    """A translator with fresh weights."""
    return build_translator(config.model, config.precision)


def build_translator(model_config, precision):
    """A translator with fresh weights, of a dtype policy of Keras."""
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


def _config(values):
    try:
        return config_of(values)
    except ValueError as error:
        raise FolderError(str(error)) from error
