"""Filtered and mixed corpora: what training reads of them."""

import collections
import itertools
import tracemalloc

import pytest
import tensorflow as tf

from translation.text.corpora.base import CorpusSize
from translation.text.corpora.corpus import CorpusError, open_corpus
from translation.text.corpora.pair_filters import FilterOptions

ALL_RULES = FilterOptions(
    max_characters=20,
    max_ratio=3,
    drop_identical=True,
    min_script_share=0.5,
    drop_duplicates=True,
)


def write(folder, name, pairs):
    path = folder / f"{name}.tsv"
    path.write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
    return str(path)


def numbered(name, count):
    return [(f"{name} {i:04d}", f"le {name} {i:04d}") for i in range(count)]


def from_graph(dataset):
    return [
        tuple(side.decode() for side in pair)
        for pair in dataset.as_numpy_iterator()
    ]


class TestFilteredCorpus:
    def test_python_and_graph_have_what_is_kept(self, tmp_path):
        # Chunks of 4,096; of the second nothing is left.
        pairs = numbered("a", 90) + [("", "x")] * 8_200 + numbered("b", 10)
        spec = write(tmp_path, "train", pairs + pairs[:7])
        corpus = open_corpus(spec, "en-fr", filters=ALL_RULES)
        kept = numbered("a", 90) + numbered("b", 10)
        assert corpus.check() == CorpusSize(100, 0)
        assert list(corpus.pairs()) == from_graph(corpus.dataset()) == kept
        (report,) = corpus.reports()
        assert report.dropped == {
            "an empty side": 8_200,
            "a pair seen before": 7,
        }

    def test_without_rules_nothing_is_read_twice(self, tmp_path):
        spec = write(tmp_path, "train", numbered("a", 3))
        corpus = open_corpus(spec, "en-fr", filters=FilterOptions())
        assert corpus.reports() == []

    def test_a_duplicate_of_an_earlier_corpus_goes(self, tmp_path):
        one = write(tmp_path, "one", numbered("a", 5))
        two = write(tmp_path, "two", numbered("a", 8))
        corpus = open_corpus(
            f"{one},{two}", "en-fr", filters=FilterOptions(drop_duplicates=True)
        )
        assert corpus.check() == CorpusSize(8, 0)
        assert [report.kept for report in corpus.reports()] == [5, 3]

    def test_nothing_left_is_an_error(self, tmp_path):
        spec = write(tmp_path, "train", [("same", "same"), ("", "x")])
        corpus = open_corpus(spec, "en-fr", filters=ALL_RULES)
        with pytest.raises(CorpusError) as error:
            corpus.check()
        assert str(error.value) == (
            f"The filters leave nothing of {spec}: of 2 pairs they drop "
            "1 an empty side, 1 two sides alike."
        )

    def test_faults_of_the_corpus_are_told(self, tmp_path):
        for content, message in (
            ("a\n", "line 1: there must"),
            ("", "no lines"),
        ):
            (tmp_path / "x.tsv").write_text(content)
            corpus = open_corpus(
                str(tmp_path / "x.tsv"), "en-fr", filters=ALL_RULES
            )
            with pytest.raises(CorpusError, match=message):
                corpus.check()

    def test_memory_is_a_byte_a_pair_and_a_chunk(self, tmp_path):
        spec = write(tmp_path, "train", numbered("a", 10_000) * 4)
        corpus = open_corpus(spec, "en-fr", filters=ALL_RULES)
        tracemalloc.start()
        assert corpus.check().pairs == 10_000
        now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert now < 40_000 + 200_000  # caches
        assert peak < 2_500_000  # of one chunk, whatever the corpus


class TestMixedCorpus:
    @pytest.fixture
    def spec(self, tmp_path):
        big = write(tmp_path, "big", numbered("big", 700))
        small = write(tmp_path, "small", numbered("small", 20))
        return f"{big}@3, {small}@1"

    def stream(self, corpus, count, seed=1):
        dataset = corpus.training_dataset(100, seed).take(count)
        return [source for source, _ in from_graph(dataset)]

    def test_weights_are_shares_of_the_pairs(self, spec):
        corpus = open_corpus(spec, "en-fr")
        names = [s.split()[0] for s in self.stream(corpus, 4_000)]
        # Four standard deviations: 4 sqrt(3/16 / 4,000) = 0.027.
        assert abs(names.count("big") / 4_000 - 0.75) < 0.027

    def test_each_corpus_has_epochs_of_its_own(self, spec):
        stream = self.stream(open_corpus(spec, "en-fr"), 1_000)
        small = [s for s in stream if s.startswith("small")]
        epochs = [small[i : i + 20] for i in range(0, 200, 20)]
        assert {tuple(sorted(epoch)) for epoch in epochs} == {
            tuple(sorted(epochs[0]))
        }
        assert len(set(map(tuple, epochs))) == 10

    def test_the_seed_decides_and_an_iterator_resumes(self, spec, tmp_path):
        filters = FilterOptions(drop_duplicates=True)
        corpus = open_corpus(spec, "en-fr", filters=filters)
        first, again, other = (
            self.stream(corpus, 300, seed) for seed in (1, 1, 2)
        )
        assert first == again != other
        iterator = iter(corpus.training_dataset(100, 1))
        list(itertools.islice(iterator, 150))
        path = tf.train.Checkpoint(iterator=iterator).write(
            str(tmp_path / "state")
        )
        # As another process would, from the files.
        corpus = open_corpus(spec, "en-fr", filters=filters)
        anew = iter(corpus.training_dataset(100, 1))
        tf.train.Checkpoint(iterator=anew).read(path)
        rest = [s.numpy().decode() for s, _ in itertools.islice(anew, 150)]
        assert rest == first[150:]

    def test_a_vocabulary_is_learned_from_shares(self, spec):
        corpus = open_corpus(spec, "en-fr")
        counts = collections.Counter(
            s.removeprefix("le ").split()[0] for s in corpus.sample(100, seed=0)
        )
        # A quarter of 100 sentences; there are 40.
        assert counts == {"big": 75, "small": 25}
        assert len(set(corpus.sample(4_000, seed=0))) == 1_440

    def test_otherwise_each_pair_comes_once(self, spec):
        corpus = open_corpus(spec, "en-fr")
        assert corpus.check() == CorpusSize(720, 0)
        assert len(set(corpus.pairs())) == len(from_graph(corpus.dataset()))

    @pytest.mark.parametrize(
        "spec, split, message",
        [
            ("phrasebook@2,phrasebook", "train", "every corpus a weight"),
            ("phrasebook@2,phrasebook@0", "train", "every corpus a weight"),
            ("phrasebook@2", "dev", "weights such as @2 are for training"),
        ],
    )
    def test_weights_that_make_no_sense(self, spec, split, message):
        with pytest.raises(CorpusError, match=f"(?i){message}.*{spec}"):
            open_corpus(spec, "en-fr", split)
