"""The mean of several checkpoints' weights."""

import numpy as np

from trainers.engine.checkpoints.best import best_folder, by_score
from trainers.engine.checkpoints.contents import read_weights
from trainers.engine.checkpoints.files import CheckpointError
from trainers.engine.checkpoints.identity import check_identity
from trainers.engine.checkpoints.recent import training_folder


def average_checkpoints(model_dir, model, which="best", identity=None):
    """Puts the mean of several checkpoints' weights into a model.

    The last ones are those of training itself, so that their mean takes the
    place of the moving average; the best ones are the averaged weights that
    were evaluated.

    Args:
        model_dir: str or path.
        model: A built Keras model of the same configuration.
        which: str. `best` or `last`, for all that were kept, or with a number
            of them, as `last:5`.
        identity: dict as for `Checkpoints`, to be compared.

    Returns:
        List of the `Stored` checkpoints that went in.

    Raises:
        ValueError: for anything else than these two words.
        CheckpointError: if there are fewer, or one of them is damaged or of
            another configuration.
    """
    folder, chosen = choose_checkpoints(model_dir, which)
    sums = [np.zeros(weight.shape) for weight in model.weights]  # float64
    for stored in chosen:
        folder.verify(stored)
        if identity is not None:
            check_identity(stored, identity)
        read_weights(stored, model)
        for total, weight in zip(sums, model.weights, strict=True):
            total += weight.numpy()
    for total, weight in zip(sums, model.weights, strict=True):
        weight.assign(total / len(chosen))
    return chosen


def save_average(folder, which="best", log=print):
    """Writes the mean of several checkpoints of a run as a model of its own.

    Args:
        folder: `RunFolder` of a kind of model.
        which: str. `best` or `last`, for all that were kept, or with a number
            of them, as `last:5`.
        log: Function of one line of text.

    Returns:
        Path of the folder that has the mean, to be used like any other:
        `averaged` in the folder of the run.

    Raises:
        ValueError, CheckpointError: as `average_checkpoints`.
        FolderError: if there is no run, or another process trains there.
    """
    config = folder.load_config()
    with folder.lock():
        model = folder.build_model(config)
        vocabulary = folder.load_vocabulary(config)
        used = average_checkpoints(
            folder.path, model, which, folder.identity(config, vocabulary)
        )
        averaged = type(folder)(folder.path / "averaged")
        averaged.save_model(
            config,
            model,
            vocabulary,
            step=max(stored.step for stored in used),
            averaged=[stored.path.name for stored in used],
        )
    names = ", ".join(str(s.path.relative_to(folder.path)) for s in used)
    log(f"The mean of {names} is in {averaged.path}.")
    return averaged.path


def choose_checkpoints(model_dir, which):
    """Finds the `CheckpointFolder` and the checkpoints that `which` names.

    Args and errors are those of `average_checkpoints`.
    """
    kind, _, count = which.partition(":")
    if kind not in ("best", "last") or (count and not _is_positive(count)):
        raise ValueError(
            "Checkpoints are best or last, or one of them with a number "
            f"above zero, as last:5. Received: {which!r}"
        )
    if kind == "last":
        folder, field = training_folder(model_dir), "keep_checkpoints"
        found = folder.stored()
    else:
        folder, field = best_folder(model_dir), "keep_best"
        found = by_score(folder.stored())
    wanted = int(count or len(found) or 1)
    if len(found) < wanted:
        raise CheckpointError(
            f"{folder.path} has {len(found)} checkpoints, {which} asks for "
            f"{wanted}. A run keeps as many as {field} says."
        )
    return folder, found[-wanted:]


def _is_positive(text):
    return text.isdecimal() and int(text) > 0
