"""Beam search where little is left: edges, odd scores, pruning."""

import numpy as np
import pytest
import tensorflow as tf
from markov_tables import BOS, EOS, Markov, outputs

from translation.search.beam_options import BeamOptions
from translation.search.beam_search import beam_search


class TestEdges:
    OPTIONS = BeamOptions(3, 2, coverage_penalty=0.0)

    def search(self, log_probs, longest=(4,), options=OPTIONS, **kwargs):
        """Searches with the same scores at every step."""

        def step(ids, state):
            scores = tf.convert_to_tensor(log_probs, tf.float32)[None]
            return tf.tile(scores, [tf.size(ids), 1]), state

        return beam_search(
            step, (), tf.constant(longest, tf.int32), options, **kwargs
        )

    def test_an_empty_batch_gives_an_empty_result(self):
        model = Markov([3, 2])
        found = model.search(BeamOptions(3, 2), [5, 4], chosen=[])
        assert found.ids.shape == (0, 2, 0)
        assert found.scores.shape == (0, 2)

    def test_what_is_unfinished_at_the_maximum_length_ends_there(self):
        # eos is always the least likely; log P = 2 log 0.9 + log 0.1.
        log_probs = np.log([1e-9, 1e-9, 0.1, 0.9])
        options = BeamOptions(1, coverage_penalty=0.0)
        found = self.search(log_probs, [3], options)
        assert outputs(found, 0) == [(3, 3, EOS)]
        np.testing.assert_allclose(
            found.log_probs[0, 0], 2 * np.log(0.9) + np.log(0.1), rtol=1e-5
        )

    def test_forbidden_tokens_are_never_chosen(self):
        log_probs = np.log([0.5, 0.3, 0.02, 0.08, 0.1])
        found = self.search(log_probs, [4, 2], forbidden_ids=(0, 1, 3))
        assert set(found.ids.numpy().ravel()) == {0, EOS, 4}
        for sentence in range(2):
            for ids in outputs(found, sentence):
                assert set(ids) <= {EOS, 4}

    def test_ties_go_to_the_lower_token(self):
        options = BeamOptions(2, 2, coverage_penalty=0.0)
        found = self.search([-9.0, -9.0, -1.0, -1.0, -1.0], [2], options)
        # (eos) first; then (3 eos) ties with (4 eos).
        assert outputs(found, 0) == [(EOS,), (3, EOS)]

    def test_a_beam_wider_than_all_outputs_leaves_places_empty(self):
        # At most 2 tokens out of {3, eos}: (eos) and (3 eos).
        options = BeamOptions(8, 4, coverage_penalty=0.0)
        found = self.search(np.log([0.1, 0.1, 0.3, 0.5]), [2], options)
        assert outputs(found, 0)[:2] == [(EOS,), (3, EOS)]
        assert outputs(found, 0)[2:] == [(), ()]
        assert np.all(found.scores[0, 2:] == -np.inf)
        assert np.all(found.ids[0, 2:] == 0)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_scores_that_are_not_finite_spoil_only_their_sentence(self, bad):
        model = Markov([3, 4, 2], seed=5)
        options = BeamOptions(3, 2, 0.8, 0.2)
        expected = model.search(options, [6, 6, 6])
        model.table[1, :, 4] = bad
        found = model.search(options, [6, 6, 6])
        assert outputs(found, 1) == [(), ()]
        assert np.all(found.scores[1] == -np.inf)
        for sentence in (0, 2):
            assert outputs(found, sentence) == outputs(expected, sentence)

    def test_a_token_of_probability_zero_is_not_chosen(self):
        found = self.search([-1e9, -1e9, -1.0, -np.inf], [5])
        assert outputs(found, 0) == [(EOS,), ()]

    def test_alignments_are_the_attention_of_each_output_step(self):
        model = Markov([3, 5], vocabulary=12, seed=6)
        options = BeamOptions(4, 3, 1.0, 0.0)
        found = model.search(options, [7, 9], return_alignments=True)
        for sentence in range(2):
            for n, ids in enumerate(outputs(found, sentence)):
                read = np.array([BOS, *ids[:-1]])
                rows = found.alignments[sentence, n, : len(ids)]
                np.testing.assert_allclose(
                    rows, model.attention[sentence, read]
                )
                assert not np.any(found.alignments[sentence, n, len(ids) :])

    def test_attention_is_required_for_coverage(self):
        with pytest.raises(ValueError, match="coverage_penalty=0"):
            self.search([0.0] * 4, options=BeamOptions())

    def test_eos_cannot_be_forbidden(self):
        with pytest.raises(ValueError, match="`eos_id`"):
            self.search([0.0] * 4, forbidden_ids=(0, 2))


class TestPruning:
    def test_only_tokens_near_the_best_of_a_step_are_followed(self):
        # 4 is less than a nat below 3, 5 is more than a nat below; so is eos,
        # but it is all that may come last.
        log_probs = np.log([1e-9, 1e-9, 0.1, 0.5, 0.3, 0.1])
        options = BeamOptions(9, 9, coverage_penalty=0.0, prune=1.0)
        found = TestEdges().search(log_probs, [3], options)
        outs = outputs(found, 0)
        assert set(outs[:4]) == {(a, b, EOS) for a in (3, 4) for b in (3, 4)}
        assert outs[4:] == [()] * 5

    @pytest.mark.parametrize("prune, lengths", [(0.5, [1, 0]), (9, [1, 4])])
    def test_what_falls_behind_the_best_finished_is_dropped(
        self, prune, lengths
    ):
        # W = 2: the first step finishes (eos), score log .4 = -.92, and keeps
        # (3); then comes (3 3), at 2 log .45 / (7 / 6) = -1.37, .45 below,
        # and (3 3 3), at 3 log .45 / (8 / 6) = -1.80, .88 below.
        log_probs = np.log([0.15, 1e-9, 0.4, 0.45])
        options = BeamOptions(2, 2, 1.0, 0.0, prune=prune, early_stop=False)
        found = TestEdges().search(log_probs, [4], options)
        assert found.lengths[0].numpy().tolist() == lengths

    def test_generous_pruning_changes_nothing(self):
        model = Markov([3] * 30, vocabulary=9, seed=7)
        plain = BeamOptions(3, 2, 0.8, 0.2)
        pruned = BeamOptions(3, 2, 0.8, 0.2, prune=100.0)
        expected = model.search(plain, [12] * 30)
        found = model.search(pruned, [12] * 30)
        np.testing.assert_array_equal(found.ids, expected.ids)

    def test_a_step_is_asked_for_open_hypotheses_only(self):
        sizes = []

        def step(ids, state):
            sizes.append(len(ids))
            scores = tf.math.log([[0.02, 0.01, 0.3, 0.4, 0.27]])
            return tf.tile(scores, [len(ids), 1]), state

        options = BeamOptions(4, 4, 1.0, 0.0, early_stop=False)
        found = beam_search(step, (), tf.constant([1, 30]), options)
        # A row each at first. Sentence 1 is done then, and 2 has kept (3) and
        # (4) beside the finished (eos). (3 eos) takes a slot, then (3 3 eos).
        assert sizes[:2] == [2, 2]
        assert max(sizes) <= 3 and sizes[-1] == 1
        assert len(sizes) == max(found.lengths[1].numpy())
