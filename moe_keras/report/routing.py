"""Writes the section on the routing: verdicts, windows, load over time."""

import html

from moe_keras.monitoring.verdicts import LEVELS
from moe_keras.monitoring.windows import WindowFile
from moe_keras.report.table import table

FIGURES = (
    ("CV(load)", "cv_load"),
    ("CV(importance)", "cv_importance"),
    ("max/mean load", "max_over_mean_load"),
    ("entropy", "entropy"),
    ("spread", "spread"),
    ("idle experts", "idle_experts"),
    ("mean k", "mean_k"),
    ("first choice changed", "changed_share"),
    ("noise/gap", "noise_over_gap"),
    ("gate gradient", "gate_gradient"),
)


def routing_section(model_dir):
    """Returns title and HTML of the section, None without `routing.jsonl`."""
    windows = WindowFile(model_dir).read()
    if not windows:
        return None
    layers = {}
    for window in windows:
        layers.setdefault(window.layer, []).append(window)
    parts = [_overview(layers), _last_figures(layers)]
    parts += [_layer(name, history) for name, history in layers.items()]
    return "Routing", "\n".join(parts)


def _overview(layers):
    rows = []
    for name, history in layers.items():
        judged = [window for window in history if window.verdict is not None]
        last = judged[-1].verdict if judged else None
        rows.append(
            [
                html.escape(name),
                _verdict(last) + _since(judged, history),
                html.escape(_reason(last)),
                _worst(judged),
            ]
        )
    heads = ["layer", "verdict", "because", "worst so far"]
    return table(heads, rows, "verdicts")


def _last_figures(layers):
    """A row for each figure: layers are fewer, and fit side by side."""
    last = {name: history[-1] for name, history in layers.items()}
    # Gates of several kinds tell different things of themselves.
    told = dict.fromkeys(
        metric for window in last.values() for metric in window.gate_metrics
    )
    rows = [
        [head, *(_number(getattr(w, field)) for w in last.values())]
        for head, field in FIGURES
    ]
    rows += [
        [
            html.escape(metric.replace("_", " ")),
            *(_number(w.gate_metrics.get(metric)) for w in last.values()),
        ]
        for metric in told
    ]
    heads = ["last window", *last]
    return table(heads, rows, "figures of the last window", numbers=True)


def _layer(name, history):
    from moe_keras.report import plots  # the only need of matplotlib

    changes = [
        f"<li>step {window.step}: {_verdict(window.verdict)} "
        f"({html.escape(_reason(window.verdict))})</li>"
        for window in _changes(history)
    ]
    return (
        f"<h3>{html.escape(name)}</h3>\n<ul>{''.join(changes)}</ul>\n"
        + plots.picture(plots.heat_map, history, f"load over time, {name}")
        + plots.picture(plots.curves, history, f"numbers over time, {name}")
    )


def _changes(history):
    """Yields the windows whose verdict differs from the one before."""
    level = None
    for window in history:
        if window.verdict is not None and window.verdict.level != level:
            level = window.verdict.level
            yield window


def _since(judged, history):
    """Names the step of a verdict that later, short windows do not renew."""
    if not judged or judged[-1] is history[-1]:
        return ""
    return f" (step {judged[-1].step})"


def _worst(judged):
    if not judged:
        return "-"
    worst = max(judged, key=lambda w: LEVELS.index(w.verdict.level))
    return f"{_verdict(worst.verdict)} (step {worst.step})"


def _verdict(verdict):
    if verdict is None:
        return "too few tokens to judge"
    return f'<span class="{verdict.level}">{verdict.level}</span>'


def _reason(verdict):
    if verdict is None:
        return ""
    advice = f". Try: {verdict.advice}" if verdict.advice else ""
    return verdict.reason + advice


def _number(value):
    return "-" if value is None else f"{value:.3g}"
