"""Writes studies as Markdown."""

import re
from collections.abc import Sequence

from moe_keras.analysis import rows
from moe_keras.analysis.study import LayerStudy


def markdown(studies: Sequence[LayerStudy], corpus: str) -> str:
    """Writes all studies as one page.

    Args:
        studies: List of `LayerStudy`.
        corpus: str. Name of the corpus to show.

    Returns:
        str.

    Example:

    >>> from moe_keras.analysis import RoutedTokens, study_layer
    >>> routed = RoutedTokens(num_experts=2)
    >>> routed.add(["a", "dog"], [[0], [1]], [[1.0], [1.0]])
    >>> page = markdown([study_layer("moe", routed)], "two words")
    >>> page.splitlines()[0]
    '# What the experts learnt: two words'
    """
    parts = [f"# What the experts learnt: {_plain(corpus)}"]
    for study in studies:
        parts += [f"## {_plain(study.layer)}", rows.summary(study)]
        parts.append(
            _table(rows.INFORMATION_HEADS, rows.information_rows(study))
        )
        parts += [rows.baseline_note(study), "### Experts", rows.EXPERT_NOTE]
        parts.append(_table(rows.EXPERT_HEADS, rows.expert_rows(study)))
        parts.append("### Where the most frequent tokens go")
        parts.append(_table(rows.ROUTE_HEADS, rows.route_rows(study)))
        parts.append("### Contexts with the highest gates")
        parts += [_contexts(profile) for profile in rows.by_speciality(study)]
    return "\n\n".join(parts) + "\n"


def _contexts(profile):
    lines = [
        f"- {context.gate:.3f} {_plain(context.before)} "
        f"**{_plain(context.token.strip())}** {_plain(context.after)}".rstrip()
        for context in profile.contexts
    ]
    return "\n".join([f"Expert {profile.expert}", "", *lines])


def _table(heads, body):
    lines = [heads, ["---"] * len(heads), *body]
    return "\n".join(
        "| " + " | ".join(map(_plain, line)) + " |" for line in lines
    )


def _plain(text):
    """Escapes all that has a meaning in Markdown."""
    text = re.sub(r"([\\`*_\[\]<>#|~&])", r"\\\1", text)
    return " ".join(text.split())
