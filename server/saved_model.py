"""One version of a SavedModel, loaded: functions of arrays."""

import functools
import pathlib

import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the operations of the subwords
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2

# No public name, though `tf.Session` had time-outs: what ends a running call.
from tensorflow.python.eager import cancellation

from server.errors import ServingError
from server.signature import read_signature
from server.warmup import read_requests


class Cancellation:
    """Ends the call that it was given to, from any thread."""

    def __init__(self):
        self.manager = cancellation.CancellationManager()

    def cancel(self):
        self.manager.start_cancel()


class SavedModel:
    """A version in memory; may be called from several threads.

    Args:
        path: str or path of the version's folder.

    Attributes:
        signatures: dict of `Signature` by name.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        # Keep the object: its variables live as long as it does.
        self._loaded = tf.saved_model.load(str(path))
        self._functions = {
            name: function
            for name, function in self._loaded.signatures.items()
            if not name.startswith("__")  # TensorFlow's own initializers
        }
        self._saved = self._read_signatures()
        self.signatures = {
            name: read_signature(name, function, self._saved[name].defaults)
            for name, function in self._functions.items()
        }

    def signature(self, name):
        """Returns a `Signature`.

        Raises:
            ServingError: 400, if there is none of this name.
        """
        if name not in self.signatures:
            raise ServingError(
                400,
                f'Serving signature name: "{name}" not found in signature def',
            )
        return self.signatures[name]

    def call(self, name, columns, cancellation=None):
        """Calls a signature.

        Args:
            name: str.
            columns: dict of arrays by names of inputs.
            cancellation: `Cancellation` or None.

        Returns:
            dict of arrays by names of outputs.

        Raises:
            tf.errors.OpError: `CancelledError` if it was cancelled.
        """
        inputs = {
            key: tf.constant(columns[key], tensor.dtype, columns[key].shape)
            for key, tensor in self.signatures[name].inputs.items()
        }
        with _context(cancellation):
            found = self._functions[name](**inputs)
        return {key: value.numpy() for key, value in found.items()}

    def warm_up(self):
        """Runs the warm-up requests; returns how many there were."""
        count = 0
        for name, columns in read_requests(self.path):
            self.call(name, columns)
            count += 1
        return count

    @functools.cached_property
    def metadata(self):
        """The signatures as TensorFlow Serving's `/metadata` has them."""
        return {
            name: json_format.MessageToDict(
                signature,
                always_print_fields_with_no_presence=True,
                preserving_proto_field_name=True,
            )
            for name, signature in self._saved.items()
        }

    def _read_signatures(self):
        """`SignatureDef` by name, without the graph that they come with."""
        file = self.path / "saved_model.pb"
        model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
        saved = model.meta_graphs[0].signature_def
        copies = {name: type(saved[name])() for name in self._functions}
        for name, copy in copies.items():
            copy.CopyFrom(saved[name])
        return copies


def _context(cancellation_or_none):
    manager = (cancellation_or_none or Cancellation()).manager
    return cancellation.CancellationManagerContext(manager)
