"""Experts that are Keras layers of the user's own, one layer each.

E: experts    C: slots of an expert    D: depth    S: slots of all experts
n: tokens of an expert
"""

import keras
import tensorflow as tf

from moe_keras.checks import FixedArguments
from moe_keras.gradients.custom_gradient import custom_gradient
from moe_keras.placement.placement import current_placement
from moe_keras.xla import is_compiled_by_xla

# Layers whose results depend, row by row, on one row of inputs.
_PLAIN = (
    keras.Sequential,
    keras.layers.InputLayer,
    keras.layers.Dense,
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
    keras.layers.PReLU,
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
)


@keras.saving.register_keras_serializable(package="moe_keras")
class ExpertList(FixedArguments, keras.layers.Layer):
    """Experts of any kind, one Keras layer each.

    `SparseMoE(expert=make_expert)` makes an `ExpertList`. Experts may differ,
    but must all return the same depth.

    *What an expert is called with.* Its own tokens, `(n, D)` with n at least
    1, and nothing else: no padding, no empty slots, no dropped tokens. An
    expert without a token is not called. Then its weights have a gradient of
    zero, and everything that it keeps, such as the statistics of
    `BatchNormalization` or the seed of `Dropout`, stays as it is. What it
    gives to `add_loss` counts if it is called. (Experts of Keras' `Dense`,
    activation and layer normalization layers alone are called with n = 0 and
    with empty slots, which make no difference to them: that is faster.)

    *Within XLA* (`jit_compile=True`) shapes are static, so there every expert
    is called with all its C slots; slots without a token hold zeros. Their
    results are dropped, and the gradient of these results is zero. This is
    right for experts that treat each row by itself. Experts with statistics
    or other variables that are not trained do more, and in training are
    refused there.

    *Precision.* Experts compute in the dtypes that they were made with. The
    layer casts their results to its own.

    Args:
        experts: List of layers, each `(n, D) -> (n, D')`.

    Call arguments:
        inputs: Tensor `(E, C, D)`, or `(S, D)` with `counts`, as for
            `FeedForwardExperts`.
        counts: Optional int32 tensor `(E,)`. Of inputs `(E, C, D)` the first
            `counts[e]` slots of expert e hold tokens; by default all do.
        local: `LocalExperts` if only some of the experts are to run.
        training: bool.

    Returns:
        Tensor `(E, C, D')`, or `(S, D')`; zeros in empty slots.

    Raises:
        ValueError: While it is built, if experts return unlike depths. When
            XLA compiles it for training, if an expert has statistics.

    Example:

    >>> experts = ExpertList([keras.layers.Dense(4) for _ in range(3)])
    >>> tuple(experts(keras.ops.ones((3, 5, 8))).shape)
    (3, 5, 4)
    """

    supports_segments = True
    supports_counts = True  # also with inputs `(E, C, D)`
    splits = ("experts",)  # dimensions that a placement may split

    def __init__(self, experts, **kwargs):
        super().__init__(**kwargs)
        self.experts = list(experts)
        self.num_experts = len(self.experts)
        self._output_depth = None
        # TensorFlow does not look into lists that Keras tracks, and would
        # leave the experts out of `tf.train.Checkpoint`.
        for number, expert in enumerate(self.experts):
            self._track_trackable(expert, f"expert_{number}")

    def build(self, input_shape):
        tokens = keras.KerasTensor((None, input_shape[-1]), self.compute_dtype)
        shapes = []
        for number, expert in enumerate(self.experts):
            with current_placement().expert_scope(number, self.num_experts):
                build_as_called(expert, tokens)
            shapes.append(tuple(expert.compute_output_spec(tokens).shape))
        self._output_depth = _common_depth(self.experts, shapes)

    @property
    def supports_jit(self):
        """Whether XLA can compile it, as Keras asks."""
        return not any(map(_keeps_state, self.experts))

    @supports_jit.setter
    def supports_jit(self, value):
        del value  # Keras sets it for every layer

    def call(self, inputs, counts=None, local=None, training=False):
        # Keras hands `training` on to the experts that ask for it.
        experts = self.experts if local is None else local.choose(self.experts)
        if inputs.shape.rank == 3:
            return self._run_batches(experts, inputs, counts, training)
        sizes = tf.convert_to_tensor(counts, tf.int32)
        rest = tf.shape(inputs)[:1] - tf.reduce_sum(sizes)
        sizes = tf.concat([sizes, rest], 0)
        *segments, nobody = tf.split(inputs, sizes, num=len(experts) + 1)
        outputs = self._run(experts, segments)
        zeros = tf.zeros((tf.shape(nobody)[0], self._output_depth))
        return tf.concat([*outputs, tf.cast(zeros, self.compute_dtype)], 0)

    def _run_batches(self, experts, inputs_ECD, counts, training):
        batches = tf.unstack(inputs_ECD, len(experts))
        within_xla = is_compiled_by_xla()
        if within_xla and training:
            self._check_no_state()
        if within_xla or counts is None or all(map(_is_plain, experts)):
            return tf.stack(self._run(experts, batches))
        counts = tf.unstack(tf.convert_to_tensor(counts), len(experts))
        used = [
            batch[:count] for batch, count in zip(batches, counts, strict=True)
        ]
        capacity = tf.shape(inputs_ECD)[1]
        outputs = [
            tf.pad(rows, [[0, capacity - tf.shape(rows)[0]], [0, 0]])
            for rows in self._run(experts, used)
        ]
        outputs_ECD = tf.stack(outputs)
        outputs_ECD.set_shape((*inputs_ECD.shape[:2], self._output_depth))
        return outputs_ECD

    def _check_no_state(self):
        keeping = [e.name for e in self.experts if _keeps_state(e)]
        if keeping:
            raise ValueError(
                "Experts with variables that are not trained, such as the "
                "statistics of `BatchNormalization`, cannot be trained by a "
                "program that XLA compiles: empty slots would count in them. "
                "Compile the model with `jit_compile=False`. "
                f"Received experts: {', '.join(keeping)}"
            )

    def _run(self, experts, tokens_of_experts):
        outputs, losses = [], []
        for expert, tokens in zip(experts, tokens_of_experts, strict=True):
            output, loss = self._run_if_called_for(expert, tokens)
            outputs.append(output)
            losses.extend([] if loss is None else [loss])
        if losses:
            self.add_loss(tf.add_n(losses))
        return outputs

    def _run_if_called_for(self, expert, tokens):
        """The results of an expert for its tokens, which may be none."""

        def skip():
            return tf.zeros((0, self._output_depth), self.compute_dtype)

        def run():
            return tf.cast(expert(tokens), self.compute_dtype)

        if _is_plain(expert):
            return run(), None
        if tokens.shape[0] == 0:
            return _with_zero_gradient(skip, expert), None
        if tokens.shape[0] is not None:
            return run(), None

        losses = []

        def run_apart():
            output, loss = _with_losses(expert, run)
            losses.append(loss)
            return (output,) if loss is None else (output, loss)

        def skip_apart():
            return (skip(),) if losses[0] is None else (skip(), 0.0)

        output, *loss = tf.cond(tf.shape(tokens)[0] > 0, run_apart, skip_apart)
        output.set_shape((None, self._output_depth))
        return output, loss[0] if loss else None

    def compute_output_shape(self, input_shape):
        depth = self._output_depth
        if depth is None:
            one = self.experts[0]
            depth = one.compute_output_shape((None, input_shape[-1]))[-1]
        return (*input_shape[:-1], depth)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "experts": [serialize(expert) for expert in self.experts],
        }

    @classmethod
    def from_config(cls, config):
        load = keras.saving.deserialize_keras_object
        experts = [load(expert) for expert in config["experts"]]
        return cls(**{**config, "experts": experts})


def one_layer_each(make_expert, num_experts, dtype=None):
    """Make an `ExpertList` of the layers that a function makes, one a call.

    Args:
        make_expert: Function without arguments, `SparseMoE`'s `expert`. While
            it runs, `dtype` is Keras' global policy: layers that it makes
            without a dtype of their own get this one.
        num_experts: int. Number of experts E.
        dtype: Dtype policy; None for the global one.

    Returns:
        `ExpertList`.

    Raises:
        ValueError: If the function returns something else than a Keras
            layer, or one layer twice.

    Example:

    >>> one = keras.layers.Dense(4)
    >>> one_layer_each(lambda: one, num_experts=3)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: `expert` must make a new layer at each call: one layer has \
one set of weights...
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype or policy)
    try:
        experts = [make_expert() for _ in range(num_experts)]
    finally:
        keras.config.set_dtype_policy(policy)
    for expert in experts:
        if not isinstance(expert, keras.layers.Layer):
            raise ValueError(
                "`expert` must make a Keras layer at each call. "
                f"Received: expert()={expert!r}"
            )
    if len({id(expert) for expert in experts}) < num_experts:
        raise ValueError(
            "`expert` must make a new layer at each call: one layer has one "
            "set of weights. Create it within the function. "
            f"Received: {[expert.name for expert in experts]}"
        )
    return ExpertList(experts, dtype=dtype, name="experts")


def build_as_called(expert, tokens):
    """Build an expert as Keras would at its first call.

    Args:
        expert: Keras layer.
        tokens: `KerasTensor` `(None, D)`.

    Example:

    >>> dense = keras.layers.Dense(3)
    >>> build_as_called(dense, keras.KerasTensor((None, 2)))
    >>> dense.built
    True
    """
    if expert.built:
        return
    if type(expert).build is keras.layers.Layer.build:
        expert(tokens)  # layers within it are built by a trace of its call
    else:
        expert.build(tokens.shape)


def _common_depth(experts, shapes):
    for expert, shape in zip(experts, shapes, strict=True):
        if len(shape) != 2 or shape[-1] is None:
            raise ValueError(
                "An expert must return a tensor (n, D') for tokens (n, D). "
                f"Received: {expert.name}, which returns {shape}"
            )
    if len({shape[-1] for shape in shapes}) > 1:
        pairs = zip(experts, shapes, strict=True)
        received = ", ".join(f"{e.name} returns {n}" for e, (_, n) in pairs)
        raise ValueError(
            "All experts must return the same depth: the results of a token's "
            "experts are added up. Let each end in a layer of one size, such "
            f"as `Dense({shapes[0][-1]})`. Received: {received}"
        )
    return shapes[0][-1]


def _is_plain(expert):
    """Whether rows without a token make no difference to an expert."""

    def is_plain(layer):
        activation = getattr(layer, "activation", None)
        return (
            type(layer) in _PLAIN
            and layer.activity_regularizer is None
            and getattr(layer, "axis", -1) in (-1, 1, [-1], [1])
            and getattr(activation, "__module__", "keras").startswith("keras")
        )

    return not _keeps_state(expert) and all(
        map(is_plain, expert._flatten_layers())
    )


def _keeps_state(expert):
    """Whether a call may change an expert, apart from seeds."""
    # Public lists also have the weights of layers that are frozen.
    return any(
        layer._non_trainable_variables or layer._metrics
        for layer in expert._flatten_layers()
    )


def _with_losses(expert, run):
    """Call `run()`, and take what the expert adds as losses meanwhile.

    Keras would keep tensors of a branch of the graph, which cannot be used
    outside of it.
    """
    layers = expert._flatten_layers()
    before = [(layer, len(layer._losses)) for layer in layers]
    output = run()
    taken = []
    for layer, count in before:
        taken.extend(layer._losses[count:])
        del layer._losses[count:]
    taken = [tf.cast(loss, "float32") for loss in taken]
    return output, tf.add_n(taken) if taken else None


def _with_zero_gradient(skip, expert):
    """The results of no tokens, with a gradient of zero and not None."""

    @custom_gradient
    def run(*weights):
        return skip(), lambda d: [tf.zeros_like(weight) for weight in weights]

    weights = [tf.convert_to_tensor(w) for w in expert.trainable_variables]
    return run(*weights) if weights else skip()
