"""Writes the section on what the experts have learnt."""

import html

from moe_keras.analysis import read_studies, rows
from moe_keras.report.table import table


def experts_section(model_dir):
    """Returns title and HTML of the section, None without `experts.json`."""
    found = read_studies(model_dir)
    if found is None:
        return None
    studies, corpus = found
    parts = [_layer(study) for study in studies]
    return f"What the experts learnt: {corpus}", "\n".join(parts)


def _layer(study):
    from moe_keras.report import plots  # the only need of matplotlib

    return "\n".join(
        [
            f"<h3>{html.escape(study.layer)}</h3>",
            f"<p>{html.escape(rows.summary(study))}</p>",
            _table(
                rows.INFORMATION_HEADS,
                rows.information_rows(study),
                f"what experts tell, {study.layer}",
            ),
            f"<p>{html.escape(rows.baseline_note(study))}</p>",
            plots.picture(
                plots.token_map, study, f"ways of tokens, {study.layer}"
            ),
            f"<p>{html.escape(rows.EXPERT_NOTE)}</p>",
            _table(
                rows.EXPERT_HEADS,
                rows.expert_rows(study),
                f"experts, {study.layer}",
            ),
            "<p>Contexts with the highest gates:</p>",
            *(_contexts(profile) for profile in rows.by_speciality(study)),
        ]
    )


def _contexts(profile):
    lines = "".join(
        f"<li>{context.gate:.3f} {html.escape(context.before)} "
        f"<b>{html.escape(context.token)}</b> "
        f"{html.escape(context.after)}</li>\n"
        for context in profile.contexts
    )
    return (
        f"<details>\n<summary>Expert {profile.expert}</summary>\n"
        f"<ul>\n{lines}</ul>\n</details>"
    )


def _table(heads, body, name):
    return table(heads, [list(map(html.escape, row)) for row in body], name)
