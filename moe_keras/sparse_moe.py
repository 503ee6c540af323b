"""The sparsely-gated mixture-of-experts layer (arXiv:1701.06538).

N: tokens    D: depth    E: experts    K: experts per token    C: capacity
"""

import keras
import tensorflow as tf
from keras.src.backend import get_keras_mask  # no public name

from moe_keras.balancing import (
    LossWeights,
    balancing_loss,
    check_can_be_read,
    check_is_called,
)
from moe_keras.capacity import plan_with_capacity
from moe_keras.checks import (
    FixedArguments,
    check_above_0,
    check_leading_shape,
    check_mask,
    check_sizes,
)
from moe_keras.dispatch import plan_dispatch
from moe_keras.experts.shared_expert import SharedExpert
from moe_keras.gate_and_experts import (
    claim_gate,
    experts_layer,
    gate_layer,
    serialize_layer,
)
from moe_keras.monitoring import CallRecord, Observers, RoutingMetric
from moe_keras.placement.placement import current_placement
from moe_keras.placement.replicas import counted_once


@keras.saving.register_keras_serializable(package="moe_keras")
class SparseMoE(FixedArguments, keras.layers.Layer):
    """Sends each token to the `k` experts that a trained gate picks for it.

        inputs (..., D) -> tokens (N, D)
        gate:     (N, D) -> k expert indices and gates for each token
        dispatch: (N, D) -> the tokens of each expert, side by side
        experts:  each on its own tokens
        combine:  y = sum over the chosen experts of gate * expert(x)  (eq. 1)

    With a `shared_expert` its output is added for every token: y + E(x), or y +
    sigmoid(x w) E(x) with `shared_gate="sigmoid"`.

    Parameters grow with `num_experts`, the work per token only with `k`. Left
    alone, the gate would soon send everything to a few favourites; two losses
    (`add_loss`, while training only) and the gate's noise prevent it, and the
    figures in the logs of `fit`, such as `<path>_cv_load` with the path of the
    layer, show whether they do. `routing_statistics()` has all of them.

    By default no token is ever dropped, however uneven the load. With a
    `capacity_factor` each expert takes at most `capacity_factor * k * N / E`
    tokens of a batch (first choices first), so that all shapes are static;
    tokens beyond get nothing from that expert and are counted as `overflow`.
    N counts padding as well: only so is it static, and padding leaves more
    room to the others.

    The layer compiles with XLA (`jit_compile=True`) with a capacity or with
    `FeedForwardExperts` and `GatedFeedForwardExperts`, which then run in
    blocks of static shapes, and with a gate whose K is known. Otherwise
    `supports_jit` is False, and Keras turns XLA off.

    Tokens under a padding mask take no part in anything: they go to no
    expert, count in no loss and no statistic, and their outputs are zeros.

    Do not wrap the layer in `keras.layers.TimeDistributed`: it takes inputs of
    any leading shape. docs/keras.md tells of loops, recurrent cells, shared
    experts, saving and converting.

    To save memory let the experts recompute (`FeedForwardExperts(...,
    recompute=True)`). `keras.RematScope` around the whole layer would keep the
    value of its losses and silently drop their gradient.

    Args:
        num_experts: int. Number of experts E.
        k: int. Experts per token, from 1 to E; only without `gate`. By
            default 4, or E if that is less. See `NoisyTopKGate` for what
            k = 1 does.
        hidden_dim: int. Hidden size of each expert; only without `expert`.
        activation: Activation of the experts, by default ReLU; only without
            `expert`.
        gate: Layer that maps tokens `(N, D)` and `mask (N,)` to a `Routing`;
            by default a `NoisyTopKGate` of `num_experts`, `k` and `seed`.
        expert: One layer that runs all experts, `(E, C, D) -> (E, C, D')`,
            which an attribute `num_experts` makes known, or a function
            without arguments that makes a new Keras layer
            `(C, D) -> (C, D')`, called once for each expert. By default
            `FeedForwardExperts`, which also has biases to leave out, dropout
            and an output size.
        importance_loss_weight: float. Weight of CV(importance)^2. None for
            0.1, or for 0 with a gate that keeps the balance by itself (one
            with `balances_itself = True`). It may be set while the layer
            trains, see `LossWeightSchedule`. With 0 there is no such loss; it
            may be raised later, before a graph that trains is made.
        load_loss_weight: float. Weight of CV(load)^2. As above.
        capacity_factor: float. Slots of an expert over those that it needs
            when load is even; None for as many as it needs.
        seed: int. Seed of the gate's noise; only without `gate`.
        shared_expert: Keras layer `(N, D) -> (N, D')` that every token visits,
            or stacked experts such as `GatedFeedForwardExperts(1, hidden_dim)`,
            and every token visits all of them. None for none.
        shared_gate: "sigmoid" for a gate of the shared expert with a kernel of
            its own, or None.
        log_figures: bool. Whether `fit` and `evaluate` have the figures in
            their logs; `routing_statistics()` has them all the same.

    Call arguments:
        inputs: Tensor `(..., D)`.
        mask: Optional boolean tensor of the leading shape of `inputs`; by
            default the Keras mask of the inputs.
        training: bool.
        gate_inputs: Optional tensor `(..., D_g)` of the leading shape of
            `inputs`, which the gate sees in their place, as in Gemma 4; always
            or never for one layer.

    Returns:
        Tensor `(..., D')`.

    Raises:
        ValueError: When the layer is made, if an argument is not as above, or
            `gate` belongs to another layer. When it is built, if the shared
            expert returns another depth than the others. When it is called, if
            `mask` or `gate_inputs` has not the leading shape of `inputs`. While
            it trains with losses, if its `call` is called instead of the
            layer, or in a loop outside of which the losses are read.

    Example:

    >>> layer = SparseMoE(num_experts=8, k=2, hidden_dim=16)
    >>> tuple(layer(keras.ops.ones((3, 5, 4))).shape)
    (3, 5, 4)
    >>> layer.routing_statistics().tokens
    15.0
    """

    def __init__(
        self,
        num_experts,
        k=None,
        hidden_dim=None,
        activation=None,
        gate=None,
        expert=None,
        importance_loss_weight=None,
        load_loss_weight=None,
        capacity_factor=None,
        seed=None,
        log_figures=True,
        shared_expert=None,
        shared_gate=None,
        **kwargs,
    ):
        if kwargs.get("name") is None:
            kwargs["name"] = _default_name()  # not "sparse_mo_e"
        super().__init__(**kwargs)
        check_sizes(num_experts=num_experts)
        if capacity_factor is not None:
            check_above_0(
                "capacity_factor",
                capacity_factor,
                ", or None for experts that take every token",
            )
        self.num_experts = num_experts
        self.k = k
        self.hidden_dim = hidden_dim
        self.activation = (
            None if activation is None else keras.activations.get(activation)
        )
        self.capacity_factor = capacity_factor
        self.seed = seed
        made = {"num_experts": num_experts, "dtype": self.dtype_policy}
        self.gate = gate_layer(gate, k=k, seed=seed, **made)
        self.experts = experts_layer(
            expert, hidden_dim=hidden_dim, activation=activation, **made
        )
        self.shared = _shared(shared_expert, shared_gate, self.dtype_policy)
        default = 0.0 if getattr(self.gate, "balances_itself", False) else 0.1
        self._loss_weights = LossWeights(
            default,
            importance_loss_weight=importance_loss_weight,
            load_loss_weight=load_loss_weight,
        )
        self._default_gate = gate is None
        self._default_experts = expert is None
        claim_gate(self.gate, self)
        self.log_figures = log_figures
        self.monitor = RoutingMetric(num_experts, self.name, log_figures)
        self.observers = Observers(self.monitor)
        self.supports_masking = True
        # XLA wants static shapes: a gate whose K is known, and a capacity or
        # experts that make do without.
        self.supports_jit = self.gate.supports_jit and (
            capacity_factor is not None
            or getattr(self.experts, "compiles_segments", False)
        )
        if self.shared is not None:
            self.supports_jit &= self.shared.supports_jit

    def build(self, inputs_shape, gate_inputs_shape=None):
        depth = _known_depth("inputs", inputs_shape)
        gate_depth = depth
        if gate_inputs_shape is not None:
            gate_depth = _known_depth("gate_inputs", gate_inputs_shape)
        self.depth = depth
        self._placement = current_placement()
        self._loss_weights.build()
        self.monitor.prefix = self.path
        for part, shape in (
            (self.gate, (None, gate_depth)),
            (self.experts, (self.num_experts, None, depth)),
        ):
            if not part.built:
                part.build(shape)
        self._placement.check(self.experts)
        if self.shared is not None:
            self.shared.build((None, depth))
            self.shared.built = True
            _check_one_depth(
                self.shared.output_depth(depth),
                self.compute_output_shape((None, depth))[-1],
            )
        self.supports_jit &= self._placement.supports_jit

    def call(self, inputs, mask=None, training=False, gate_inputs=None):
        if mask is None and gate_inputs is not None:
            mask = get_keras_mask(inputs)  # Keras gives it for one input only
        inputs = tf.cast(inputs, self.compute_dtype)  # of integers as well
        tokens_ND, mask_N = _flatten(inputs, mask)
        seen_ND = tokens_ND
        if gate_inputs is not None:
            check_leading_shape("gate_inputs", gate_inputs, inputs)
            seen_ND, _ = _flatten(gate_inputs, None)
        routing = self.gate(seen_ND, mask=mask_N, training=training)
        plan = self._plan(routing.expert_index, mask_N)
        dispatcher = self._placement.dispatcher(routing, plan)
        slots = dispatcher.dispatch(tokens_ND)
        results = dispatcher.run(self.experts, slots)  # Keras adds `training`
        outputs_ND = dispatcher.combine(results)
        if self.shared is not None:
            outputs_ND += self.shared(tokens_ND, mask=mask_N)
        loss = None
        if training:
            has_own = getattr(self.gate, "has_loss", True)
            loss = balancing_loss(routing, self._loss_weights, has_own)
        if loss is not None:
            check_is_called(self)
            self.add_loss(counted_once(loss))
        leading = tf.shape(inputs)[:-1]
        self.observers.observe(
            CallRecord(
                self, tokens_ND, mask_N, leading, routing, plan, training, loss
            )
        )
        outputs = _unflatten(outputs_ND, leading, inputs.shape[:-1])
        return tf.cast(outputs, self.compute_dtype)

    def _plan(self, expert_NK, mask_N):
        if self.capacity_factor is None:
            as_segments = getattr(self.experts, "supports_segments", False)
            capacity = None if as_segments else "busiest"
            return plan_dispatch(expert_NK, self.num_experts, mask_N, capacity)
        k = expert_NK.shape[1] or self.gate.k
        return plan_with_capacity(
            expert_NK, self.num_experts, self.capacity_factor, mask_N, k
        )

    @property
    def shared_expert(self):
        """The layer that every token visits, or None."""
        return self.shared and self.shared.expert

    @property
    def shared_gate(self):
        """The kind of gate of the shared expert, or None."""
        return self.shared and self.shared.gate

    @property
    def balancing_losses(self):
        """Names of the weights whose loss the layer has, also if 0 by now."""
        return tuple(self._loss_weights.losses)

    @property
    def importance_loss_weight(self):
        """Weight of CV(importance)^2; setting it takes effect at once."""
        return self._loss_weights["importance_loss_weight"]

    @importance_loss_weight.setter
    def importance_loss_weight(self, value):
        self._loss_weights["importance_loss_weight"] = value

    @property
    def load_loss_weight(self):
        """Weight of CV(load)^2; setting it takes effect at once."""
        return self._loss_weights["load_loss_weight"]

    @load_loss_weight.setter
    def load_loss_weight(self, value):
        self._loss_weights["load_loss_weight"] = value

    def _get_own_losses(self):  # Keras has no public name for it
        losses = super()._get_own_losses()
        check_can_be_read(losses, self)
        return losses

    def _trackable_children(self, save_type="checkpoint", **kwargs):
        # Only a SavedModel needs them: checkpoints stay as they are.
        children = super()._trackable_children(save_type, **kwargs)
        if save_type == "savedmodel":
            # What Keras does not track for TensorFlow: statistics, and the
            # states of random numbers.
            weights = {id(weight) for weight in self.weights}
            states = [v.value for v in self.variables if id(v) not in weights]
            states += [self.monitor.totals.value, self.monitor.losses]
            states += self._loss_weights.variables.values()
            children |= {f"state_{n}": state for n, state in enumerate(states)}
        return children

    def routing_statistics(self):
        """Read the statistics since the last reset.

        Returns:
            `moe_keras.monitoring.RoutingStatistics`.
        """
        return self.monitor.statistics()

    def reset_routing_statistics(self):
        """Reset the statistics, as `fit` and `evaluate` do in every epoch."""
        self.monitor.reset_state()

    def enable_lora(self, rank, **kwargs):
        """Freeze the experts' kernels and train a low-rank pair for each.

        One pair for each kernel of each expert, the shared one included. The
        gate stays as it is: freeze it with `layer.gate.trainable = False`.
        Compile the model anew.

        Args:
            rank: int.
            **kwargs: As for `StackedExperts.enable_lora`, or for
                `keras.layers.Dense.enable_lora` where experts are Keras
                layers.

        Raises:
            ValueError: If the experts have no kernels that take such pairs, or
                are not built.
        """
        layers = [
            layer
            for part in (self.experts, self.shared_expert)
            if part is not None
            for layer in part._flatten_layers()
            if hasattr(layer, "enable_lora")
        ]
        if self.experts not in layers and not any(
            layer in layers for layer in self.experts._flatten_layers()
        ):
            raise ValueError(
                f"The experts of {self.name} have no layer with `enable_lora`, "
                "such as `FeedForwardExperts` or `Dense`. "
                f"Received: {self.experts}"
            )
        for layer in layers:
            layer.enable_lora(rank, **kwargs)

    def compute_output_shape(self, input_shape):
        slots = (self.num_experts, None, input_shape[-1])
        return (
            *input_shape[:-1],
            self.experts.compute_output_shape(slots)[-1],
        )

    def get_config(self):
        gate = None if self._default_gate else self.gate
        makes_experts = self._default_experts and not self.experts.is_altered
        expert = None if makes_experts else self.experts
        return {
            **super().get_config(),
            "num_experts": self.num_experts,
            "k": self.k,
            "hidden_dim": self.hidden_dim if makes_experts else None,
            "activation": keras.activations.serialize(self.activation)
            if makes_experts and self.activation
            else None,
            "gate": serialize_layer(gate),
            "expert": serialize_layer(expert),
            **self._loss_weights.get_config(),
            "capacity_factor": self.capacity_factor,
            "seed": self.seed,
            "log_figures": self.log_figures,
            "shared_expert": serialize_layer(self.shared_expert),
            "shared_gate": self.shared_gate,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for name in ("gate", "expert", "shared_expert"):
            config[name] = keras.saving.deserialize_keras_object(
                config.get(name)
            )
        return cls(**config)


def _flatten(inputs, mask):
    """Tokens `(N, D)` of inputs `(..., D)`, and their mask `(N,)` or None."""
    tokens_ND = tf.reshape(inputs, [-1, inputs.shape[-1]])
    if mask is None:
        return tokens_ND, None
    mask = tf.cast(mask, "bool")
    check_mask(mask, inputs)
    return tokens_ND, tf.reshape(mask, [-1])


def _unflatten(outputs_ND, leading, known_leading):
    """Outputs `(..., D')` in the leading shape of the inputs."""
    depth = outputs_ND.shape[-1]
    outputs = tf.reshape(outputs_ND, tf.concat([leading, [depth]], 0))
    outputs.set_shape((*known_leading, depth))
    return outputs


def _known_depth(name, shape):
    if shape[-1] is None:
        raise ValueError(
            f"The last dimension of `{name}` must be known. "
            f"Received: {name}.shape={shape}"
        )
    return shape[-1]


def _shared(expert, gate, dtype):
    if expert is not None:
        return SharedExpert(expert, gate, dtype=dtype, name="shared")
    if gate is not None:
        raise ValueError(
            "`shared_gate` is the gate of a `shared_expert`: give both, or "
            f"leave it out. Received: shared_gate={gate!r}, shared_expert=None"
        )
    return None


def _check_one_depth(shared, chosen):
    if shared != chosen:
        raise ValueError(
            "`shared_expert` must return the depth of the other experts, with "
            f"whose results its own are added up. Received: {shared} and "
            f"{chosen}"
        )


def _default_name():
    uid = keras.backend.get_uid("sparse_moe")
    return "sparse_moe" if uid == 1 else f"sparse_moe_{uid - 1}"
