"""What balances the load of a layer, and what to try where it is uneven."""

LITTLE_NOISE = 0.1  # below this fraction of the gap, noise changes nothing
LAYER_LOSSES = ("importance_loss_weight", "load_loss_weight")


def is_balanced(layer):
    """Says whether anything balances the load of a layer.

    Args:
        layer: A `SparseMoE`, or a layer that has its attributes `gate`,
            `importance_loss_weight` and `load_loss_weight`.

    Returns:
        bool. False where `importance_loss_weight` and all `balance_knobs` of
        the gate (see `Routing`) are 0. `load_loss_weight` counts only where
        it is a knob: the load of other gates has no gradient. True for a gate
        that balances itself without knobs, and where a knob is an attribute
        of neither the gate nor the layer.

    Example:

    >>> import moe_keras
    >>> gates = [
    ...     moe_keras.TopKGate(4, balance_loss_weight=weight)
    ...     for weight in (0.01, 0.0)
    ... ]
    >>> [
    ...     is_balanced(moe_keras.SparseMoE(4, hidden_dim=8, gate=gate))
    ...     for gate in gates
    ... ]
    [True, False]
    """
    knobs = _balance_knobs(layer.gate)
    values = [
        [
            getattr(part, knob)
            for part in (layer, layer.gate)
            if hasattr(part, knob)
        ]
        for knob in (*knobs, "importance_loss_weight")
    ]
    is_unknown = not all(values)  # neither of them has this knob
    return not knobs or is_unknown or any(map(any, values))


def advise(verdict, window, gate=None, is_balanced=True):
    """Advises what to try.

    Args:
        verdict: `Verdict`.
        window: The `RoutingWindow` of the verdict.
        gate: As for `Judge`.
        is_balanced: As for `Judge`.

    Returns:
        str, empty for a healthy layer. It mentions noise only for gates that
        have noise, whose windows have a `noise_over_gap`.

    Example:

    >>> import moe_keras
    >>> from moe_keras.monitoring import Verdict, make_window
    >>> window = make_window("moe", 10, 10, tokens=100, load=[90, 60, 30, 20])
    >>> verdict = Verdict("drifting", "spread of load", 0.7, 0.75)
    >>> advise(verdict, window, moe_keras.BiasBalancedGate(4, k=2))
    'raise update_rate, or lower the learning rate'
    """
    if verdict.level == "healthy":
        return ""
    advice = []
    if verdict.level == "collapsed":
        advice.append(
            "go back to an earlier checkpoint, for starved experts do not come "
            "back by themselves"
        )
    if window.gate_gradient == 0:
        advice.append(
            "no gradient reaches the gate: let its choice weigh the output "
            "(k above 1, or a gate whose probability scales the expert)"
        )
    else:
        knobs = " and ".join(_name(gate, knob) for knob in _balance_knobs(gate))
        from_0 = "" if is_balanced else " from 0"
        raise_knobs = f"raise {knobs}{from_0}, or " if knobs else ""
        advice.append(f"{raise_knobs}lower the learning rate")
    ratio = window.noise_over_gap
    if ratio is not None and ratio < LITTLE_NOISE:
        knob = getattr(gate, "noise_knob", None)
        raise_it = f": raise {_name(gate, knob)}" if knob else ""
        advice.append(f"give the gate more noise{raise_it}")
    return "; ".join(advice)


def _balance_knobs(gate):
    itself = getattr(gate, "balances_itself", False)
    return getattr(gate, "balance_knobs", () if itself else LAYER_LOSSES)


def _name(gate, knob):
    return getattr(gate, "knob_names", {}).get(knob, knob)
