"""A trained translator as a SavedModel: strings in, strings out.

The folder that `export_translator` fills is what TensorFlow Serving watches:
one subfolder for each version, named by its number. Besides TensorFlow, whoever
loads a version needs only `tensorflow_text`, for the subwords.

B: strings    S: source length    n: translations of each
"""

import dataclasses
import functools
import pathlib
import shutil
import tempfile

import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the operations of the subwords
from tensorflow.core.protobuf import saved_model_pb2

from translation.beam_options import BeamOptions
from translation.special_ids import EOS_ID, PAD_ID
from translation.translate import (
    MAX_SOURCE_LENGTH,
    Translation,
    translate_batch,
)

_WITHOUT_GRADIENTS = tf.saved_model.SaveOptions(
    experimental_custom_gradients=False
)


class ServedTranslator(tf.Module):
    """Translates string tensors.

    Any string has a defined result, and none depends on the others: a blank
    one gives the empty string with score 0, a source longer than
    `max_source_length` subwords is cut, and bytes that are not UTF-8 are
    read as U+FFFD. An empty batch gives empty tensors.

    Args:
        translator: `translation.translate.TranslationModel`, such as a Keras
            model or a `tf.Module`.
        tokenizer: `Tokenizer`.
        options: `BeamOptions`. `translate` gives the best translation,
            `translate_nbest` as many as the beam is wide.
        max_source_length: int. Subwords of a source, eos included.
    """

    def __init__(
        self,
        translator,
        tokenizer,
        options=None,
        max_source_length=MAX_SOURCE_LENGTH,
    ):
        super().__init__(name="served_translator")
        self.weights = []
        self.tokenizer = tokenizer
        self.options = options or BeamOptions()
        # Not an attribute: of a Keras model that is one, saving would want
        # its `call` as well.
        self._search = functools.partial(translate_batch, translator)
        self.max_source_length = max_source_length

    def translate(self, inputs):
        """The best translation of each string.

        Args:
            inputs: `(B,)` string.

        Returns:
            dict of `outputs` `(B,)` string and `scores` `(B,)` float32.
        """
        found = self._translations(inputs, 1)
        return {
            "outputs": found["outputs"][:, 0],
            "scores": found["scores"][:, 0],
        }

    def translate_nbest(self, inputs):
        """Several translations of each string, best first.

        Args:
            inputs: `(B,)` string.

        Returns:
            dict of `outputs` `(B, n)` string, `scores` `(B, n)` float32 and
            `lengths` `(B, n)` int32, in subwords with eos. Where there are
            fewer than n, the rest is empty, with scores of `-inf`.
        """
        return self._translations(inputs, self.options.beam_width)

    def _translations(self, inputs, count):
        options = dataclasses.replace(self.options, num_translations=count)
        size = tf.size(inputs)
        # A model need not bear an empty batch: it gets a blank instead.
        inputs = tf.concat([inputs, tf.fill([1 - tf.minimum(size, 1)], "")], 0)
        found = self._search(self.source_ids(inputs), options)
        flat_ids = tf.reshape(found.ids, [-1, tf.shape(found.ids)[2]])
        outputs = tf.reshape(
            self.tokenizer.detokenize(flat_ids), tf.shape(found.scores)
        )
        blank = tf.equal(tf.strings.strip(inputs), "")[:, tf.newaxis]
        first_score = tf.one_hot(0, count, 0.0, -float("inf"))
        return {
            "outputs": tf.where(blank, "", outputs)[:size],
            "scores": tf.where(blank, first_score, found.scores)[:size],
            "lengths": tf.where(blank, 0, found.lengths)[:size],
        }

    def signatures(self):
        """The functions to serve, by name, in graphs of their own."""
        strings = tf.TensorSpec([None], tf.string, "inputs")
        functions = {
            name: tf.function(
                method, input_signature=[strings], autograph=False
            ).get_concrete_function()
            for name, method in (
                ("serving_default", self.translate),
                ("translate_nbest", self.translate_nbest),
            )
        }
        # What is to be saved has to be found from an attribute.
        used = [x for f in functions.values() for x in f.graph.variables]
        self.weights = list({id(x): x for x in used}.values())
        return functions

    def source_ids(self, strings):
        """Subwords `(B, S)` of strings `(B,)`, each row ending in eos."""
        ids = self.tokenizer.tokenize(strings)[:, : self.max_source_length - 1]
        eos_B1 = tf.fill([tf.size(strings), 1], EOS_ID)
        return tf.concat([ids, eos_B1], axis=1).to_tensor(PAD_ID)


def export_translator(
    translator,
    tokenizer,
    folder,
    options=None,
    max_source_length=MAX_SOURCE_LENGTH,
):
    """Writes a new version of a translator to a folder.

    A version appears all at once, complete, under the next free number.

    Args:
        translator, tokenizer, options, max_source_length: as for
            `ServedTranslator`.
        folder: str or path, that of all versions. Made when missing.

    Returns:
        `pathlib.Path` of the version, `folder/<number>`.

    Example:

    >>> from translation.tokenizer import train_tokenizer
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
    served = ServedTranslator(translator, tokenizer, options, max_source_length)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Not a number, so that no server takes it for a version.
    partial = pathlib.Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder))
    try:
        tf.saved_model.save(
            served,
            str(partial),
            signatures=served.signatures(),
            options=_WITHOUT_GRADIENTS,
        )
        _forget_gradients(partial / "saved_model.pb")
        partial.chmod(0o755)  # mkdtemp's is for its owner only
        return _rename_to_next_version(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _forget_gradients(path):
    """Takes out names of gradients, which loading would warn that it lacks."""
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta_graph in model.meta_graphs:
        graph = meta_graph.graph_def
        nodes = [*graph.node]
        for function in graph.library.function:
            nodes += function.node_def
        for node in nodes:
            node.attr.pop("_gradient_op_type", None)
    path.write_bytes(model.SerializeToString(deterministic=True))


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
    """Numbers of the versions in a folder, in order."""
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
    """

    def __init__(self, path, batch_size=64):
        self.path = _version_path(path)
        self.batch_size = batch_size
        # The object has to stay: its variables live as long as it does.
        self._loaded = tf.saved_model.load(str(self.path))
        self._translate = self._loaded.signatures["serving_default"]

    def __call__(self, texts):
        """List of `Translation(text, score)` for a list of str."""
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
    path = pathlib.Path(path)
    if (path / "saved_model.pb").is_file():
        return path
    numbers = versions(path)
    if not numbers:
        raise ValueError(
            "`path` must be a folder with exported versions, named 1, 2, ..., "
            f"or one of these. Received: path={path}"
        )
    return path / str(numbers[-1])
