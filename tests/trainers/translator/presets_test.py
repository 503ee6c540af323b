"""Presets by their names."""

import pytest

from trainers.translator.presets import preset


def test_unknown_preset_lists_the_known_ones():
    with pytest.raises(ValueError, match="Known: phrasebook, multi30k"):
        preset("wmt17")
