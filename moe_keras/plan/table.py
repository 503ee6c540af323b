"""Shows a plan as text and as JSON."""

import collections
import dataclasses
import json

from moe_keras.plan.planner import devices_needed

_GB = 10**9


def as_text(plan):
    """Shows a plan to people.

    Args:
        plan: `Plan`.

    Returns:
        str of several lines.
    """
    lines = [*_about(plan), "", *_rows(plan), "", *_advice(plan)]
    return "\n".join(lines)


def _about(plan):
    model, training = plan.model, plan.training
    tokens = training.tokens or model.tokens
    yield (
        f"{model.name}: {count(model.parameters)} parameters, "
        f"{count(model.parameters_without_tables)} without embedding and "
        f"softmax, {count(model.expert_parameters)} in experts"
    )
    yield f"  for a token: {count(model.active_parameters)} parameters"
    for layer, number in collections.Counter(model.moe).items():
        times = f"{number} x " if number > 1 else ""
        shared = f", shared {layer.shared_hidden_dim}"
        yield (
            f"  {times}MoE of {layer.num_experts:,} experts "
            f"{layer.depth} -> {layer.hidden_dim} -> {layer.depth}"
            f"{', gated' if layer.gated else ''}, "
            f"{layer.k} for a token, gate {layer.gate}"
            f"{shared if layer.shared_hidden_dim else ''}"
        )
    yield (
        f"  multiply-adds for a token: {count(model.expert_ops)} in experts, "
        f"{count(model.dense.softmax_ops)} in the softmax, "
        f"{count(model.mirrored_ops - model.dense.softmax_ops)} elsewhere"
    )
    devices = f"{plan.devices:,} device{'s' if plan.devices > 1 else ''}"
    yield (
        f"{devices}, {tokens:,} tokens a batch, {training.optimizer}, "
        f"{training.precision}"
        + (", moving average" if training.average else "")
        + (", summed gradients" if training.accumulate else "")
    )


def count(number):
    """Writes a number as the paper does.

    >>> count(137_577_627_648), count(4_303_372_288), count(33_554)
    ('137.6 B', '4303.4 M', '0.03 M')
    """
    if number >= 5e9:
        return f"{number / 1e9:.1f} B"
    return f"{number / 1e6:.{1 if number >= 1e5 else 2}f} M"


def _gb(size):
    return f"{size / _GB:.3g}" if size < 100 * _GB else f"{size / _GB:,.0f}"


_HEAD = (
    "GB of the first device",
    "weights",
    "gradients",
    "optimizer",
    "activ.",
    "total",
    "others",
    "exchange",
    "reduce",
    "ops/byte",
)


def _rows(plan):
    names = [_HEAD[0], *(row.layout.name for row in plan.rows)]
    width = max(map(len, names)) + 1
    is_timed = any(row.time for row in plan.rows)
    head = _HEAD[1:] + (("step s", "TFLOPS") if is_timed else ())
    yield f"{_HEAD[0]:{width}}" + "".join(f"{name:>10}" for name in head)
    for row in plan.rows:
        first = row.first
        weights = first.expert_weights + first.other_weights + first.average
        per_byte = row.traffic.ops_per_byte
        cells = [
            _gb(weights),
            _gb(first.gradients),
            _gb(first.optimizer),
            _gb(first.activations + first.passing),
            _gb(first.total),
            _gb(row.other.total) if plan.devices > 1 else "",
            _gb(row.traffic.exchange),
            _gb(row.traffic.reduce),
            f"{per_byte:,.0f}" if per_byte else "",
        ]
        if row.time:
            cells += [f"{row.time.total:.3g}", f"{row.time.teraflops:.2f}"]
        no = "" if row.fits else "  does not fit"
        name = f"{row.layout.name:{width}}"
        yield name + "".join(f"{cell:>10}" for cell in cells) + no


def _advice(plan):
    best = plan.best
    if best:
        yield f"Take: {best.layout.name}"
        if best.layout.flags:
            yield f"  {best.layout.flags}"
        if best.time:
            yield _about_time(best.time)
        return
    have = f"{_gb(plan.memory_bytes)} GB"
    if plan.rows:
        least = min(plan.rows, key=lambda row: row.first.total)
        yield (
            f"No layout of {plan.devices:,} devices fits {have}: the least, "
            f"{least.layout.name}, takes {_gb(least.first.total)} GB."
        )
    else:
        yield f"The sizes allow no layout of {plan.devices:,} devices."
    needed = devices_needed(plan.model, plan.training, plan.memory_bytes)
    if needed:
        yield f"{needed:,} devices would do."
    else:
        yield (
            "No number of devices is enough: at least one device holds all "
            "weights but the experts', with what the optimizer keeps of them. "
            "Take smaller batches, or devices with more memory."
        )
    if plan.training.optimizer == "adam":
        yield "--optimizer=factored_adam takes less (appendix D)."


def _about_time(time):
    return (
        f"  A step takes {time.total:.3g} s if nothing overlaps: products "
        f"{time.products:.3g}, exchange {time.exchange:.3g}, reduce "
        f"{time.reduce:.3g}, passes over weights {time.weights:.3g}."
    )


def as_json(plan):
    """Writes a plan for programs.

    Args:
        plan: `Plan`.

    Returns:
        str of JSON. Sizes are in bytes.
    """
    model = plan.model
    best = plan.best
    values = {
        "model": model.name,
        "parameters": model.parameters,
        "active_parameters": model.active_parameters,
        "parameters_without_tables": model.parameters_without_tables,
        "expert_parameters": model.expert_parameters,
        "expert_ops_per_token": model.expert_ops,
        "other_ops_per_token": model.mirrored_ops,
        "devices": plan.devices,
        "memory_bytes": plan.memory_bytes,
        "training": {
            **dataclasses.asdict(plan.training),
            "tokens": plan.training.tokens or model.tokens,
        },
        "take": best.layout.name if best else None,
        "layouts": [_row_values(row) for row in plan.rows],
    }
    return json.dumps(values, indent=1)


def _row_values(row):
    return {
        **dataclasses.asdict(row.layout),
        "first_device": {**row.first._asdict(), "total": row.first.total},
        "other_devices": {**row.other._asdict(), "total": row.other.total},
        "exchange_bytes": row.traffic.exchange,
        "reduce_bytes": row.traffic.reduce,
        "expert_ops": row.traffic.ops,
        "ops_per_exchanged_byte": row.traffic.ops_per_byte,
        "fits": row.fits,
        "step_seconds": row.time
        and {**row.time._asdict(), "total": row.time.total},
    }
