"""What a search may be asked for."""

import numpy as np
import pytest

from translation.search.beam_options import BeamOptions, length_penalty


class TestOptions:
    @pytest.mark.parametrize(
        "bad",
        [
            {"beam_width": 0},
            {"num_translations": 6},
            {"num_translations": 0},
            {"length_penalty": -0.1},
            {"coverage_penalty": float("nan")},
            {"prune": 0.0},
            {"min_length": -1},
            {"no_repeat_ngram_size": -2},
            {"temperature": -0.5, "sampling": True},
            {"temperature": float("nan"), "sampling": True},
            {"top_k": -1, "sampling": True},
            {"top_p": 0.0, "sampling": True},
            {"top_p": 1.5, "sampling": True},
            {"num_translations": 0, "sampling": True},
            # Without sampling they would do nothing.
            {"temperature": 0.5},
            {"top_k": 3},
            {"top_p": 0.9},
            {"sampling_seed": 1},
        ],
    )
    def test_what_cannot_be_is_refused_by_name(self, bad):
        with pytest.raises(ValueError, match=f"`{next(iter(bad))}`"):
            BeamOptions(**bad)

    def test_more_samples_than_the_beam_is_wide_can_be_drawn(self):
        options = BeamOptions(5, num_translations=30, sampling=True)
        assert options.num_translations == 30

    def test_length_penalty_of_the_paper(self):
        # ((5 + 13) / 6) ** 0.5 = sqrt(3)
        np.testing.assert_allclose(length_penalty(13, 0.5), 3**0.5, rtol=1e-6)
