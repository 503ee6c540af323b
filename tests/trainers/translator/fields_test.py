"""The tables of docs/training.md have every field, with its default."""

import pathlib
import re

import pytest

import trainers
from trainers.engine.config.overrides import field_paths
from trainers.translator.presets import NmtConfig

PAGE = pathlib.Path(trainers.__file__).parents[1] / "docs/training.md"
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", re.MULTILINE)


def _tables():
    """Defaults and meanings as the page has them, by dotted name."""
    found = {}
    fields = PAGE.read_text("utf-8").split("\n## All fields\n")[1]
    for section in re.split(r"\n### ", fields)[1:]:
        prefix = re.match(r"`(\w+\.)`", section)
        for name, default, meaning in ROW.findall(section):
            path = (prefix[1] if prefix else "") + name
            assert path not in found
            found[path] = default.strip("`"), meaning
    return found


def test_every_field_and_no_other_is_in_a_table():
    assert set(_tables()) == set(field_paths(NmtConfig()))


@pytest.mark.parametrize("path, value", field_paths(NmtConfig()).items())
def test_default_and_meaning_are_told(path, value):
    default, meaning = _tables()[path]
    if isinstance(value, int | float) and not isinstance(value, bool):
        assert float(default.replace(",", "")) == value
    else:
        assert default == (str(value) or "none")
    assert len(meaning) > 3
