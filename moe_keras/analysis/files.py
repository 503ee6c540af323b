"""Writes and reads `experts.json` and `experts.md`, the studies of a model."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence

from moe_keras.analysis.markdown import markdown
from moe_keras.analysis.study import LayerStudy

JSON_NAME, MARKDOWN_NAME = "experts.json", "experts.md"


def write_studies(
    folder: str | os.PathLike, studies: Sequence[LayerStudy], corpus: str
) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes both files, replacing earlier ones.

    Args:
        folder: str or path. It is made if there is none.
        studies: List of `LayerStudy`.
        corpus: str. Name of the corpus to show.

    Returns:
        Paths of the JSON and of the Markdown.

    Example:

    >>> from moe_keras.analysis import RoutedTokens, study_layer
    >>> routed = RoutedTokens(num_experts=2)
    >>> routed.add(["a", "dog"], [[0], [1]], [[1.0], [1.0]])
    >>> study = study_layer("moe", routed)
    >>> paths = write_studies("runs/mine", [study], "two words")
    >>> read_studies("runs/mine") == ([study], "two words")
    True
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "corpus": corpus,
        "layers": [dataclasses.asdict(study) for study in studies],
    }
    text = json.dumps(values, ensure_ascii=False, indent=1)
    (folder / JSON_NAME).write_text(text + "\n", "utf-8")
    (folder / MARKDOWN_NAME).write_text(markdown(studies, corpus), "utf-8")
    return folder / JSON_NAME, folder / MARKDOWN_NAME


def read_studies(
    folder: str | os.PathLike,
) -> tuple[list[LayerStudy], str] | None:
    """Reads the studies and the corpus of `write_studies`; None if none."""
    path = pathlib.Path(folder) / JSON_NAME
    if not path.exists():
        return None
    values = json.loads(path.read_text("utf-8"))
    studies = [LayerStudy.from_dict(layer) for layer in values["layers"]]
    return studies, values["corpus"]
