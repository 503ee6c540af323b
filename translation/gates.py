"""The gates that a `TranslatorConfig` can name, and what each of them costs.

`ExpertChoiceGate` is none of them: in the decoder experts would choose among
words that are not written yet.
"""

import dataclasses
from collections.abc import Callable

import moe_keras


@dataclasses.dataclass(frozen=True)
class GateKind:
    """A kind of gate.

    Attributes:
        make: Function of a `TranslatorConfig` that makes the gate layer.
        parameters: Function of it that counts the trainable numbers of a gate.
        ops: Function of it that counts the multiply-adds for a token.
    """

    make: Callable
    parameters: Callable
    ops: Callable


def _kernels(count):
    """So many kernels of depth by experts, all of which a token meets."""
    return lambda config: count * config.depth * config.num_experts


def _noisy_top_k(config):
    return moe_keras.NoisyTopKGate(
        config.num_experts, k=config.experts_per_token, name="gate"
    )


def _hierarchical(config):
    return moe_keras.HierarchicalGate(
        config.expert_groups,
        config.num_experts // config.expert_groups,
        k=(
            config.groups_per_token,
            config.experts_per_token // config.groups_per_token,
        ),
        name="gate",
    )


def _hierarchical_parameters(config):
    return 2 * config.depth * (config.expert_groups + config.num_experts)


def _hierarchical_ops(config):
    group = config.num_experts // config.expert_groups
    met = config.expert_groups + config.groups_per_token * group
    return 2 * config.depth * met


def _batchwise(config):
    return moe_keras.BatchwiseGate(
        config.num_experts, k=config.experts_per_token, name="gate"
    )


def _top_k(config):
    return moe_keras.TopKGate(
        config.num_experts, k=config.experts_per_token, name="gate"
    )


def _switch(config):
    return moe_keras.SwitchGate(config.num_experts, name="gate")


def _bias_balanced(config):
    return moe_keras.BiasBalancedGate(
        config.num_experts, k=config.experts_per_token, name="gate"
    )


def _threshold(config):
    """Takes up to twice `experts_per_token`, that many in the mean."""
    return moe_keras.ThresholdGate(
        config.num_experts,
        k_max=min(2 * config.experts_per_token, config.num_experts),
        target=float(config.experts_per_token),
        name="gate",
    )


# By the name of `TranslatorConfig.gate`, which lists the same names.
GATES = {
    "noisy_top_k": GateKind(_noisy_top_k, _kernels(2), _kernels(2)),
    "hierarchical": GateKind(
        _hierarchical, _hierarchical_parameters, _hierarchical_ops
    ),
    "batchwise": GateKind(
        _batchwise,
        lambda config: _kernels(1)(config) + config.num_experts,
        _kernels(1),
    ),
    "top_k": GateKind(_top_k, _kernels(1), _kernels(1)),
    "switch": GateKind(_switch, _kernels(1), _kernels(1)),
    "bias_balanced": GateKind(_bias_balanced, _kernels(1), _kernels(1)),
    "threshold": GateKind(_threshold, _kernels(1), _kernels(1)),
}
