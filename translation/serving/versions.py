"""Versions of a SavedModel: written in whole, numbered, found again.

A folder as TensorFlow Serving expects it has one subfolder for each version,
named by its number:

saved_model.pb, variables/                the model; its vocabulary is in it
assets.extra/card.json, card.md           what it is: see `card.py`
assets.extra/tf_serving_warmup_requests   see `warmup.py`
"""

import logging
import os
import pathlib
import shutil
import tempfile

import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the operations of the subwords
from tensorflow.core.protobuf import saved_model_pb2

from moe_keras.paths import local_path
from translation.serving.card import make_card, write_card
from translation.serving.optional_inputs import with_defaults
from translation.serving.warmup import NoServingApi, write_requests

_WITHOUT_GRADIENTS = tf.saved_model.SaveOptions(
    experimental_custom_gradients=False
)


def write_version(served, folder, about=None, warmup_texts=()):
    """Writes a new version of a model to a folder.

    A version appears under the next free number when it is complete and on
    the disk. It has warm-up requests if `tensorflow-serving-api` is installed;
    otherwise a warning is logged.

    Args:
        served: `ServedModel`.
        folder: str or path of all versions. Made when missing.
        about: dict or None. More for the card, see `make_card`.
        warmup_texts: Sequence of str, the usual kind of input.

    Returns:
        `pathlib.Path` of the version, `folder/<number>`.
    """
    folder = local_path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Not a number, so that no server takes it for a version.
    partial = pathlib.Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder))
    try:
        _write(served, partial, about, warmup_texts)
        _flush_to_disk(partial)
        partial.chmod(0o755)  # mkdtemp's is for its owner only
        return _rename_to_next_version(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(served, folder, about, warmup_texts):
    """Writes all files of a version."""
    functions = served.signatures()
    tf.saved_model.save(
        served,
        str(folder),
        signatures=with_defaults(functions, served.defaults),
        options=_WITHOUT_GRADIENTS,
    )
    _forget_gradients(folder / "saved_model.pb")
    write_card(make_card(served, functions, folder, about), folder)
    try:
        write_requests(folder, served.warmup_requests(warmup_texts))
    except NoServingApi as error:
        logging.getLogger(__name__).warning(
            "Exported without warm-up requests. %s", error
        )


def _forget_gradients(path):
    """Removes names of custom gradients: loading would warn about them."""
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta_graph in model.meta_graphs:
        graph = meta_graph.graph_def
        nodes = [*graph.node]
        for function in graph.library.function:
            nodes += function.node_def
        for node in nodes:
            node.attr.pop("_gradient_op_type", None)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _flush_to_disk(folder):
    """Waits until all files of a folder are on the disk."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _rename_to_next_version(partial, folder):
    number = max(versions(folder), default=0) + 1
    while True:
        try:
            # A folder with something in it is never replaced by a rename.
            return partial.rename(folder / str(number))
        except OSError:
            if not (folder / str(number)).exists():
                raise
            number += 1  # another export was faster


def versions(folder):
    """Lists the numbers of the versions in a folder, in order."""
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        return []
    return sorted(
        int(path.name)
        for path in folder.iterdir()
        if path.name.isascii() and path.name.isdigit()
    )


def version_path(path):
    """Finds a version.

    Args:
        path: str or path: a version, or the folder of all versions, of
            which the newest is taken.

    Returns:
        `pathlib.Path`.

    Raises:
        ValueError: if there is none.
    """
    path = local_path(path)
    if (path / "saved_model.pb").is_file():
        return path
    numbers = versions(path)
    if not numbers:
        raise ValueError(
            "`path` must be a folder with exported versions, named 1, 2, ..., "
            f"or one of these. Received: path={path}"
        )
    return path / str(numbers[-1])
