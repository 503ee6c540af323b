"""The gates that a `TranslatorConfig` can name, and what each of them costs.

`ExpertChoiceGate` is none of them: in the decoder experts would choose among
words that are not written yet.
"""

import dataclasses
from collections.abc import Callable

import moe_keras
from translation.model.gate_options import parse_options


@dataclasses.dataclass(frozen=True)
class GateKind:
    """A kind of gate.

    Attributes:
        layer: The class of the gate.
        arguments: Function of a `TranslatorConfig` that gives what the gate is
            made with; its `gate_options` come to it.
        parameters: Function of it that counts the trainable numbers of a gate.
        ops: Function of it that counts the multiply-adds for a token.
    """

    layer: type
    arguments: Callable
    parameters: Callable
    ops: Callable


def _kernels(count):
    """So many kernels of depth by experts, all of which a token meets."""
    return lambda config: count * config.depth * config.num_experts


def _flat(config):
    return {"num_experts": config.num_experts, "k": config.experts_per_token}


def _hierarchical(config):
    return {
        "num_groups": config.expert_groups,
        "experts_per_group": config.num_experts // config.expert_groups,
        "k": (
            config.groups_per_token,
            config.experts_per_token // config.groups_per_token,
        ),
    }


def _hierarchical_parameters(config):
    return 2 * config.depth * (config.expert_groups + config.num_experts)


def _hierarchical_ops(config):
    group = config.num_experts // config.expert_groups
    met = config.expert_groups + config.groups_per_token * group
    return 2 * config.depth * met


def _threshold(config):
    """Takes up to twice `experts_per_token`, that many in the mean."""
    return {
        "num_experts": config.num_experts,
        "k_max": min(2 * config.experts_per_token, config.num_experts),
        "target": float(config.experts_per_token),
    }


# By the name of `TranslatorConfig.gate`.
GATES = {
    "noisy_top_k": GateKind(
        moe_keras.NoisyTopKGate, _flat, _kernels(2), _kernels(2)
    ),
    "hierarchical": GateKind(
        moe_keras.HierarchicalGate,
        _hierarchical,
        _hierarchical_parameters,
        _hierarchical_ops,
    ),
    "batchwise": GateKind(
        moe_keras.BatchwiseGate,
        _flat,
        lambda config: _kernels(1)(config) + config.num_experts,
        _kernels(1),
    ),
    "top_k": GateKind(moe_keras.TopKGate, _flat, _kernels(1), _kernels(1)),
    "switch": GateKind(
        moe_keras.SwitchGate,
        lambda config: {"num_experts": config.num_experts},
        _kernels(1),
        _kernels(1),
    ),
    "bias_balanced": GateKind(
        moe_keras.BiasBalancedGate, _flat, _kernels(1), _kernels(1)
    ),
    "threshold": GateKind(
        moe_keras.ThresholdGate, _threshold, _kernels(1), _kernels(1)
    ),
}


def make_gate(config):
    """The gate layer that a configuration names, with its `gate_options`.

    Verdicts on the routing then advise what can be set: a field of the
    configuration, or an option of `gate_options`.

    Args:
        config: `TranslatorConfig`.

    Returns:
        A gate, see `moe_keras.gating.Routing`.

    Raises:
        ValueError: for an option out of its range.

    Example:

    >>> from translation.model.config import TranslatorConfig
    >>> gate = make_gate(
    ...     TranslatorConfig(gate="top_k", gate_options="z_loss_weight=1e-3")
    ... )
    >>> gate.k, gate.z_loss_weight, gate.knob_names["balance_loss_weight"]
    (2, 0.001, 'balance_loss_weight of gate_options')
    """
    kind = GATES[config.gate]
    options = parse_options(config.gate_options, kind.layer)
    gate = kind.layer(**{**kind.arguments(config), **options}, name="gate")
    gate.knob_names = {
        name: f"{name} of gate_options"
        for name in gate.get_config()
        if not hasattr(config, name)
    }
    return gate
