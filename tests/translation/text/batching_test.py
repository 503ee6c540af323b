"""The shapes of batches: few, within their bounds, one for every length."""

import dataclasses
import itertools

import pytest

from translation.text.batching import batch_shapes
from translation.text.input_pipeline import PipelineOptions

OPTIONS = PipelineOptions(tokens_per_batch=64, max_length=16)


class TestBatchShapes:
    def test_worked_by_hand(self):
        # 64 ids: 16 x 4, 8 x 8; no rounding below 8 rows: 5 x 12, 4 x 16.
        assert batch_shapes(OPTIONS) == [(16, 4), (8, 8), (5, 12), (4, 16)]

    def test_long_buckets_widen_by_a_fifth(self):
        options = PipelineOptions(max_length=70)
        lengths = [length for _, length in batch_shapes(options)]
        # 40 x 1.2 = 48, 48 x 1.2 = 57.6 becomes 56, and so on.
        assert lengths == [*range(4, 44, 4), 48, 56, 64, 76]

    def test_sizes_are_multiples_of_eight_within_the_tokens(self):
        for size, length in batch_shapes(PipelineOptions(max_length=99)):
            assert size % 8 == 0
            assert size * length <= 1_024 < (size + 8) * length

    def test_a_batch_has_a_sentence_however_long(self):
        options = PipelineOptions(tokens_per_batch=10, max_length=30)
        assert batch_shapes(options)[-1] == (1, 32)

    def test_every_length_has_its_bucket(self):
        for multiple, longest in itertools.product((1, 3, 8), (1, 7, 50)):
            options = PipelineOptions(
                length_multiple=multiple, max_length=longest
            )
            lengths = [length for _, length in batch_shapes(options)]
            assert lengths == sorted(set(lengths))
            assert lengths[-1] >= longest
            assert all(length % multiple == 0 for length in lengths)

    @pytest.mark.parametrize(
        "name, value",
        [
            ("tokens_per_batch", 0),
            ("max_length", 0),
            ("shuffle_buffer", 0),
            ("length_multiple", -4),
            ("source_sampling", -0.1),
            ("target_sampling", 1.1),
        ],
    )
    def test_options_out_of_range(self, name, value):
        with pytest.raises(ValueError, match=f"`{name}`.*{name}={value}"):
            dataclasses.replace(OPTIONS, **{name: value})
