"""Several models as one, against the mean worked by hand."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from table_model import SENTENCES
from table_model import Table as Subwords

from translation.search.beam_options import BeamOptions
from translation.search.ensemble import Ensemble
from translation.search.score import score_batch
from translation.search.translate import TextTranslator, translate_batch
from translation.serving.export import export_translator, load_translator
from translation.text.tokenizer.training import train_tokenizer

SOURCE = np.array([[5, 6, 2], [4, 2, 0]], "int32")
OPTIONS = BeamOptions(beam_width=3, num_translations=3, max_length_extra=3)


class Table:
    """Scores depend on the last token and on what was said so far."""

    def __init__(self, seed, vocab_size=8):
        random = np.random.default_rng(seed)
        table = random.normal(size=(vocab_size, vocab_size))
        self.table = tf.constant(2.0 * table, tf.float32)
        self.weight = float(seed)

    def encode(self, source_ids):
        mask = tf.cast(source_ids > 0, tf.float32)
        total = tf.reduce_sum(tf.cast(source_ids, tf.float32), 1)
        even = mask / tf.reduce_sum(mask, 1, keepdims=True)
        return {"mask": even}, (total, even)

    def step(self, ids, state, memory):
        total = state[0] + self.weight * tf.cast(ids, tf.float32)
        scores = tf.gather(self.table, ids)
        scores += tf.sin(total)[:, None] * tf.range(8.0)
        return scores, (total, memory["mask"])

    def alignment(self, state):
        return state[1]


def _probabilities(model, ids):
    """Of the next token after bos and `ids`, for the first source."""
    memory, state = model.encode(SOURCE[:1])
    for token in (1, *ids):
        scores, state = model.step(tf.constant([token]), state, memory)
    return tf.nn.softmax(scores).numpy()[0]


@pytest.mark.parametrize("ids", [(), (4,), (7, 3, 5)])
def test_mean_of_probabilities_and_of_log_probabilities(ids):
    members = [Table(1), Table(2), Table(3)]
    each = np.stack([_probabilities(member, ids) for member in members])
    np.testing.assert_allclose(
        _probabilities(Ensemble(members), ids), each.mean(0), rtol=1e-5
    )
    geometric = np.exp(np.log(each).mean(0))
    np.testing.assert_allclose(
        _probabilities(Ensemble(members, "log_probabilities"), ids),
        geometric / geometric.sum(),
        rtol=1e-5,
    )


@pytest.mark.parametrize("mean", ["probabilities", "log_probabilities"])
def test_twins_translate_as_one_of_them(mean):
    alone = translate_batch(Table(1), SOURCE, OPTIONS)
    twins = Ensemble([Table(1), Table(1)], mean)
    together = translate_batch(twins, SOURCE, OPTIONS)
    np.testing.assert_array_equal(alone.ids, together.ids)
    np.testing.assert_allclose(alone.scores, together.scores, rtol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"min_length": 4, "no_repeat_ngram_size": 1},
        {"sampling": True, "temperature": 0.7, "top_k": 3},
    ],
    ids=["constraints", "sampling"],
)
def test_twins_keep_constraints_and_draw_as_one_of_them(changes):
    options = dataclasses.replace(OPTIONS, **changes)
    prefix_ids = np.array([[5, 7], [6, 0]], "int32")
    alone, together = (
        translate_batch(model, SOURCE, options, prefix_ids=prefix_ids)
        for model in (Table(1), Ensemble([Table(1), Table(1)]))
    )
    np.testing.assert_array_equal(alone.ids, together.ids)
    np.testing.assert_allclose(alone.scores, together.scores, rtol=1e-5)
    assert np.all(together.ids[0, :, :2] == [5, 7])
    assert np.all(together.ids[1, :, 0] == 6)
    lengths = together.lengths.numpy()
    assert np.all(lengths >= options.min_length)


def test_what_the_search_found_has_the_mean_of_the_members_scores():
    # Teacher forcing is another way through the steps than the search, in
    # which the states of hypotheses change places.
    ensemble = Ensemble([Table(1), Table(2)], "log_probabilities")
    found = translate_batch(ensemble, SOURCE, OPTIONS, return_alignments=True)
    for place in range(3):
        ids = found.ids[:, place]
        again = score_batch(ensemble, SOURCE, ids, OPTIONS)
        np.testing.assert_allclose(
            found.scores[:, place], again.scores, rtol=1e-4
        )
        np.testing.assert_allclose(
            found.alignments[:, place], again.alignments, atol=1e-6
        )
    best = translate_batch(Table(1), SOURCE, OPTIONS).ids
    assert best.shape != found.ids.shape or np.any(best != found.ids)


def test_members_of_other_vocabularies_are_refused():
    class Small(Table):
        def step(self, ids, state, memory):
            scores, state = super().step(ids, state, memory)
            return scores[:, :7], state

    with pytest.raises(ValueError, match="models with 7 and 8 subwords"):
        translate_batch(Ensemble([Table(1), Small(2)]), SOURCE, OPTIONS)


@pytest.mark.parametrize(
    "arguments, message",
    [(([],), "must hold a model"), (([Table(1)], "median"), "one of prob")],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Ensemble(*arguments)


def test_saved_model_of_an_ensemble_translates_as_it_does(tmp_path):
    tokenizer = train_tokenizer(SENTENCES, 290)
    members = [Subwords(290), Subwords(290)]
    members[1].by_last.assign(members[1].by_last[::-1])
    ensemble = Ensemble(members)
    expected = TextTranslator(ensemble, tokenizer, OPTIONS)(SENTENCES)
    export_translator(ensemble, tokenizer, tmp_path, OPTIONS)
    found = load_translator(tmp_path)(SENTENCES)
    assert [x.text for x in found] == [x.text for x in expected]
    np.testing.assert_allclose(
        [x.score for x in found], [x.score for x in expected], rtol=1e-4
    )
