"""The last states of training, and the way back to them after a stop."""

import math
import pathlib

from trainers.engine.checkpoints.best import SCORE_IDENTITY, BestCheckpoints
from trainers.engine.checkpoints.contents import TrainingState
from trainers.engine.checkpoints.files import (
    CheckpointError,
    CheckpointFolder,
    DamagedCheckpoint,
)
from trainers.engine.checkpoints.identity import (
    agree,
    as_json,
    check_identity,
    differences,
)

# What manifests call it, those of earlier versions too.
_BATCHES_IDENTITY = "data"


class Checkpoints:
    """Saves the state of training, and restores it after a stop.

    Layout: `MODEL_DIR/checkpoints/` holds the last few states of training,
    `MODEL_DIR/best/` the weights of the best evaluations.

    Args:
        model_dir: str or path.
        keep: int. How many of the last states are kept.
        keep_best: int. How many of the best evaluations are kept.
        model: The Keras model; its weights are all that `best` needs.
        optimizer: Its Keras optimizer, built.
        identity: dict. What makes the run, field by field: a checkpoint with
            other values is not restored.
        score_identity: dict. What scores depend on besides the weights:
            scores with other values are not compared.
        batches_identity: dict. What the place in the data belongs to: with
            other values, all but `batches` is restored.
        log: Function of one line of text.
        **state: Everything else that training has to remember; `batches` is
            the iterator that keeps the place in the data.
    """

    def __init__(
        self,
        model_dir,
        keep,
        keep_best,
        model,
        optimizer,
        identity=None,
        score_identity=None,
        batches_identity=None,
        log=print,
        **state,
    ):
        self._keep = keep
        self._about = as_json(
            {
                "identity": identity or {},
                SCORE_IDENTITY: score_identity or {},
                _BATCHES_IDENTITY: batches_identity or {},
            }
        )
        self._log = log
        self._training = training_folder(model_dir)
        self._best = BestCheckpoints(model_dir, keep_best, self._about)
        self._state = TrainingState(model, optimizer, **state)

    def gathered(self, workers):
        """Context manager: the chief has the parts of all workers to save.

        All workers enter it at the same point.
        """
        return self._state.gathered(workers)

    def save(self, step):
        """Saves the state of training; the oldest one beyond `keep` goes.

        The state of step 0 goes when the first other state is saved.

        Raises:
            CheckpointError: if the disk does not take it.
        """
        write = self._state.everything.write
        self._training.write(step, write, self._about)
        saved = self._training.stored()
        for stored in saved[:-1]:
            if stored.step == 0 or stored not in saved[-self._keep :]:
                self._training.remove(stored)

    def save_best(self, step, score, is_best, perplexity=math.inf):
        """Keeps the weights if they are the best; see `BestCheckpoints`."""
        write = self._state.weights.write
        self._best.save(step, score, is_best, write, perplexity)

    def best_score_left(self):
        """Finds the best score whose weights are whole, and its perplexity.

        See `BestCheckpoints.verified_score`.
        """
        return self._best.verified_score(self._log)

    def find(self):
        """Finds the last whole state of training.

        A damaged one is named in the log and set aside, and the one before it
        is taken.

        Returns:
            Its name, for `load`; None if nothing was saved yet.

        Raises:
            CheckpointError: if all that was saved is damaged, or is of
                another configuration or version.
        """
        damaged = []
        for stored in reversed(self._training.stored()):
            try:
                self._training.verify(stored)
            except DamagedCheckpoint as error:
                damaged.append((stored, error))
                continue
            check_identity(stored, self._about["identity"])
            for torn, error in damaged:
                self._training.set_aside(torn)
                self._log(f"{error} The checkpoint before it is taken.")
            return stored.path.name
        if damaged:
            raise CheckpointError(
                f"No checkpoint in {self._training.path} is whole: "
                f"{' '.join(str(error) for _, error in damaged)} Move the "
                "folder away to start anew."
            )
        return None

    def load(self, name):
        """Restores the checkpoint that `find` has found.

        Args:
            name: str. Perhaps another process has found it.

        Returns:
            `(step, is_same_score)`: the steps done, and whether scores from
            before can be compared with those to come.

        Raises:
            CheckpointError: if it is not there, or does not fit.
        """
        for stored in self._training.stored():
            if stored.path.name == name:
                self._read(stored)
                is_same_score = agree(
                    stored.about[SCORE_IDENTITY], self._about[SCORE_IDENTITY]
                )
                return stored.step, is_same_score
        raise CheckpointError(
            f"There is no {name} in {self._training.path}, though the chief "
            "sees it: all workers must have the same folder under this path."
        )

    def _read(self, stored):
        """Restores a checkpoint, but not the place in other batches."""
        # Earlier versions had these fields among those of the identity.
        there = {
            **stored.about["identity"],
            **stored.about.get(_BATCHES_IDENTITY, {}),
        }
        differing = differences(there, self._about[_BATCHES_IDENTITY])
        self._state.read(stored, without=("batches",) if differing else ())
        if differing:
            self._log(
                f"The batches are others than before: {differing}. They begin "
                "anew, with the first epoch; all else goes on."
            )


def training_folder(model_dir):
    """Opens the folder of the last states of training."""
    return CheckpointFolder(pathlib.Path(model_dir) / "checkpoints")
