"""Variables that hold a shard of a weight, and files that hold it whole.

A weight of experts may be in several variables, on several devices. Each is
marked with the `Shard` that it holds, and so are its moving average and its
optimizer slots. A checkpoint has one tensor for them, written and read shard
by shard: it does not depend on where the shards were, and no process has to
hold all of it.
"""

import contextlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.python.trackable.base import Trackable  # no public names
from tensorflow.python.training.saving import saveable_object

_VALUE = "VARIABLE_VALUE"  # what TensorFlow calls that of a variable in files


class Shard(NamedTuple):
    """The slices of a weight that a variable holds.

    Attributes:
        path: str. Keras' path of the whole weight.
        shape: tuple. Shape of the whole.
        pieces: tuple. Each piece is a tuple of slices of the whole, one for
            each dimension. Side by side along `axis`, in this order, they
            are the variable.
        axis: int.
    """

    path: str
    shape: tuple
    pieces: tuple
    axis: int

    @property
    def part_shape(self):
        """Shape of the variable."""
        sizes = [piece.stop - piece.start for piece in self.pieces[0]]
        sizes[self.axis] *= len(self.pieces)
        return tuple(sizes)

    def take(self, whole):
        """Slice the variable's values from an array of the whole weight."""
        parts = [whole[piece] for piece in self.pieces]
        return np.concatenate(parts, self.axis)

    def take_of_one(self, expert):
        """Slice one expert's values to those in the variable."""
        parts = [expert[piece[1:]] for piece in self.pieces]
        return tf.concat(parts, self.axis - 1) if len(parts) > 1 else parts[0]

    def put(self, part, whole):
        """Write the variable's values into an array of the whole weight."""
        parts = np.split(part, len(self.pieces), self.axis)
        for piece, values in zip(self.pieces, parts, strict=True):
            whole[piece] = values

    @property
    def places(self):
        """Places of the pieces in the whole, as TensorFlow writes them."""
        sizes = " ".join(str(size) for size in self.shape)
        return [
            f"{sizes} "
            + ":".join(f"{s.start},{s.stop - s.start}" for s in piece)
            for piece in self.pieces
        ]


def mark(variable, shard):
    """Mark a Keras or TensorFlow variable with the `Shard` that it holds."""
    raw(variable)._moe_keras_shard = shard


def shard_of(variable):
    """Return the `Shard` of a variable, or None if it holds a whole weight."""
    return getattr(raw(variable), "_moe_keras_shard", None)


def raw(variable):
    """Return the TensorFlow variable behind one of Keras, or itself."""
    return getattr(variable, "_value", variable)


def gather_shards(variables):
    """Gather a whole weight in the memory of this process.

    Args:
        variables: List of all its shards.

    Returns:
        Array.
    """
    variables = [raw(variable) for variable in variables]
    first = variables[0]
    whole = np.empty(shard_of(first).shape, first.dtype.as_numpy_dtype)
    for variable in variables:
        shard_of(variable).put(variable.numpy(), whole)
    return whole


def concat_shards(variables):
    """Join shards to a tensor of the whole weight, with their gradients.

    Args:
        variables: List of all its shards.

    Returns:
        Tensor.

    Example:

    >>> variables = [tf.Variable([[1.0, 3.0]]), tf.Variable([[2.0, 4.0]])]
    >>> for n, variable in enumerate(variables):
    ...     sides = [(slice(0, 1), slice(m, m + 1)) for m in (n, 2 + n)]
    ...     mark(variable, Shard("kernel", (1, 4), tuple(sides), axis=1))
    >>> concat_shards(variables).numpy().tolist()
    [[1.0, 2.0, 3.0, 4.0]]
    """
    rows = {}  # the first expert of a shard: {place along `axis`: piece}
    for variable in variables:
        shard = shard_of(variable)
        pieces = tf.split(raw(variable), len(shard.pieces), shard.axis)
        for place, piece in zip(shard.pieces, pieces, strict=True):
            row = rows.setdefault(place[0].start, {})
            row[place[shard.axis].start] = piece
    axis = shard_of(variables[0]).axis
    joined = [
        tf.concat([row[start] for start in sorted(row)], axis)
        for _, row in sorted(rows.items())
    ]
    return tf.concat(joined, 0)


def assign_shards(value, variables):
    """Set shards of a weight from a value of the whole weight.

    Args:
        value: Array-like of the shape of the whole.
        variables: List of shards, all of them or some.

    Raises:
        ValueError: for another shape.
    """
    value, whole = np.asarray(value), shard_of(variables[0])
    if value.shape != whole.shape:
        raise ValueError(
            f"`value` must have the shape {whole.shape} of {whole.path}. "
            f"Received: value.shape={value.shape}"
        )
    for variable in variables:
        variable.assign(shard_of(variable).take(value))


def device_of(variable):
    """Context manager: place new operations on the shard's device.

    Args:
        variable: Keras or TensorFlow variable; for one that is no shard the
            context does nothing.
    """
    if shard_of(variable) is None:
        return contextlib.nullcontext()
    return tf.device(raw(variable).device)


def whole_variables(variables):
    """Prepare variables for `tf.train.Checkpoint`, with shards joined.

    Args:
        variables: List of Keras or TensorFlow variables.

    Returns:
        List of TensorFlow variables, and of one `Whole` in the place of the
        shards of a weight.

    Example:

    >>> import tempfile
    >>> whole, parts = tf.Variable([[1.0], [2.0]]), []
    >>> for n in range(2):
    ...     parts.append(tf.Variable([[0.0]]))
    ...     piece = (slice(n, n + 1), slice(0, 1))
    ...     mark(parts[n], Shard("kernel", (2, 1), (piece,), axis=0))
    >>> folder = tempfile.mkdtemp()
    >>> path = tf.train.Checkpoint(v=[whole]).write(f"{folder}/ckpt")
    >>> checkpoint = tf.train.Checkpoint(v=whole_variables(parts))
    >>> _ = checkpoint.read(path).assert_consumed()
    >>> [part.numpy().tolist() for part in parts]
    [[[1.0]], [[2.0]]]
    """
    wholes, result = {}, []
    for variable in map(raw, variables):
        # Replicas' copies of a variable are several, if they are parts.
        copies = getattr(variable, "values", ())
        parts = copies if any(map(shard_of, copies)) else [variable]
        for part in parts:
            shard = shard_of(part)
            if shard is None:
                result.append(part)
                continue
            if shard.path not in wholes:
                of_replicas = variable if parts is copies else None
                wholes[shard.path] = Whole(shard.path, of_replicas)
                result.append(wholes[shard.path])
            wholes[shard.path].add(part)
    return result


class Whole(Trackable):
    """All shards of a weight as one variable of a checkpoint.

    Args:
        path: str.
        of_replicas: The variable of `tf.distribute` whose copies the shards
            are, or None.
    """

    def __init__(self, path, of_replicas=None):
        self.path = path
        self.of_replicas = of_replicas
        self.pieces_elsewhere = {}  # of other processes, while saving
        self.shards = []

    def __repr__(self):
        return f"<Whole '{self.path}'>"

    def add(self, variable):
        self.shards.append(variable)

    def numpy(self):
        """The whole, of shards that are all of this process."""
        return gather_shards(self.shards)

    def _gather_saveables_for_checkpoint(self):
        return {_VALUE: lambda name: _SavedPieces(self, name)}


class _SavedPieces(saveable_object.SaveableObject):
    """The pieces by their places; TensorFlow saves each from its device.

    `Trackable._serialize_to_tensors` would be the newer way. TensorFlow 2.21
    saves pieces by it, and loses all but the first when it restores them.
    """

    def __init__(self, whole, name):
        pieces = dict(whole.pieces_elsewhere)
        for variable in whole.shards:
            shard = shard_of(variable)
            with tf.device(variable.device):
                values = tf.split(variable, len(shard.pieces), shard.axis)
            pieces.update(zip(shard.places, values, strict=True))
        specs = [
            saveable_object.SaveSpec(piece, place, name, piece.dtype)
            for place, piece in pieces.items()
        ]
        super().__init__(whole, specs, name)

    def restore(self, restored_tensors, restored_shapes):
        del restored_shapes
        places = [spec.slice_spec for spec in self.specs]
        pieces = dict(zip(places, restored_tensors, strict=True))
        done = []
        for variable in self.op.shards:
            shard = shard_of(variable)
            with tf.device(variable.device):
                values = [pieces[place] for place in shard.places]
                done.append(variable.assign(tf.concat(values, shard.axis)))
        return tf.group(done)
