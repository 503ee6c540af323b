"""The gate that a `TranslatorConfig` names."""

from moe_keras.gating import GATES
from moe_keras.gating.sizes import GateSizes
from translation.model.gate_options import parse_options


def gate_sizes(config):
    """Returns the `GateSizes` of a `TranslatorConfig`."""
    return GateSizes(
        depth=config.depth,
        num_experts=config.num_experts,
        k=config.experts_per_token,
        groups=config.expert_groups,
        groups_per_token=config.groups_per_token,
    )


def make_gate(config):
    """Makes the gate that a configuration names, with its `gate_options`.

    Its `knob_names` are those of the configuration, so that the advice of
    `moe_keras.monitoring` names what can be set: a field, or an option of
    `gate_options`.

    Args:
        config: `TranslatorConfig`.

    Returns:
        A gate, see `moe_keras.gating.Routing`.

    Raises:
        ValueError: For an option out of its range.

    Example:

    >>> from translation.model.config import TranslatorConfig
    >>> gate = make_gate(
    ...     TranslatorConfig(gate="top_k", gate_options="z_loss_weight=1e-3")
    ... )
    >>> gate.k, gate.z_loss_weight, gate.knob_names["balance_loss_weight"]
    (2, 0.001, 'balance_loss_weight of gate_options')
    """
    kind = GATES[config.gate]
    options = parse_options(config.gate_options, kind)
    arguments = kind.arguments_for(gate_sizes(config)) | options
    gate = kind(**arguments, name="gate")
    gate.knob_names = {
        name: f"{name} of gate_options"
        for name in gate.get_config()
        if not hasattr(config, name)
    }
    return gate
