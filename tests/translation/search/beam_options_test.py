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
        ],
    )
    def test_what_cannot_be_is_refused_by_name(self, bad):
        with pytest.raises(ValueError, match=f"`{next(iter(bad))}`"):
            BeamOptions(**bad)

    def test_length_penalty_of_the_paper(self):
        # ((5 + 13) / 6) ** 0.5 = sqrt(3)
        np.testing.assert_allclose(length_penalty(13, 0.5), 3**0.5, rtol=1e-6)
