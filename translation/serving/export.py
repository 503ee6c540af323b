"""A trained translator as a SavedModel: strings in, strings out.

`export_translator` fills a folder as TensorFlow Serving expects it, with one
subfolder for each version, named by its number:

saved_model.pb, variables/                the model; its subwords are in it
assets.extra/card.json, card.md           what it is: see `card.py`
assets.extra/tf_serving_warmup_requests   see `warmup.py`

To load a version one needs TensorFlow and `tensorflow_text`, for the subwords.
Its functions are those of `served.py`.
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
from translation.search.translate import MAX_SOURCE_LENGTH, Translation
from translation.serving.card import make_card, write_card
from translation.serving.served import ServedTranslator
from translation.serving.warmup import NoServingApi, write_requests

_WITHOUT_GRADIENTS = tf.saved_model.SaveOptions(
    experimental_custom_gradients=False
)


def export_translator(
    translator,
    tokenizer,
    folder,
    options=None,
    max_source_length=MAX_SOURCE_LENGTH,
    target_languages=(),
    about=None,
    warmup_texts=(),
):
    """Writes a new version of a translator to a folder.

    A version appears under the next free number when it is complete and on
    the disk. It has warm-up requests if `tensorflow-serving-api` is installed;
    otherwise a warning is logged.

    Args:
        translator, tokenizer, options, max_source_length, target_languages:
            as for `ServedTranslator`.
        folder: str or path of all versions. Made when missing.
        about: dict or None. More for the card, see `translation.serving.card`.
        warmup_texts: Sequence of str, the usual kind of source.

    Returns:
        `pathlib.Path` of the version, `folder/<number>`.

    `LoadedTranslator` has an example.
    """
    served = ServedTranslator(
        translator, tokenizer, options, max_source_length, target_languages
    )
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
        served, str(folder), signatures=functions, options=_WITHOUT_GRADIENTS
    )
    _forget_gradients(folder / "saved_model.pb")
    write_card(make_card(served, functions, folder, about), folder)
    try:
        write_requests(folder, warmup_texts)
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


class LoadedTranslator:
    """A SavedModel made by `export_translator`, called with Python strings.

    Args:
        path: str or path: a version, or the folder of all versions, of
            which the newest is taken.
        batch_size: int. Texts translated at a time.

    Example:

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
        self.path = _version_path(path)
        self.batch_size = batch_size
        # Keep the object: its variables live as long as it does.
        self._loaded = tf.saved_model.load(str(self.path))
        self._translate = self._loaded.signatures["serving_default"]

    def __call__(self, texts):
        """Translates a list of str to a list of `Translation`."""
        found = []
        for start in range(0, len(texts), self.batch_size):
            batch = texts[start : start + self.batch_size]
            result = self._translate(inputs=tf.constant(batch, tf.string))
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


def _version_path(path):
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
