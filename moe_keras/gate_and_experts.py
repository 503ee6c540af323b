"""The gate and the experts of a `SparseMoE`: as given, or made by default."""

import weakref

import keras
from keras.src.backend.common import global_state  # no public name

from moe_keras.experts.expert_list import one_layer_each
from moe_keras.experts.feed_forward import FeedForwardExperts
from moe_keras.gating.noisy_top_k import NoisyTopKGate

_SCOPE = "shared_objects/id_to_config_map"  # Keras has one while it saves
_OWNER_OF_GATE = weakref.WeakKeyDictionary()  # gate: reference to its layer


def gate_layer(gate, num_experts, k=None, seed=None, dtype=None):
    """Check the gate of a layer of experts, or make the default one.

    Args:
        gate: A gate, or None for a `NoisyTopKGate`.
        num_experts: int. Number of experts E of the layer.
        k: int. Experts per token of the gate that is made, None for 4, or E
            if that is less; only without `gate`.
        seed: int. Seed of the gate that is made; only without `gate`.
        dtype: Dtype policy of the gate that is made.

    Returns:
        A gate, see `Routing`.

    Raises:
        ValueError: If `gate` is no gate for E experts, or `k` or `seed` is
            given with it.
    """
    if gate is None:
        k = min(4, num_experts) if k is None else k
        return NoisyTopKGate(
            num_experts, k=k, seed=seed, dtype=dtype, name="gate"
        )
    for name, value in (("k", k), ("seed", seed)):
        if value is not None:
            raise ValueError(
                f"`{name}` is for the default gate; with `gate` give it to "
                f"that. Received: {name}={value}"
            )
    is_layer = isinstance(gate, keras.layers.Layer)
    if not is_layer or not hasattr(gate, "num_experts"):
        raise ValueError(
            "`gate` must be a layer that chooses experts and has an attribute "
            f"`num_experts`, such as `TopKGate({num_experts})`. "
            f"Received: gate={gate!r}"
        )
    _check_number("gate", gate, num_experts)
    return gate


def claim_gate(gate, layer):
    """Raise a ValueError if a gate belongs to another layer already.

    Two layers would silently have one router, and one of them would not load.

    Args:
        gate: Gate of the layer.
        layer: The layer.

    Example:

    >>> gate = NoisyTopKGate(num_experts=4, k=2)
    >>> one, other = keras.layers.Identity(), keras.layers.Identity()
    >>> claim_gate(gate, one)
    >>> claim_gate(gate, other)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: `gate` belongs to the layer identity already, and two layers \
would have one router. Give each a gate of its own, such as \
`type(gate).from_config(gate.get_config())`...
    """
    owner = _OWNER_OF_GATE.get(gate, lambda: None)()
    if owner is not None and owner is not layer:
        raise ValueError(
            f"`gate` belongs to the layer {owner.name} already, and two layers "
            "would have one router. Give each a gate of its own, such as "
            f"`type(gate).from_config(gate.get_config())`. Received: {gate}"
        )
    _OWNER_OF_GATE[gate] = weakref.ref(layer)


def serialize_layer(layer):
    """Config of a gate or of experts, by which files know shared objects.

    Keras gives a file's configs of one object one number, and `load_model`
    makes one object of them, but not where the configs are within others.

    Args:
        layer: Gate or experts, or None.

    Returns:
        Serialized config, or None.
    """
    config = keras.saving.serialize_keras_object(layer)
    is_saving = global_state.get_global_attribute(_SCOPE) is not None
    if layer is not None and is_saving:
        config["shared_object_id"] = id(layer)
    return config


def experts_layer(
    expert, num_experts, hidden_dim=None, activation=None, dtype=None
):
    """Check the layer that runs all experts, or make the default one.

    Args:
        expert: Such a layer, a function that makes one expert, or None for
            `FeedForwardExperts`.
        num_experts: int. Number of experts E of the layer.
        hidden_dim: int. Hidden size of the experts that are made; only
            without `expert`.
        activation: Of the experts that are made, None for ReLU; only without
            `expert`.
        dtype: Dtype policy of the experts that are made.

    Returns:
        A layer `(E, C, D) -> (E, C, D')`.

    Raises:
        ValueError: If `expert` does not run E experts, if arguments that it
            replaces are given with it, or if `hidden_dim` is missing without
            it.
    """
    if expert is None:
        if hidden_dim is None:
            raise ValueError(
                "`hidden_dim` must be given, or `expert`. "
                "Received: hidden_dim=None, expert=None"
            )
        return FeedForwardExperts(
            num_experts,
            hidden_dim,
            activation=activation or "relu",
            dtype=dtype,
            name="experts",
        )
    for name, value in (("hidden_dim", hidden_dim), ("activation", activation)):
        if value is not None:
            raise ValueError(
                f"`{name}` is for the default experts; with `expert` "
                f"leave it out. Received: {name}={value}"
            )
    if not isinstance(expert, keras.layers.Layer):
        if callable(expert):
            return one_layer_each(expert, num_experts, dtype)
        raise ValueError(
            "`expert` must be a layer that runs all experts, or a "
            "function that makes a layer for one. "
            f"Received: expert={expert!r}"
        )
    if not hasattr(expert, "num_experts"):
        raise ValueError(
            "`expert` must be a layer with an attribute `num_experts` "
            "that runs all experts, each with its own weights, or a "
            "function that makes one expert: for copies of this "
            f"layer `lambda: {type(expert).__name__}(...)`. "
            f"Received: {expert}"
        )
    _check_number("expert", expert, num_experts)
    return expert


def _check_number(name, layer, num_experts):
    theirs = layer.num_experts
    if theirs != num_experts:
        raise ValueError(
            f"`{name}` must have as many experts as the layer. "
            f"Received: {name}.num_experts={theirs}, "
            f"num_experts={num_experts}"
        )
