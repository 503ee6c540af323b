"""Initial values of stacked kernels, each drawn as if it were alone."""

import keras
import tensorflow as tf

# Both are odd, so that no two numbers have the same seed modulo 2^32.
_STRIDE = 2654435761
_SECOND_STRIDE = 2246822519


def each_alone(initializer):
    """Makes an initializer draw kernels one by one, each as if it were alone.

    The seed of a kernel follows from the seed of the initializer and the
    number of the kernel. So its values do not depend on who draws it or what
    was drawn before. Fans are those of one kernel. Each call copies the
    initializer and, unless the user chose a seed, takes another one, so that
    no two weights are equal.

    Args:
        initializer: Keras initializer of one kernel.

    Returns:
        Function `(number, shape, dtype) -> tensor` of one kernel. Its
        attribute `takes_tensors` says whether the number may be a tensor.

    Example:

    >>> draw = each_alone(keras.initializers.GlorotUniform(seed=1))
    >>> kernels = [draw(number, shape=(4, 8)) for number in range(50)]
    >>> print(f"{keras.ops.max(kernels):.2f}")  # sqrt(6 / (4 + 8))
    0.71
    >>> bool(keras.ops.all(draw(7, shape=(4, 8)) == kernels[7]))
    True
    """
    seed = getattr(initializer, "seed", None)
    if isinstance(seed, keras.random.SeedGenerator):
        with tf.init_scope():
            first, second = (int(number) for number in seed.next())
        seed = (first + second * _SECOND_STRIDE) % 2**32
    elif isinstance(initializer, keras.initializers.Initializer):
        initializer = initializer.clone()
        seed = getattr(initializer, "seed", None)

    def draw(number, shape, dtype=None):
        alone = initializer
        if isinstance(seed, int):
            # Not `clone`: without a seed in its config it draws one, so that
            # later weights would depend on how often this one is drawn.
            config = {**initializer.get_config(), "seed": 0}
            alone = type(initializer).from_config(config)
            alone.seed = _SeedOfOne(seed, number)
        return alone(shape, dtype=dtype)

    # Without a seed, an initializer may be any function of Python.
    draw.takes_tensors = isinstance(seed, int)
    return draw


class _SeedOfOne(keras.random.SeedGenerator):
    """The seed of one of many kernels, whose number may be a tensor.

    Keras' initializers draw by an int seed as by `[seed, 0]`.
    """

    def __init__(self, seed, number):
        self._next = (seed + tf.cast(number, "int64") * _STRIDE) % 2**32

    def next(self, ordered=True):
        del ordered  # it is always the same
        return tf.cast(tf.stack([self._next, 0]), "uint32")
