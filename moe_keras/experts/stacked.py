"""Base class of layers that stack the weights of E experts.

E: experts    C: slots of an expert    D: depth    S: slots of all experts
"""

import inspect

import keras
import tensorflow as tf

from moe_keras.checks import FixedArguments
from moe_keras.placement.placement import current_placement
from moe_keras.placement.split_weight import SplitWeight, whole_tensor

# Both are odd, so that no two numbers have the same seed modulo 2^32.
_STRIDE = 2654435761
_SECOND_STRIDE = 2246822519


class StackedExperts(FixedArguments, keras.layers.Layer):
    """Layer whose weights have a dimension for the experts, the first one.

    A subclass makes its weights with `add_expert_weight` in `build`, takes
    them with `read` in `call`, and hands `read` its argument `local`. Then it
    runs on one device, under a `MeshLayout` and under a `ReplicaPlacement`
    alike: in parts it is called with a `LocalExperts`, and reads the tensors
    of those experts by the names of the weights. Weights of another kind are
    refused there, while the layer is built.

    `.keras` and `.weights.h5` files hold the weights whole, whatever the
    placement was.

    Subclasses have an attribute `num_experts`. If `supports_segments` is True
    they take `(S, D)` with `counts (E,)` as well as `(E, C, D)`.

    Example:

    >>> class ScaledExperts(StackedExperts):
    ...     def __init__(self, num_experts, **kwargs):
    ...         super().__init__(**kwargs)
    ...         self.num_experts = num_experts
    ...
    ...     def build(self, input_shape):
    ...         def draw(expert, shape, dtype):
    ...             return tf.fill(shape, tf.cast(expert + 1, dtype))
    ...         self.scale = self.add_expert_weight(
    ...             "scale", draw, depth=input_shape[-1]
    ...         )
    ...
    ...     def call(self, inputs, local=None):
    ...         return inputs * self.read("scale", local)[:, None]
    >>> ScaledExperts(3)(tf.ones((3, 1, 1))).numpy().ravel().tolist()
    [1.0, 2.0, 3.0]
    """

    splits = ("experts", "hidden")  # dimensions that a placement may split
    _expert_weights = ()  # pairs of name and weight, in the order of making

    def add_expert_weight(
        self, name, draw, side_by_side=1, regularizer=None, **dims
    ):
        """Make a weight.

        Args:
            name, draw, side_by_side, **dims: As for `Placement.add_weight`;
                the dimension "experts" is added in front.
            regularizer: Keras regularizer or None. The losses of all experts
                are summed, as if each were a layer of its own.

        Raises:
            ValueError: If a regularizer is given and the placement splits the
                weight.
        """
        dims = {"experts": self.num_experts, **dims}
        weight = current_placement().add_weight(
            self, name, draw, dims, side_by_side
        )
        self._expert_weights = (*self._expert_weights, (name, weight))
        if regularizer is not None:
            if isinstance(weight, SplitWeight):
                raise ValueError(
                    "Regularizers need experts whose weights are whole, and "
                    f"the layout splits {weight.path}. Leave `{name}` without "
                    "a regularizer, or take weight decay of the optimizer. "
                    f"Received: {regularizer}"
                )
            weight.regularizer = _of_each(regularizer, side_by_side)
        return weight

    @property
    def expert_weights(self):
        """dict of the weights by name: Keras variables, or `SplitWeight`s."""
        return dict(self._expert_weights)

    def read(self, name, local, once=False, cast=True):
        """Take the tensor of a weight.

        Args:
            name: str. As given to `add_expert_weight`.
            local: `LocalExperts` that `call` got, or None for all experts.
            once: bool. Whether it is added after the sum over hidden units,
                as an output bias: see `LocalExperts.only_once`.
            cast: bool. Whether to cast it to the dtype of the computation.

        Returns:
            Tensor, for the experts of `local`.
        """
        if local is None:
            tensor = whole_tensor(self.expert_weights[name])
        else:
            tensor = local.weights[name]
            tensor = local.only_once(tensor) if once else tensor
        return tf.cast(tensor, self.compute_dtype) if cast else tensor

    def save_own_variables(self, store):
        for number, weight in enumerate(self.expert_weights.values()):
            store[str(number)] = keras.ops.convert_to_numpy(weight)

    def load_own_variables(self, store):
        weights = self.expert_weights.values()
        if len(store.keys()) != len(weights):
            raise ValueError(
                f"{self.name} has {len(weights)} weights. "
                f"Received: {len(store.keys())} in the file."
                + ("" if self.built else " Build the layer before loading.")
            )
        for number, weight in enumerate(weights):
            weight.assign(store[str(number)])


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
        Function `(number, shape, dtype) -> tensor` of one kernel.

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
            config = initializer.get_config()
            config["seed"] = (seed + number * _STRIDE) % 2**32
            alone = type(initializer).from_config(config)
        return alone(shape, dtype=dtype)

    return draw


def _of_each(regularizer, side_by_side):
    """Sum of a regularizer over all experts' kernels, each taken alone."""
    summed = (
        keras.regularizers.L1,
        keras.regularizers.L2,
        keras.regularizers.L1L2,
    )
    if isinstance(regularizer, summed):
        return regularizer  # a sum over all numbers anyhow

    def regularize(weight):
        kernels = tf.split(tf.convert_to_tensor(weight), side_by_side, axis=-1)
        losses = tf.map_fn(regularizer, tf.concat(kernels, 0))
        return tf.reduce_sum(losses)

    return regularize


def check_takes_local(experts):
    """Raise a ValueError if a layer would not hear which experts to run.

    Args:
        experts: Layer that has an attribute `splits`.
    """
    signature = inspect.signature(experts.call)
    # Not among `**kwargs`: Keras refuses to mix it with the tensors in there.
    if "local" not in signature.parameters:
        raise ValueError(
            "To run on several devices, the `call` of experts must take an "
            "argument `local`, by this name, and hand it to `read` (see "
            "`StackedExperts`). "
            f"Received: {type(experts).__name__}.call{signature}"
        )


def check_weights_are_split(experts):
    """Raise a ValueError if a stacked layer has weights that no one splits.

    Args:
        experts: Built layer.
    """
    if not isinstance(experts, StackedExperts):
        return
    split = {
        id(variable)
        for weight in experts.expert_weights.values()
        for variable in getattr(weight, "variables", [weight])
    }
    others = [w.path for w in experts.weights if id(w) not in split]
    if others:
        raise ValueError(
            "To be split over devices, experts must make all their weights "
            "with `add_expert_weight`, or a device would compute with those of "
            f"other experts. Received, made otherwise: {', '.join(others)}"
        )


def run_in_parts(experts, run):
    """Call `run()`, in which experts run as a `LocalExperts`.

    Args:
        experts: Layer of experts.
        run: Function without arguments.

    Returns:
        What `run` returns.

    Raises:
        ValueError: If experts with split weights read a variable of their
            own: it is that of other experts, or on another device.
    """
    weights = getattr(experts, "expert_weights", {}).values()
    if not any(isinstance(weight, SplitWeight) for weight in weights):
        return run()
    with tf.GradientTape() as tape:
        results = run()
    read = [variable.name for variable in tape.watched_variables()]
    if read:
        raise ValueError(
            f"{type(experts).__name__} is split over devices and must take "
            "its weights by `self.read(name, local)`, with the `local` of its "
            f"call. It has read: {', '.join(read)}"
        )
    return results
