"""Checks of arguments.

Each raises a ValueError that names the argument, what is expected of it, and
what came instead. NaN, True and strings are no numbers.
"""

import functools
import inspect
import math
import numbers


def given(**arguments):
    """Return the arguments that are not None.

    Example:

    >>> given(hidden_dim=3, output_dim=None)
    {'hidden_dim': 3}
    """
    return {name: x for name, x in arguments.items() if x is not None}


def check_sizes(**sizes):
    """Names the first size that is not an int from 1 on.

    Example:

    >>> check_sizes(num_experts=2, hidden_dim=0)
    Traceback (most recent call last):
    ...
    ValueError: `hidden_dim` must be at least 1, and an int. Received: \
hidden_dim=0
    """
    for name, size in sizes.items():
        if not (is_whole(size) and size >= 1):
            raise ValueError(
                f"`{name}` must be at least 1, and an int. "
                f"Received: {name}={size!r}"
            )


def check_k(name, k, num_experts):
    """Whether a gate has as many experts as a token is to take.

    Example:

    >>> check_k("k", 3, num_experts=2)
    Traceback (most recent call last):
    ...
    ValueError: `k` must be between 1 and `num_experts`, and an int. \
Received: k=3, num_experts=2
    """
    check_sizes(num_experts=num_experts)
    if not (is_whole(k) and 1 <= k <= num_experts):
        raise ValueError(
            f"`{name}` must be between 1 and `num_experts`, and an int. "
            f"Received: {name}={k!r}, num_experts={num_experts}"
        )


def check_not_negative(**arguments):
    """Names the first argument that is not a finite number from 0 on.

    Example:

    >>> check_not_negative(jitter=0.1, z_loss_weight=-1)
    Traceback (most recent call last):
    ...
    ValueError: `z_loss_weight` must not be below 0, and must be a finite \
number. Received: z_loss_weight=-1
    """
    for name, value in arguments.items():
        if not (is_number(value) and value >= 0):
            raise ValueError(
                f"`{name}` must not be below 0, and must be a finite number. "
                f"Received: {name}={value!r}"
            )


def check_above_0(name, value, otherwise=""):
    """Whether a value is a finite number above 0.

    Args:
        name: str. Name of the argument.
        value: What is checked.
        otherwise: str. What else the argument may be, and when.

    Example:

    >>> check_above_0("capacity_factor", 0, ", or None for no limit")
    Traceback (most recent call last):
    ...
    ValueError: `capacity_factor` must be a finite number above 0, or None \
for no limit. Received: capacity_factor=0
    """
    if not (is_number(value) and value > 0):
        raise ValueError(
            f"`{name}` must be a finite number above 0{otherwise}. "
            f"Received: {name}={value!r}"
        )


def check_fraction(**arguments):
    """Names the first argument that is not a number from 0 to below 1.

    Example:

    >>> check_fraction(dropout=1.5)
    Traceback (most recent call last):
    ...
    ValueError: `dropout` must be at least 0 and below 1. Received: dropout=1.5
    """
    for name, value in arguments.items():
        if not (is_number(value) and 0 <= value < 1):
            raise ValueError(
                f"`{name}` must be at least 0 and below 1. "
                f"Received: {name}={value!r}"
            )


def check_mask(mask, inputs):
    """Whether a mask can have the leading dimensions of the inputs.

    Args:
        mask: Tensor.
        inputs: Tensor `(..., D)`. What is not known of a shape suits all.

    Example:

    >>> import tensorflow as tf
    >>> check_mask(tf.ones((2, 4)), tf.ones((2, 3, 5)))
    Traceback (most recent call last):
    ...
    ValueError: `mask` must have the shape of the inputs without their last \
dimension. Received: mask.shape=(2, 4), inputs.shape=(2, 3, 5)
    """
    if not mask.shape.is_compatible_with(inputs.shape[:-1]):
        raise ValueError(
            "`mask` must have the shape of the inputs without their last "
            f"dimension. Received: mask.shape={mask.shape}, "
            f"inputs.shape={inputs.shape}"
        )


def check_leading_shape(name, tensor, inputs):
    """Whether a tensor can have the leading dimensions of the inputs.

    Args:
        name: str. What it is called.
        tensor: Tensor `(..., D_g)`. What is not known of a shape suits all.
        inputs: Tensor `(..., D)`.

    Example:

    >>> import tensorflow as tf
    >>> check_leading_shape("gate_inputs", tf.ones((2, 4)), tf.ones((3, 5)))
    Traceback (most recent call last):
    ...
    ValueError: `gate_inputs` must have the shape of the inputs up to the last \
dimension. Received: gate_inputs.shape=(2, 4), inputs.shape=(3, 5)
    """
    if not tensor.shape[:-1].is_compatible_with(inputs.shape[:-1]):
        raise ValueError(
            f"`{name}` must have the shape of the inputs up to the last "
            f"dimension. Received: {name}.shape={tensor.shape}, "
            f"inputs.shape={inputs.shape}"
        )


def check_tokens(inputs, depth):
    """Whether a gate was called with tokens, and of the depth it was built for.

    Args:
        inputs: Tensor. What is not known of its shape suits.
        depth: int. Depth D.

    Example:

    >>> import tensorflow as tf
    >>> check_tokens(tf.ones((2, 3, 4)), depth=4)
    Traceback (most recent call last):
    ...
    ValueError: `inputs` must be tokens (N, D) with D = 4, the depth of the \
first call. Flatten batch and time, or give the gate to `SparseMoE`, which \
does. Received: inputs.shape=(2, 3, 4)
    """
    if not inputs.shape.is_compatible_with((None, depth)):
        raise ValueError(
            f"`inputs` must be tokens (N, D) with D = {depth}, the depth of "
            "the first call. Flatten batch and time, or give the gate to "
            f"`SparseMoE`, which does. Received: inputs.shape={inputs.shape}"
        )


def is_whole(value):
    """Whether a value is an integer, of Python or of NumPy.

    Example:

    >>> is_whole(2), is_whole(2.0), is_whole(True)
    (True, False, False)
    """
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value):
    """Whether a value is a real number, neither infinite nor NaN.

    Example:

    >>> is_number(0.5), is_number(float("nan")), is_number("0.5")
    (True, False, False)
    """
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


class FixedArguments:
    """Mixin: the arguments of a Keras layer are read-only once it is built.

    A graph that is traced already would go on with the old value, and say
    nothing. Arguments that are properties with a setter are free.

    Example:

    >>> import moe_keras, tensorflow as tf
    >>> gate = moe_keras.TopKGate(num_experts=4, k=2, name="top_k_gate")
    >>> gate.k = 1
    >>> _ = gate(tf.ones((3, 5)))
    >>> gate.k = 3
    Traceback (most recent call last):
    ...
    AttributeError: `k` of top_k_gate is fixed now that it is built: graphs \
that are traced already would go on with 1. Make a new layer from \
`get_config`, and give it these weights. Received: k=3
    """

    def __setattr__(self, name, value):
        if (
            self.__dict__.get("built")
            and self.__dict__.get(name, value) is not value
            and name in _arguments_of(type(self))
        ):
            raise AttributeError(
                f"`{name}` of {self.name} is fixed now that it is built: "
                "graphs that are traced already would go on with "
                f"{self.__dict__[name]!r}. Make a new layer from `get_config`, "
                f"and give it these weights. Received: {name}={value!r}"
            )
        super().__setattr__(name, value)


@functools.cache
def _arguments_of(layer_class):
    """Names of the arguments of the constructors of a class and its bases."""
    return {
        parameter.name
        for base in layer_class.__mro__
        if issubclass(base, FixedArguments) and "__init__" in vars(base)
        for parameter in inspect.signature(base.__init__).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }
