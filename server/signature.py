"""Inputs and outputs of a signature, and whether requests may share a call."""

import dataclasses

import numpy as np
import tensorflow as tf

# Numbers that choose an answer by chance: they differ in every request, and
# what shares a call does not change what each of them gives.
_FREE_OPTIONS = ("seed",)

LENGTHS = "lengths"  # output: how much of each row is not padding


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An input or output: numpy-like dtype name, shape with None if unknown."""

    name: str
    dtype: str
    shape: tuple
    default: np.ndarray | None = dataclasses.field(
        default=None, compare=False
    )  # of an input that a request may leave out

    @property
    def has_rows(self):
        """Whether the first dimension is one of examples."""
        return len(self.shape) > 0 and self.shape[0] is None


@dataclasses.dataclass(frozen=True)
class Signature:
    """One function of a SavedModel.

    Attributes:
        name: str.
        inputs, outputs: dict of `Tensor` by name.
    """

    name: str
    inputs: dict
    outputs: dict

    @property
    def needed(self):
        """Names of the inputs that have no default."""
        return [n for n, t in self.inputs.items() if t.default is None]

    def filled(self, columns):
        """Adds the defaults of inputs that are not in columns.

        Args:
            columns: dict of arrays by names of inputs, with those needed.

        Returns:
            dict of arrays by names of all inputs.
        """
        return {
            name: columns.get(name, tensor.default)
            for name, tensor in self.inputs.items()
        }

    @property
    def padded_outputs(self):
        """Names of the outputs that are as wide as the longest row's."""
        return [n for n, t in self.outputs.items() if None in t.shape[1:]]

    @property
    def is_joinable(self):
        """Whether several requests may share a call.

        Every tensor must have a row for each example. Rows of outputs must
        have a fixed shape, or be padded along one dimension as the output
        `lengths` says: else an answer would show what shared its call.
        """
        tensors = (*self.inputs.values(), *self.outputs.values())
        if not all(tensor.has_rows for tensor in tensors):
            return False
        padded = [self.outputs[name].shape for name in self.padded_outputs]
        lengths = self.outputs.get(LENGTHS)
        has_lengths = lengths is not None and lengths.shape == (None,)
        return not padded or (
            has_lengths and all(None not in shape[2:] for shape in padded)
        )

    @property
    def options(self):
        """Names of the inputs that are options: a number for each example.

        Requests whose options differ do not share a call.
        """
        return [
            name
            for name, tensor in self.inputs.items()
            if tensor.dtype != "string"
            and tensor.shape == (None,)
            and name not in _FREE_OPTIONS
        ]


def read_signature(name, function, defaults):
    """Makes a `Signature` of a function that `tf.saved_model.load` gave.

    Args:
        name: str.
        function: The function.
        defaults: dict of `TensorProto`, the values of inputs that may be left
            out, by their names.
    """
    _, inputs = function.structured_input_signature
    return Signature(
        name,
        {
            key: _tensor(key, spec, defaults.get(key))
            for key, spec in inputs.items()
        },
        {
            key: _tensor(key, spec)
            for key, spec in function.structured_outputs.items()
        },
    )


def _tensor(name, spec, default=None):
    known = spec.shape.rank is not None
    # Of an unknown rank: nothing is known to be a row.
    shape = tuple(spec.shape.as_list()) if known else ()
    if default is not None:
        default = tf.make_ndarray(default)
    return Tensor(name, spec.dtype.name, shape, default)
