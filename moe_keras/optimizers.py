"""Optimizers for models that are nearly all experts.

E: experts    D: depth    H: hidden size
"""

import keras
import tensorflow as tf

from moe_keras.bias import wide
from moe_keras.gating import GATES
from moe_keras.placement.shards import Shard, device_of, mark, shard_of


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
    kernels stay. Its averages decay meanwhile, so that the first step after a
    long pause is large: after 1,000 idle steps about 16 learning rates a
    weight (Adam about 2), with the default `beta_2`. Adam, which has the
    biases here, moves idle experts on for about 50 steps, by its first moment.

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
        name: str.
        **kwargs: As for all Keras optimizers: `weight_decay`, `clipnorm`, ...
            Weight decay leaves alone what it would spoil: the `no_decay`
            weights of gates, such as the thresholds of `BatchwiseGate`.

    Raises:
        ValueError: If a decay is not in [0, 1).

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
        return [
            self._add_average(variable, (*stack, rows), "row"),
            self._add_average(variable, (*stack, columns), "column"),
        ]

    def _add_average(self, variable, shape, name):
        beside = getattr(variable, "value", variable)
        strategy = tf.distribute.get_strategy()
        with strategy.extended.colocate_vars_with(beside):
            average = self.add_variable(
                shape=shape,
                dtype=wide(variable.dtype).name,
                name=f"{variable.path.replace('/', '_')}_{name}",
            )
        shard = shard_of(variable)
        if shard is not None:
            mark(average, _shard_of_average(shard, shape, name))
        return average

    def update_step(self, gradient, variable, learning_rate):
        with device_of(variable):
            self._update(gradient, variable, learning_rate)

    def _update(self, gradient, variable, learning_rate):
        moments = self._moments[self._get_variable_index(variable)]
        if not is_factored(variable.shape):
            fused_adam(self, gradient, variable, moments, learning_rate)
            return
        dtype = wide(variable.dtype)
        gradient = tf.cast(tf.convert_to_tensor(gradient), dtype)
        step = tf.cast(self.iterations + 1, dtype)
        # As in Adam: the averages start at zero, and this corrects them.
        rate = tf.cast(learning_rate, dtype)
        rate *= tf.sqrt(1.0 - tf.constant(self.beta_2, dtype) ** step)
        root = self._factored_root(gradient, *(m.value for m in moments))
        update = rate * gradient / (root + self.epsilon)
        tf.raw_ops.AssignSubVariableOp(
            resource=variable.handle,  # Keras hands over the tf.Variable
            value=tf.cast(update, variable.dtype),
        )

    def _factored_root(self, gradient, row, column):
        """Root of the second moment, after this gradient has been averaged."""
        # Only the means of the squares over rows and over columns are kept.
        # Their product over the mean of all stands in for each square.
        square = tf.square(gradient)
        row = self._move(row, tf.reduce_mean(square, axis=-1))
        column = self._move(column, tf.reduce_mean(square, axis=-2))
        # An expert that never had a token has averages of zero, and so is
        # their mean.
        fraction = tf.math.divide_no_nan(
            row, tf.reduce_mean(row, axis=-1, keepdims=True)
        )
        return tf.sqrt(fraction)[..., None] * tf.sqrt(column)[..., None, :]

    def _move(self, average, value):
        """Moves an average towards a value, and returns the new average."""
        moved = self.beta_2 * average + (1.0 - self.beta_2) * value
        tf.raw_ops.AssignVariableOp(resource=average.handle, value=moved)
        return moved

    def get_config(self):
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }


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


def is_factored(shape):
    """Whether `FactoredAdam` factors weights of this shape.

    Example:

    >>> is_factored((8, 16, 32)), is_factored((8, 32)), is_factored((32,))
    (True, False, False)
    """
    return len(shape) >= 3


def _shard_of_average(shard, shape, name):
    """What of the whole's averages those of a shard are: its experts'."""
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
