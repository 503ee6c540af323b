"""Gates that a configuration names, for the models of any package.

A configuration has the fields `gate` (a name in `GATES`), `gate_options`
(`"balance_loss_weight=0.02,jitter=0.1"`), `depth`, `num_experts`,
`experts_per_token`, `expert_groups` and `groups_per_token`.
"""

import types

from moe_keras.gating import GATES
from moe_keras.gating.sizes import GateSizes
from moe_keras.settings import read_value, split_setting


def make_gate(config):
    """Makes the gate that a configuration names, with its options.

    Its `knob_names` are those of the configuration, so that the advice of
    `moe_keras.monitoring` names what can be set: a field, or an option of
    `gate_options`.

    Args:
        config: A configuration, see above.

    Returns:
        A gate, see `moe_keras.gating.Routing`.

    Raises:
        ValueError: For an option out of its range.
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


def gate_sizes(config):
    """Returns the `GateSizes` of a configuration."""
    return GateSizes(
        depth=config.depth,
        num_experts=config.num_experts,
        k=config.experts_per_token,
        groups=config.expert_groups,
        groups_per_token=config.groups_per_token,
        bias=has_bias(config.gate, config.gate_options),
    )


def has_bias(gate, options):
    """Tells whether the logits of a gate have a trained bias.

    Args:
        gate: str. A name in `GATES`.
        options: str, as of a configuration.

    Example:

    >>> has_bias("top_k", "use_bias=True"), has_bias("top_k", "")
    (True, False)
    """
    return parse_options(options, GATES[gate]).get("use_bias", False)


def check_gate(config):
    """Checks the fields of a configuration from which its gate is made.

    Args:
        config: A configuration, see above, whose sizes are positive integers.

    Raises:
        ValueError: For a field out of range, naming it, or an option that the
            gate does not have.
    """
    if config.gate not in GATES:
        raise ValueError(
            f"`gate` must be one of {', '.join(GATES)}. "
            f"Received: {config.gate!r}"
        )
    experts, k = config.num_experts, config.experts_per_token
    if k > experts:
        raise ValueError(
            "`experts_per_token` must not exceed `num_experts`. Received: "
            f"experts_per_token={k}, num_experts={experts}"
        )
    kind = GATES[config.gate]
    fixed_k = getattr(kind, "k", None)  # where the class has it: `SwitchGate`
    if isinstance(fixed_k, int) and k != fixed_k:
        raise ValueError(
            f"`experts_per_token` must be {fixed_k} with gate={config.gate!r}. "
            f"Received: experts_per_token={k}"
        )
    groups, chosen = config.expert_groups, config.groups_per_token
    if kind.uses_groups and (chosen > groups or experts % groups or k % chosen):
        raise ValueError(
            "`expert_groups` must divide `num_experts`, and "
            "`groups_per_token` must divide `experts_per_token` and not "
            f"exceed `expert_groups`. Received: expert_groups={groups}, "
            f"num_experts={experts}, groups_per_token={chosen}, "
            f"experts_per_token={k}"
        )
    parse_options(config.gate_options, kind)


def parse_options(text, gate):
    """Reads `"name=value,name=value"`.

    Args:
        text: str; empty for no options.
        gate: Class of a gate, see `Router`.

    Returns:
        dict of values, by name.

    Raises:
        ValueError: For an option that the gate does not have, listing those
            that it has, or for a value of another type. Whether a number is in
            its range is checked when the gate is made.

    Example:

    >>> parse_options("softmax=before,jitter=1e-2", GATES["top_k"])
    {'softmax': 'before', 'jitter': 0.01}
    """
    known, values = gate.options(), {}
    for setting in text.split(",") if text else ():
        name, value = split_setting(setting)
        if value is None or name not in known or name in values:
            listed = (f"{name}={known[name]}" for name in known)
            raise ValueError(
                "`gate_options` takes OPTION=VALUE with commas between, each "
                f"once. Received: {setting!r}. Options of {gate.__name__}, "
                f"with their defaults: {', '.join(listed)}"
            )
        kinds = (_kind(name, known[name]), types.NoneType)
        values[name] = read_value(f"`{name}` of `gate_options`", value, kinds)
    return values


def _kind(name, default):
    """Returns the type of an option, which a default of None does not tell."""
    if default is not None:
        return type(default)
    return str if name.endswith("_regularizer") else int
