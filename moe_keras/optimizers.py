"""Optimizers for models that are nearly all experts.

E: experts    D: depth    H: hidden size
"""

import math

import keras
import tensorflow as tf

from moe_keras.gating import GATES
from moe_keras.gradients.bias import wide
from moe_keras.gradients.slices import ExpertSlices, without_repeats
from moe_keras.placement.shards import Shard, device_of, mark, shard_of
from moe_keras.xla import is_compiled_by_xla

DECAYS = ("steps", "uses")
# Numbers of a weight that are updated at a time: 1 MiB in float32, for the
# gradient and each of the two or three tensors that are made of it.
_FEW = 2**18


@keras.saving.register_keras_serializable(package="moe_keras")
class FactoredAdam(keras.optimizers.Optimizer):
    """Adam with a factored second moment for the kernels of experts.

    Adam keeps two numbers for each weight, which triples the memory of a
    model. Appendix D of arXiv:1701.06538 leaves out nearly all of them for
    experts, which have most of the weights. For a matrix with gradient `g`

        row     the moving average of the mean of g^2 along each row
        column  the same along each column
        v       row column / mean(row), an outer product
        weight -= learning_rate * g / (sqrt(v) + epsilon)

    There is no first moment: beta_1 is 0 for these weights. `E` kernels of
    `(D, H)`, stacked, have averages of `(E, D)` and `(E, H)`: each expert is
    factored by itself. `row` and `column` have the same mean, so either may
    divide the product. Where `g^2` is an outer product, the updates are those
    of Adam with `beta_1=0`.

    Weights of three axes and more are factored, over the last two: kernels of
    stacked experts, and of the stacked routers of a hierarchical gate. All
    others, among them the biases `(E, H)` of stacked experts, which are no
    matrices, are updated by plain Adam with both moments, as in the paper.

    *Idle experts.* An expert without a token has a gradient of zero, and its
    kernels stay. With `decay_by="steps"` its averages decay meanwhile, so that
    the first step after a long pause is large: after 1,000 idle steps about 16
    learning rates a weight (Adam about 2), with the default `beta_2`. With
    `decay_by="uses"` they rest as well, and an expert takes the steps that it
    would take without the pauses. Adam, which has the biases here, moves idle
    experts on for about 50 steps, by its first moment.

    *Sparse gradients.* Experts with `sparse_gradients=True` hand over slices
    of the busy ones. With `lazy=True` the idle ones are then not visited at
    all: the decay that they have missed is made up when they are used again,
    `beta_2` to the power of the steps. The numbers are the same, and a step
    costs what its busy experts cost. Without it slices are made whole.

    *Clipping.* A stack of experts is one variable: `clipnorm` bounds the norm
    over all of its experts together, not that of each.

    A layout that splits experts changes nothing. One that splits their hidden
    layer is refused: rows and columns would be those of parts.

    Args:
        learning_rate: float or schedule.
        beta_1: float in [0, 1). Decay of the first moment of weights that are
            not factored.
        beta_2: float in [0, 1). Decay of the second moment, or its factors.
        epsilon: float. Added to the root of the second moment.
        decay_by: str. "steps": averages of an expert decay in every step;
            "uses": in those alone in which its gradient is not zero.
        lazy: bool. Leave experts alone that are not among the slices of a
            gradient. It takes a counter for each expert of each weight, and
            so another checkpoint.
        name: str.
        **kwargs: As for all Keras optimizers: `weight_decay`, `clipnorm`, ...
            Weight decay leaves alone what it would spoil: the `no_decay`
            weights of gates, such as the thresholds of `BatchwiseGate`.

    Raises:
        ValueError: If a decay is not in [0, 1), or `decay_by` is neither of
            the two.

    Example:

    >>> optimizer = FactoredAdam(learning_rate=0.1)
    >>> kernels = keras.Variable(keras.ops.ones((8, 16, 32)))  # of 8 experts
    >>> optimizer.build([kernels])
    >>> sum(int(keras.ops.size(v)) for v in optimizer.variables[2:])
    384
    >>> optimizer.apply([0.01 * keras.ops.ones((8, 16, 32))], [kernels])
    >>> round(float(kernels[0, 0, 0]), 3)
    0.9
    """

    def __init__(
        self,
        learning_rate=0.001,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-7,
        decay_by="steps",
        lazy=False,
        name="factored_adam",
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        for argument, value in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= value < 1:
                raise ValueError(
                    f"`{argument}` must be at least 0 and below 1. "
                    f"Received: {argument}={value}"
                )
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        if decay_by not in DECAYS:
            raise ValueError(
                f"`decay_by` must be one of {', '.join(DECAYS)}. "
                f"Received: decay_by={decay_by!r}"
            )
        self.decay_by = decay_by
        self.lazy = lazy
        self._factor = None
        self.exclude_from_weight_decay()

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Exclude variables from weight decay, beside those of gates."""
        names = [name for gate in GATES.values() for name in gate.no_decay]
        super().exclude_from_weight_decay(var_list, names + (var_names or []))

    def build(self, variables):
        """Makes the averages, each on the device of its variable.

        Args:
            variables: List of the variables to be trained.

        Raises:
            ValueError: If a layout has split one of the matrices.
        """
        if self.built:
            return
        super().build(variables)
        self._moments = [self._make_moments(v) for v in variables]

    def _make_moments(self, variable):
        """Row and column averages, or Adam's first and second moment."""
        if not is_factored(variable.shape):
            names = ("momentum", "velocity")
            return [
                self.add_variable_from_reference(variable, n) for n in names
            ]
        *stack, rows, columns = variable.shape
        moments = [
            self._add_average(variable, (*stack, rows), "row"),
            self._add_average(variable, (*stack, columns), "column"),
        ]
        if self._has_clocks:
            clock = self._add_average(variable, stack[:1], "clock", "int64")
            moments.append(clock)
        return moments

    @property
    def _has_clocks(self):
        """Whether each expert has a clock.

        That is the last step in which its averages moved, or how often they
        did, with `decay_by="uses"`.
        """
        return self.lazy or self.decay_by == "uses"

    def _add_average(self, variable, shape, name, dtype=None):
        beside = getattr(variable, "value", variable)
        strategy = tf.distribute.get_strategy()
        with strategy.extended.colocate_vars_with(beside):
            average = self.add_variable(
                shape=shape,
                dtype=dtype or wide(variable.dtype).name,
                name=f"{variable.path.replace('/', '_')}_{name}",
            )
        shard = shard_of(variable)
        if shard is not None:
            mark(average, _shard_of_average(shard, shape, name))
        return average

    def apply(self, grads, trainable_variables=None, factor=None):
        """Updates variables by their gradients.

        Args:
            grads: List of tensors or `tf.IndexedSlices`.
            trainable_variables: List of variables, as of every optimizer.
            factor: Scalar tensor or None. The gradients are multiplied by it,
                as for clipping, without a pass over memory of its own.
        """
        self._factor = factor
        try:
            return super().apply(grads, trainable_variables)
        finally:
            self._factor = None

    def update_step(self, gradient, variable, learning_rate):
        with device_of(variable):
            self._update(gradient, variable, learning_rate)

    def _update(self, gradient, variable, learning_rate):
        moments = self._moments[self._get_variable_index(variable)]
        if not is_factored(variable.shape):
            gradient = tf.convert_to_tensor(gradient)
            if self._factor is not None:
                gradient *= tf.cast(self._factor, gradient.dtype)
            fused_adam(self, gradient, variable, moments, learning_rate)
            return
        if not (self.lazy and isinstance(gradient, tf.IndexedSlices)):
            gradient = tf.convert_to_tensor(gradient)
        if is_compiled_by_xla():
            gradient = tf.convert_to_tensor(gradient)
            self._update_whole(gradient, variable, moments, learning_rate)
            return
        if not isinstance(gradient, tf.IndexedSlices):
            gradient = ExpertSlices(
                gradient, tf.range(variable.shape[0]), variable.shape
            )
        self._update_slices(gradient, variable, moments, learning_rate)

    def _update_whole(self, gradient, variable, moments, learning_rate):
        """Updates all experts at once."""
        values = [tf.convert_to_tensor(m.value) for m in moments]
        update, values = self._step(gradient, values, learning_rate)
        for moment, value in zip(moments, values, strict=True):
            tf.raw_ops.AssignVariableOp(
                resource=moment.value.handle, value=value
            )
        tf.raw_ops.AssignSubVariableOp(
            resource=variable.handle,  # Keras hands over the tf.Variable
            value=tf.cast(update, variable.dtype),
        )

    def _update_slices(self, gradient, variable, moments, learning_rate):
        """Updates the experts of some slices, a few at a time.

        Everything that is computed for a few experts stays in the cache of the
        processor; from memory come their gradients and weights, once each.
        """
        gradient = without_repeats(gradient)
        count = tf.size(gradient.indices)
        few = max(1, _FEW // math.prod(variable.shape[1:]))

        def update_few(first):
            last = tf.minimum(first + few, count)
            index = gradient.indices[first:last]
            values = [
                tf.raw_ops.ResourceGather(
                    resource=m.value.handle, indices=index, dtype=m.value.dtype
                )
                for m in moments
            ]
            update, values = self._step(
                gradient.values[first:last], values, learning_rate
            )
            for moment, value in zip(moments, values, strict=True):
                tf.raw_ops.ResourceScatterUpdate(
                    resource=moment.value.handle, indices=index, updates=value
                )
            tf.raw_ops.ResourceScatterSub(
                resource=variable.handle,
                indices=index,
                updates=tf.cast(update, variable.dtype),
            )
            return (last,)

        loop = tf.while_loop(
            lambda first: first < count, update_few, (tf.constant(0),)
        )
        with tf.control_dependencies(loop):
            read_in_place(variable, *(m.value for m in moments))

    def _step(self, gradient, moments, learning_rate):
        """The update of some experts, and what their moments become.

        Factors that are the same for a whole matrix go into its row and its
        column: what is as large as the gradient is read as seldom as may be.
        """
        dtype = moments[0].dtype
        gradient = tf.cast(gradient, dtype)
        factor = tf.cast(1 if self._factor is None else self._factor, dtype)
        row, column, *clock = moments
        # Only the means of the squares over rows and over columns are kept.
        # Their product over the mean of all stands in for each square.
        square = tf.square(gradient)
        row_now = factor**2 * tf.reduce_mean(square, axis=-1)
        column_now = factor**2 * tf.reduce_mean(square, axis=-2)
        decay, weight, moves, clock = self._decays(row, row_now, clock)
        row = decay * row + weight * row_now
        column = decay * column + weight * column_now
        # As in Adam: the averages start at zero, and this corrects them.
        beta_2 = tf.constant(self.beta_2, dtype)
        correction = tf.sqrt(1 - beta_2 ** tf.cast(moves, dtype))
        rate = tf.cast(learning_rate, dtype) * factor * correction
        update = gradient / self._divisor(row, column, rate)
        return update, [row, column, *clock]

    def _decays(self, row, row_now, clock):
        """How the averages of each expert move in this step.

        Returns:
            The decay and the weight of what is new, numbers or one for each
            expert; how often the averages have moved; and the new clock.
        """
        decay = tf.constant(self.beta_2, row.dtype)
        weight, steps = 1 - decay, tf.cast(self.iterations, "int64") + 1
        if self.decay_by == "uses":
            is_used = tf.reduce_any(
                row_now > 0, axis=[*range(1, row.shape.rank)]
            )
            uses = clock[0] + tf.cast(is_used, "int64")
            decay = _beside(tf.where(is_used, decay, 1), row)
            weight = _beside(tf.where(is_used, weight, 0), row)
            return decay, weight, uses, [uses]
        if clock:
            missed = tf.cast(steps - clock[0], row.dtype)  # 1: this one alone
            decay = _beside(decay**missed, row)
            clock = [tf.fill(tf.shape(clock[0]), steps)]
        return decay, weight, steps, clock

    def _divisor(self, row, column, rate):
        """`(sqrt(v) + epsilon) / rate`, of the averages of rows and columns.

        A rate of zero makes it infinite, so that nothing moves.
        """
        # An expert that never had a token has averages of zero, and so is
        # their mean.
        fraction = tf.math.divide_no_nan(
            row, tf.reduce_mean(row, axis=-1, keepdims=True)
        )
        root = tf.math.divide_no_nan(tf.sqrt(fraction), _beside(rate, row))
        least = tf.where(rate > 0, self.epsilon / rate, float("inf"))
        outer = root[..., None] * tf.sqrt(column)[..., None, :]
        return outer + _beside(least, outer)

    def get_config(self):
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "decay_by": self.decay_by,
            "lazy": self.lazy,
        }


def _beside(numbers, tensor):
    """A number for each expert, in a shape that multiplies a tensor."""
    if numbers.shape.rank == 0:
        return numbers
    return tf.reshape(numbers, [-1] + [1] * (tensor.shape.rank - 1))


def fused_adam(optimizer, gradient, variable, moments, learning_rate):
    """Adam's update of a variable, in one pass over memory.

    Args:
        optimizer: Keras optimizer with `iterations`, `beta_1`, `beta_2` and
            `epsilon`.
        gradient: Tensor of the variable's shape.
        variable: `tf.Variable`; within replicas their copy.
        moments: Pair of Keras variables, the first and the second moment.
        learning_rate: float or scalar tensor.
    """
    first, second = moments
    dtype = wide(variable.dtype)
    gradient = tf.cast(tf.convert_to_tensor(gradient), dtype)
    rate = tf.cast(learning_rate, dtype)
    step = tf.cast(optimizer.iterations + 1, dtype)
    beta_1 = tf.constant(optimizer.beta_1, dtype)
    beta_2 = tf.constant(optimizer.beta_2, dtype)
    epsilon = tf.constant(optimizer.epsilon, dtype)
    if variable.dtype != dtype:
        # In half precision a beta_2 of 0.999 is 1, and nothing would move.
        m = beta_1 * tf.cast(first, dtype) + (1 - beta_1) * gradient
        v = beta_2 * tf.cast(second, dtype) + (1 - beta_2) * gradient**2
        rate *= tf.sqrt(1 - beta_2**step) / (1 - beta_1**step)
        update = rate * m / (tf.sqrt(v) + epsilon)
        for target, value in (
            (first.value, m),
            (second.value, v),
            (variable, tf.cast(variable, dtype) - update),
        ):
            tf.raw_ops.AssignVariableOp(
                resource=target.handle, value=tf.cast(value, target.dtype)
            )
        return
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=first.value.handle,
        v=second.value.handle,
        beta1_power=beta_1**step,
        beta2_power=beta_2**step,
        lr=rate,
        beta1=beta_1,
        beta2=beta_2,
        epsilon=epsilon,
        grad=gradient,
    )


def lazy_adam(optimizer, gradient, variable, moments, learning_rate):
    """Adam's update of some rows of a variable; the others rest.

    Args:
        gradient: `tf.IndexedSlices`.
        optimizer, variable, moments, learning_rate: As of `fused_adam`.
    """
    gradient = without_repeats(gradient)
    dtype = wide(variable.dtype)
    values = tf.cast(gradient.values, dtype)
    step = tf.cast(optimizer.iterations + 1, dtype)
    beta_1 = tf.constant(optimizer.beta_1, dtype)
    beta_2 = tf.constant(optimizer.beta_2, dtype)
    first, second = (
        tf.cast(
            tf.raw_ops.ResourceGather(
                resource=m.value.handle,
                indices=gradient.indices,
                dtype=m.value.dtype,
            ),
            dtype,
        )
        for m in moments
    )
    first = beta_1 * first + (1 - beta_1) * values
    second = beta_2 * second + (1 - beta_2) * values**2
    rate = tf.cast(learning_rate, dtype)
    rate *= tf.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    update = rate * first / (tf.sqrt(second) + optimizer.epsilon)
    targets = [m.value for m in moments]
    for target, value in zip(targets, (first, second), strict=True):
        tf.raw_ops.ResourceScatterUpdate(
            resource=target.handle,
            indices=gradient.indices,
            updates=tf.cast(value, target.dtype),
        )
    moved = tf.raw_ops.ResourceScatterSub(
        resource=variable.handle,
        indices=gradient.indices,
        updates=tf.cast(update, variable.dtype),
    )
    with tf.control_dependencies([moved] if moved is not None else []):
        read_in_place(variable, *targets)


def read_in_place(*variables):
    """Lets variables be read without a copy again.

    A variable that was gathered from or scattered to is copied by everyone
    who reads it whole, until it is told that this is over.
    """
    for variable in variables:
        tf.raw_ops.DisableCopyOnRead(resource=variable.handle)


def is_factored(shape):
    """Whether `FactoredAdam` factors weights of this shape.

    Example:

    >>> is_factored((8, 16, 32)), is_factored((8, 32)), is_factored((32,))
    (True, False, False)
    """
    return len(shape) >= 3


def _shard_of_average(shard, shape, name):
    """The slice of the full average that a shard's average holds."""
    if shard.part_shape[1:] != tuple(shard.shape[1:]):
        raise ValueError(
            "`FactoredAdam` needs experts whose kernels are whole, and the "
            "layout splits their hidden layer: split experts alone, or take "
            f"Adam. Received: {shard.part_shape} of {shard.path}, which is "
            f"{tuple(shard.shape)}"
        )
    experts = shard.pieces[0][0]
    widths = shape[1:]
    piece = (experts, *(slice(0, width) for width in widths))
    whole = (shard.shape[0], *widths)
    return Shard(f"{shard.path}/{name}", whole, (piece,), axis=0)
