"""Texts through a model that is a table of next subwords."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from table_model import Table

from translation.search.beam_options import BeamOptions
from translation.search.score import TextScorer
from translation.search.translate import (
    TextTranslator,
    batches_by_length,
    translate_batch,
)
from translation.text.special_ids import EOS_ID
from translation.text.tokenizer.training import train_tokenizer

SENTENCES = ["a small dog", "the dog sleeps", "a cat sees the small dog", "oh"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(SENTENCES, 290)


class Echo(tf.Module):
    """Prefers to say the source again: it attends to position after position.

    The state holds the position; scores are high for the source subword there
    and low but different for the others, so that there are hypotheses to
    search. Scores depend on the sentence and the step alone.
    """

    def __init__(self, vocab_size, seed=0):
        super().__init__()
        table = np.random.default_rng(seed).normal(size=(vocab_size,) * 2)
        self.table = tf.Variable(table.astype("float32"))
        self.sureness = tf.Variable(9.0)

    def encode(self, source_ids):
        at_start = tf.zeros(tf.shape(source_ids)[:1], tf.int32)
        alignment = tf.zeros(tf.shape(source_ids))
        return [source_ids], {"at": at_start, "alignment": alignment}

    def step(self, ids, state, memory):
        (source_ids,) = memory
        vocab_size = self.table.shape[0]
        said = tf.gather(source_ids, state["at"], axis=1, batch_dims=1)
        scores = self.sureness * tf.one_hot(said, vocab_size)
        alignment = tf.one_hot(state["at"], tf.shape(source_ids)[1])
        last = tf.shape(source_ids)[1] - 1
        state = {
            "at": tf.minimum(state["at"] + 1, last),
            "alignment": alignment,
        }
        return scores + tf.gather(self.table, ids), state

    def alignment(self, state):
        return state["alignment"]


class TestTextTranslator:
    def test_the_echo_says_every_text_again_in_order(self, tokenizer):
        texts = [*SENTENCES, "cat", "dog dog dog dog dog", "Größe 3 €"]
        found = TextTranslator(
            Echo(tokenizer.vocab_size), tokenizer, batch_tokens=20
        )(texts)
        assert [translation.text for translation in found] == texts
        assert all(-np.inf < x.score < 0 for x in found)

    def test_a_blank_text_stays_empty(self, tokenizer):
        texts = ["", "a cat", " \t\n", "\u3000\u00a0", "\ufeff\u200b"]
        found = TextTranslator(Echo(tokenizer.vocab_size), tokenizer)(texts)
        assert [x.text for x in found] == ["", "a cat", "", "", ""]
        assert [x.score for x in found[2:]] == [0.0, 0.0, 0.0]

    def test_no_texts_give_no_translations(self, tokenizer):
        assert TextTranslator(Echo(300), tokenizer)([]) == []

    def test_batch_mates_change_neither_text_nor_score(self, tokenizer):
        run = TextTranslator(Echo(tokenizer.vocab_size), tokenizer)
        texts = [*SENTENCES, "the dog sees a cat, " * 9]
        together = run(texts)
        for text, expected in zip(texts, together, strict=True):
            (alone,) = run([text])
            assert alone.text == expected.text
            np.testing.assert_allclose(alone.score, expected.score, rtol=1e-5)

    def test_odd_characters_fail_no_one(self, tokenizer):
        texts = ["a\0b", "a cat", "😀 dog", "\x07\x1b.", "\ud800 dog"]
        found = TextTranslator(Echo(tokenizer.vocab_size), tokenizer)(texts)
        assert [x.text for x in found] == [*texts[:4], "? dog"]

    def test_a_long_source_is_cut(self, tokenizer):
        run = TextTranslator(
            Echo(tokenizer.vocab_size), tokenizer, max_source_length=4
        )
        (found,) = run(["a small dog sleeps " * 100])
        ids = tokenizer.encode(["a small dog sleeps " * 100])[0][:3]
        assert [found.text] == tokenizer.decode([ids])

    def test_progress_counts_up_to_all_texts(self, tokenizer):
        seen = []
        run = TextTranslator(
            Echo(tokenizer.vocab_size), tokenizer, batch_tokens=1
        )
        run([*SENTENCES, ""], lambda done, total: seen.append((done, total)))
        assert seen == [(2, 5), (3, 5), (4, 5), (5, 5)]

    def test_n_best_come_in_order_of_score(self, tokenizer):
        options = BeamOptions(4, 3)
        run = TextTranslator(Echo(tokenizer.vocab_size), tokenizer, options)
        for text, best in zip(SENTENCES, run.n_best(SENTENCES), strict=True):
            assert best[0].text == text
            scores = [x.score for x in best]
            assert len(scores) == 3
            assert scores == sorted(scores, reverse=True)

    def test_changed_weights_are_used_without_a_new_graph(self, tokenizer):
        model = Echo(tokenizer.vocab_size)
        run = TextTranslator(model, tokenizer)
        (before,) = run(["a cat"])
        model.sureness.assign(30.0)
        (after,) = run(["a cat"])
        assert before.text == after.text and before.score < after.score
        assert run._search.experimental_get_tracing_count() == 1

    def test_scores_that_are_not_numbers_give_an_empty_text(self, tokenizer):
        model = Echo(tokenizer.vocab_size)
        model.sureness.assign(np.nan)
        (found,) = TextTranslator(model, tokenizer)(["dog"])
        assert found == ("", -np.inf, None)


class TestPrefixes:
    def test_each_translation_begins_with_its_prefix(self, tokenizer):
        run = TextTranslator(
            Echo(tokenizer.vocab_size),
            tokenizer,
            BeamOptions(4, 3),
            batch_tokens=20,
        )
        prefixes = ["the ca", "", " oh, dog \n", "\u00a0"]
        found = run.n_best([*SENTENCES[:3], "oh"], prefixes=prefixes)
        for best, start in zip(
            found, ["the ca", "", "oh, dog", ""], strict=True
        ):
            assert len(best) == 3
            assert all(x.text.startswith(start) for x in best)
        free = run.n_best(SENTENCES[:3])
        assert [x.text for x in found[1]] == [x.text for x in free[1]]

    def test_scores_are_those_of_given_translations(self, tokenizer):
        model = Echo(tokenizer.vocab_size)
        run = TextTranslator(model, tokenizer, BeamOptions(4))
        prefixes = ["a dog", "a cat", "a small"]
        found = run(SENTENCES[:3], prefixes=prefixes)
        texts = [x.text for x in found]
        scored = TextScorer(model, tokenizer)(SENTENCES[:3], texts)
        np.testing.assert_allclose(
            [x.score for x in found], [x.score for x in scored], rtol=1e-4
        )

    def test_other_numbers_of_prefixes_are_refused(self, tokenizer):
        run = TextTranslator(Echo(tokenizer.vocab_size), tokenizer)
        with pytest.raises(ValueError, match="Received: 1 and 2"):
            run(["a", "b"], prefixes=["a"])


DRAWING = BeamOptions(1, 4, sampling=True)


def drawing(tokenizer, seed):
    options = dataclasses.replace(DRAWING, sampling_seed=seed)
    model = Table(tokenizer.vocab_size)
    return TextTranslator(
        model, tokenizer, options, batch_tokens=20, alignments=True
    )


@pytest.fixture(scope="module")
def drawn(tokenizer):
    """A translator at random, and four draws of each sentence."""
    run = drawing(tokenizer, seed=3)
    return run, run.n_best(SENTENCES)


class TestSampling:
    def test_a_number_and_the_seed_decide_what_is_drawn(self, drawn, tokenizer):
        run, together = drawn
        for place, expected in enumerate(together):
            [alone] = run.n_best([SENTENCES[place]], first_number=place)
            assert [x.text for x in alone] == [x.text for x in expected]
        [other] = run.n_best([SENTENCES[0]], first_number=9)
        assert [x.text for x in other] != [x.text for x in together[0]]
        [other] = drawing(tokenizer, seed=4).n_best(SENTENCES[:1])
        assert [x.text for x in other] != [x.text for x in together[0]]

    def test_draws_are_ranked_and_have_attention(self, drawn):
        for source, best in zip(SENTENCES, drawn[1], strict=True):
            scores = [x.score for x in best]
            assert len(best) == 4 and scores == sorted(scores, reverse=True)
            assert len({x.text for x in best}) > 1
            for found in best:
                weights = found.attention.weights
                assert len(weights) == len(found.attention.target)
                np.testing.assert_allclose(weights.sum(1), 1.0, rtol=1e-5)
                assert "".join(found.attention.source[:-1]) == (
                    "▁" + source.replace(" ", "▁")
                )

    def test_prefixes_begin_what_is_drawn(self, drawn):
        found = drawn[0].n_best(SENTENCES[:2], prefixes=["oh d", ""])
        assert all(x.text.startswith("oh d") for x in found[0])


class TestTranslateBatch:
    def test_special_ids_are_never_written(self):
        model = Echo(12)
        model.table.assign(
            10 * tf.reduce_sum(tf.one_hot([[0, 1, 3]] * 12, 12), axis=1)
        )
        found = translate_batch(model, [[5, 6, EOS_ID], [7, EOS_ID, 0]])
        # Each of the three is likelier than the source subword: 10 to 9.
        assert found.ids.numpy().tolist() == [[[5, 6, 2]], [[7, 2, 0]]]

    def test_attention_follows_the_source(self):
        found = translate_batch(
            Echo(12), [[5, 6, EOS_ID]], return_alignments=True
        )
        np.testing.assert_allclose(found.alignments[0, 0], np.eye(3))

    def test_an_output_is_not_longer_than_the_options_allow(self):
        options = BeamOptions(max_length_ratio=1.0, max_length_extra=1)
        model = Echo(12)
        # Never eos of its own accord.
        model.table.assign(-50 * tf.one_hot([EOS_ID] * 12, 12))
        found = translate_batch(
            model, [[5, 6, EOS_ID], [7, EOS_ID, 0]], options
        )
        # 3 + 1 and 2 + 1 subwords, eos included.
        assert found.lengths.numpy().tolist() == [[4], [3]]
        assert found.ids[0, 0, 3] == EOS_ID


class TestBatchesByLength:
    def test_batches_hold_as_many_ids_as_allowed(self):
        rng = np.random.default_rng(0)
        sources = {i: [5] * n for i, n in enumerate(rng.integers(1, 40, 300))}
        batches = batches_by_length(sources, 100)
        assert sorted(sum(batches, [])) == list(range(300))
        for batch in batches:
            longest = max(len(sources[key]) for key in batch)
            assert longest * len(batch) <= 100
