"""Batches hold every pair, in few shapes, within their bounds."""

import collections
import dataclasses
import gzip
import itertools
import shutil

import numpy as np
import pytest
import tensorflow as tf

from translation.text.batching import batch_shapes
from translation.text.corpora.corpus import CorpusError, TsvCorpus, open_corpus
from translation.text.input_pipeline import (
    PipelineOptions,
    count_too_long,
    evaluation_batches,
    training_batches,
)
from translation.text.tokenizer.training import train_tokenizer

LETTERS = "abcdefghij"
# No vocabulary beyond single characters: an id for each, and one for the
# space before it. A word of n letters has n + 2 ids with eos.
_VOCAB_SIZE = 260 + 1 + len(LETTERS)
TOKENIZER = None


@pytest.fixture(scope="module", autouse=True)
def tokenizer():
    """Made when the tests begin: Keras' own clear what was made on import.

    `keras.src.testing.TestCase` clears the session, and with it the
    resources of the tokenizer's operations.
    """
    global TOKENIZER
    TOKENIZER = train_tokenizer([LETTERS], _VOCAB_SIZE)


OPTIONS = PipelineOptions(
    static_shapes=True, tokens_per_batch=64, max_length=16, shuffle_buffer=1_000
)


def word(number, length):
    """A word of its own for each number below 1,000, padded to a length."""
    digits = "".join(LETTERS[int(digit)] for digit in f"{number:03d}")
    return digits + "a" * (length - 3)


def make_corpus(folder, lengths):
    """Pair i has letters as `lengths[i]` says: (source, target)."""
    lines = [
        "\t".join(word(i, n) if n else "" for n in pair) + "\n"
        for i, pair in enumerate(lengths)
    ]
    path = folder / "corpus.tsv"
    path.write_text("".join(lines), encoding="utf-8")
    return open_corpus(str(path), "en-fr")


@pytest.fixture
def corpus(tmp_path):
    """90 pairs of all lengths from 3 to 12 letters."""
    return make_corpus(
        tmp_path, [(3 + i % 10, 3 + i * 7 % 9) for i in range(90)]
    )


def texts(ids):
    return TOKENIZER.decode(ids.numpy().tolist())


def rows(batch):
    sides = texts(batch["source"]), texts(batch["target_out"])
    return list(zip(*sides, strict=True))


def take(dataset, count):
    return list(itertools.islice(dataset, count))


def first_rows(dataset, count):
    stream = itertools.chain.from_iterable(rows(batch) for batch in dataset)
    return take(stream, count)


def ids(batch):
    return {name: batch[name].numpy().tolist() for name in batch}


def trees(folder, repeats=8):
    """A corpus of one pair, and a vocabulary with words of several letters."""
    path = folder / "corpus.tsv"
    path.write_text("the old green tree\tl'arbre vieux et vert\n" * repeats)
    corpus = open_corpus(str(path), "en-fr")
    return corpus, train_tokenizer(corpus.sentences(), 310)


def check_layout(batch):
    source, target_in, target_out = (
        batch[name].numpy() for name in ("source", "target_in", "target_out")
    )
    for ids in (source, target_in, target_out):
        assert ids.dtype == np.int32
    for row in itertools.chain(source, target_out):
        end = np.argmax(row == 2)
        assert row[end] == 2
        assert (row[:end] > 3).all() and (row[end + 1 :] == 0).all()
    for before, after in zip(target_in, target_out, strict=True):
        words = np.count_nonzero(after) - 1
        assert before[0] == 1
        assert before[1 : words + 1].tolist() == after[:words].tolist()
        assert (before[words + 1 :] == 0).all()


class TestTrainingBatches:
    def test_ids_are_where_they_belong(self, corpus):
        for batch in take(training_batches(corpus, TOKENIZER, OPTIONS), 20):
            assert set(batch) == {"source", "target_in", "target_out"}
            check_layout(batch)

    def test_pairs_stay_together(self, corpus):
        pairs = set(corpus.pairs())
        for batch in take(training_batches(corpus, TOKENIZER, OPTIONS), 20):
            assert pairs.issuperset(rows(batch))

    def test_every_shape_is_among_those_announced(self, corpus):
        shapes = set()
        for batch in take(training_batches(corpus, TOKENIZER, OPTIONS), 60):
            sides = {tuple(ids.shape) for ids in batch.values()}
            assert len(sides) == 1
            shapes |= sides
        # The longer side has from 5 to 14 ids.
        assert shapes == {(8, 8), (5, 12), (4, 16)}

    def test_without_static_shapes_only_the_longest_counts(self, corpus):
        options = dataclasses.replace(OPTIONS, static_shapes=False)
        for batch in take(training_batches(corpus, TOKENIZER, options), 30):
            check_layout(batch)
            for ids in batch.values():
                assert (ids.numpy() != 0).any(axis=0).all()
            assert batch["source"].shape[0] in {8, 5, 4}

    def test_pairs_of_a_batch_are_alike_on_both_sides(self, tmp_path):
        # 12 ids on the longer side of all pairs, and 5, 7, 9, 11 or 12 on the
        # other: nine kinds. Padded to 12 on both sides, as in batches at
        # random, 2 (17 + 19 + 21 + 23) + 24 of 9 * 24 places are filled, 0.85.
        # Of 20 pairs that are sorted together, each batch of 5 has but two or
        # three kinds, which are next to each other.
        kinds = [(10, 10)]
        for letters in (3, 5, 7, 9):
            kinds += [(10, letters), (letters, 10)]
        corpus = make_corpus(tmp_path, 8 * kinds)
        options = dataclasses.replace(OPTIONS, static_shapes=False)
        filled = []
        for batch in take(training_batches(corpus, TOKENIZER, options), 48):
            assert batch["source"].shape[0] == 5
            ids = np.concatenate([batch["source"], batch["target_out"]], 1)
            filled.append(np.mean(ids != 0))
        assert np.mean(filled) > 0.92

    def test_batches_of_one_length_do_not_follow_each_other(self, tmp_path):
        # Pairs of 8, 12 and 15 ids, in batches of 8, 5 and 4: of each length
        # there are 1/8, 1/5 and 1/4 as many batches as pairs, or 22, 35 and
        # 43 %. At random 0.22^2 + 0.35^2 + 0.43^2 = 36 % follow one of their
        # own length; of four that are sorted together 3, and 36 % of the last.
        corpus = make_corpus(tmp_path, 8 * [(6, 6), (10, 10), (13, 13)])
        options = dataclasses.replace(OPTIONS, static_shapes=False)
        batches = take(training_batches(corpus, TOKENIZER, options), 80)
        lengths = [batch["source"].shape[1] for batch in batches]
        assert set(lengths) == {8, 12, 15}
        assert np.equal(lengths[1:], lengths[:-1]).mean() < 0.6

    def test_epochs_hold_every_pair_equally_often(self, corpus):
        # Ten epochs of 90 pairs. Fewer than 8 + 5 + 4 pairs wait at the end,
        # none of them ten times.
        dataset = training_batches(corpus, TOKENIZER, OPTIONS)
        counts = collections.Counter(first_rows(dataset, 900))
        assert set(counts) == set(corpus.pairs())
        assert min(counts.values()) >= 8
        assert max(counts.values()) <= 12

    def test_each_epoch_has_an_order_of_its_own(self, tmp_path):
        # All of one length: batches are epochs cut in four.
        corpus = make_corpus(tmp_path, [(4, 4)] * 32)
        stream = first_rows(training_batches(corpus, TOKENIZER, OPTIONS), 96)
        epochs = [stream[start : start + 32] for start in (0, 32, 64)]
        for epoch in epochs:
            assert sorted(epoch) == sorted(corpus.pairs())
        assert epochs[0] != epochs[1] != epochs[2] != epochs[0]

    def test_the_seed_decides_the_order(self, corpus):
        def stream(seed):
            options = dataclasses.replace(OPTIONS, shuffle_seed=seed)
            return first_rows(training_batches(corpus, TOKENIZER, options), 200)

        assert stream(1) == stream(1) != stream(2)

    def test_iterating_again_begins_another_epoch(self, corpus):
        dataset = training_batches(corpus, TOKENIZER, OPTIONS)
        assert first_rows(dataset, 90) != first_rows(dataset, 90)

    def test_the_shuffle_buffer_bounds_the_memory(self, tmp_path):
        corpus = make_corpus(tmp_path, [(4, 4)] * 320)
        options = dataclasses.replace(OPTIONS, shuffle_buffer=8)
        stream = first_rows(training_batches(corpus, TOKENIZER, options), 96)
        # A pair can come only once it is among the 8 that are read ahead.
        place = {pair: index for index, pair in enumerate(corpus.pairs())}
        assert all(place[pair] < i + 8 for i, pair in enumerate(stream))

    def test_empty_and_long_pairs_are_left_out(self, tmp_path):
        # 14 letters are 16 ids, the most; 15 are too long.
        corpus = make_corpus(
            tmp_path, [(14, 3), (0, 3), (3, 0), (15, 3), (3, 15), (3, 14)]
        )
        pairs = list(corpus.pairs())
        dataset = training_batches(corpus, TOKENIZER, OPTIONS)
        assert set(first_rows(dataset, 40)) == {pairs[0], pairs[5]}

    def test_blank_sides_are_left_out(self, tmp_path):
        path = tmp_path / "x.tsv"
        lines = ["a\tb", "\u00a0\tb", "a\t\u3000\u200b", "\ufeff\t\u2028"]
        path.write_text("\n".join(lines), encoding="utf-8")
        dataset = training_batches(TsvCorpus(path), TOKENIZER, OPTIONS)
        assert set(first_rows(dataset, 20)) == {("a", "b")}

    def test_nothing_to_train_on_is_an_error(self, tmp_path):
        corpus = make_corpus(tmp_path, [(0, 3), (15, 3)])
        with pytest.raises(CorpusError, match="no pair.*max_length=16"):
            training_batches(corpus, TOKENIZER, OPTIONS)

    def test_more_pairs_than_are_tokenized_at_once(self, tmp_path):
        corpus = make_corpus(tmp_path, [(4, 4)] * 600)
        stream = first_rows(training_batches(corpus, TOKENIZER, OPTIONS), 600)
        assert sorted(stream) == sorted(corpus.pairs())

    @pytest.mark.parametrize("source, target", [(0, 0.3), (0.3, 0), (0, 0)])
    def test_each_side_has_its_own_sampling(self, tmp_path, source, target):
        options = PipelineOptions(
            tokens_per_batch=400, source_sampling=source, target_sampling=target
        )
        batches = take(training_batches(*trees(tmp_path), options), 3)
        for name, rate in (("source", source), ("target_out", target)):
            segmentations = {
                tuple(row[row != 0])
                for batch in batches
                for row in batch[name].numpy()
            }
            assert (len(segmentations) > 1) == bool(rate)

    @pytest.mark.parametrize("sampling", [0.0, 0.3])
    def test_an_iterator_can_be_checkpointed(self, tmp_path, sampling):
        corpus, tokenizer = trees(tmp_path, repeats=90)
        options = dataclasses.replace(
            OPTIONS, max_length=40, source_sampling=sampling
        )
        iterator = iter(training_batches(corpus, tokenizer, options))
        take(iterator, 5)
        checkpoint = tf.train.Checkpoint(iterator=iterator)
        path = checkpoint.write(str(tmp_path / "iterator"))
        expected = [ids(batch) for batch in take(iterator, 200)]
        checkpoint.read(path)
        assert [ids(batch) for batch in take(iterator, 200)] == expected
        # Another process would build it anew, too.
        anew = iter(training_batches(corpus, tokenizer, options))
        tf.train.Checkpoint(iterator=anew).read(path)
        assert [ids(batch) for batch in take(anew, 200)] == expected

    @pytest.mark.parametrize("ending", ["", ".gz"])
    def test_it_goes_on_after_the_corpus_has_moved(
        self, corpus, tmp_path, ending
    ):
        for folder in (tmp_path / "here", tmp_path / "there"):
            folder.mkdir()
            with (gzip.open if ending else open)(
                folder / f"pairs.tsv{ending}", "wt", encoding="utf-8"
            ) as file:
                file.writelines("\t".join(p) + "\n" for p in corpus.pairs())
        options = dataclasses.replace(OPTIONS, shuffle_buffer=9)

        def batches(name):
            moved = TsvCorpus(tmp_path / name / f"pairs.tsv{ending}")
            return iter(training_batches(moved, TOKENIZER, options))

        iterator = batches("here")
        take(iterator, 7)
        path = tf.train.Checkpoint(i=iterator).write(str(tmp_path / "place"))
        expected = [ids(batch) for batch in take(iterator, 40)]
        shutil.rmtree(tmp_path / "here")
        iterator = batches("there")
        tf.train.Checkpoint(i=iterator).read(path)
        assert [ids(batch) for batch in take(iterator, 40)] == expected


class TestEvaluationBatches:
    def evaluate(self, corpus, **options):
        options = dataclasses.replace(OPTIONS, **options)
        return list(evaluation_batches(corpus, TOKENIZER, options))

    @pytest.mark.parametrize("static_shapes", [True, False])
    def test_every_pair_once_and_where_it_belongs(self, corpus, static_shapes):
        pairs = list(corpus.pairs())
        seen = []
        for batch in self.evaluate(corpus, static_shapes=static_shapes):
            index = batch["index"].numpy()
            for place, row in zip(index, rows(batch), strict=True):
                assert place == -1 or row == pairs[place]
            seen.extend(index[index >= 0])
        assert sorted(seen) == list(range(90))

    def test_empty_and_long_pairs_are_kept(self, tmp_path):
        corpus = make_corpus(tmp_path, [(0, 3), (300, 4), (3, 0), (0, 0)])
        pairs = list(corpus.pairs())
        seen = {}
        for batch in self.evaluate(corpus, static_shapes=False):
            check_layout(batch)
            places = batch["index"].numpy().tolist()
            seen |= dict(zip(places, rows(batch), strict=True))
        assert [seen[place] for place in range(4)] == pairs

    def test_full_batches_have_the_shapes_of_training(self, corpus):
        shapes = set(batch_shapes(OPTIONS))
        for batch in self.evaluate(corpus):
            assert tuple(batch["source"].shape) in shapes
            assert batch["target_out"].shape == batch["source"].shape

    def test_missing_rows_are_padding(self, tmp_path):
        # Three pairs of 6 ids in a batch of eight.
        corpus = make_corpus(tmp_path, [(4, 4)] * 3)
        (batch,) = self.evaluate(corpus)
        assert batch["index"].numpy().tolist() == [0, 1, 2, *[-1] * 5]
        for name in ("source", "target_in", "target_out"):
            assert batch[name].shape == (8, 8)
            assert (batch[name].numpy()[3:] == 0).all()

    def test_without_static_shapes_nothing_is_added(self, tmp_path):
        corpus = make_corpus(tmp_path, [(4, 5)] * 3)
        (batch,) = self.evaluate(corpus, static_shapes=False)
        assert batch["source"].shape == (3, 6)
        assert batch["target_in"].shape == (3, 7)
        assert batch["index"].numpy().tolist() == [0, 1, 2]

    def test_the_order_is_the_same_each_time(self, corpus):
        first, second = (
            [rows(batch) for batch in self.evaluate(corpus)] for _ in range(2)
        )
        assert first == second

    def test_subwords_are_never_sampled(self, corpus):
        first, second = (
            self.evaluate(corpus, source_sampling=rate, target_sampling=rate)
            for rate in (0.0, 0.9)
        )
        for one, other in zip(first, second, strict=True):
            assert ids(one) == ids(other)


def test_pairs_with_too_many_subwords_are_counted(corpus):
    options = dataclasses.replace(OPTIONS, max_length=12)
    longer = [max(3 + i % 10, 3 + i * 7 % 9) + 2 for i in range(90)]
    expected = [length > 12 for length in longer]
    assert 0 < sum(expected) < 90
    found = count_too_long(corpus, TOKENIZER, options)
    assert found == (sum(expected), 90)
    found = count_too_long(corpus, TOKENIZER, options, first=20)
    assert found == (sum(expected[:20]), 20)
