"""Joins sections of HTML into one file that needs no other."""

import html
import os
import pathlib

from moe_keras.paths import local_path
from moe_keras.report.experts import experts_section
from moe_keras.report.routing import routing_section
from moe_keras.report.style import STYLE

# Functions of a model folder that return a title and HTML, or None where the
# folder holds nothing for the section.
SECTIONS = (routing_section, experts_section)


class ReportError(ValueError):
    """There is nothing to report, or matplotlib is missing; one line."""


def write_report(
    model_dir: str | os.PathLike, output: str | os.PathLike | None = None
) -> pathlib.Path:
    """Writes one HTML file that holds everything.

    Args:
        model_dir: str or path. Folder of a run.
        output: str or path of the file; by default `report.html` in the
            folder.

    Returns:
        Path of the file.

    Raises:
        ReportError: If the folder holds nothing to report, or matplotlib is
            not installed.
    """
    model_dir = local_path(model_dir)
    try:
        sections = [section(model_dir) for section in SECTIONS]
    except ModuleNotFoundError as error:
        if error.name.split(".")[0] != "matplotlib":
            raise
        raise ReportError(
            "The report draws with matplotlib, which is not installed. "
            "Install it with: pip install 'moe-keras[plots]' (in a checkout: "
            "pip install -e .[plots])"
        ) from error
    sections = [section for section in sections if section is not None]
    if not sections:
        raise ReportError(
            f"Nothing to report in {model_dir}: it has neither routing.jsonl "
            "nor experts.json. Train with trainers.nmt, or with the callback "
            "moe_keras.monitoring.RoutingMonitor(model_dir=...)."
        )
    output = local_path(output or model_dir / "report.html")
    output.write_text(_page(model_dir.resolve().name, sections), "utf-8")
    return output


def _page(name, sections):
    title = html.escape(f"Experts of {name}")
    body = "\n".join(
        f"<h2>{html.escape(heading)}</h2>\n{content}"
        for heading, content in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<main>\n<div class="report">\n<h1>{title}</h1>\n{body}\n</div>\n'
        "</main>\n</body>\n</html>\n"
    )
