"""Datasets of tensorflow-datasets, made up or prepared on the disk."""

import itertools
import sys

import pytest
import tensorflow as tf

from translation.text.corpora.corpus import CorpusError, open_corpus
from translation.text.input_pipeline import PipelineOptions, training_batches
from translation.text.tokenizer.training import train_tokenizer

tfds = pytest.importorskip("tensorflow_datasets")

PAIRS = [(f"sentence {i}", f"Satz {i} ä") for i in range(40)]


class TinyTranslate(tfds.core.GeneratorBasedBuilder):
    """A dataset like those of WMT, without a download."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.Translation(languages=["de", "en"])
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        return {"train": self._rows(PAIRS), "test": self._rows(PAIRS[:4])}

    def _rows(self, pairs):
        for number, (english, german) in enumerate(pairs):
            yield number, {"en": english, "de": german}

    def _generate_examples(self):
        raise NotImplementedError


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Where the tiny dataset is."""
    folder = tmp_path_factory.mktemp("tfds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "tensorflow_datasets.core.constants.DATA_DIR", str(folder)
        )
        yield folder


def from_graph(corpus):
    return [
        tuple(side.decode() for side in pair)
        for pair in corpus.dataset().as_numpy_iterator()
    ]


class TestWmt:
    @pytest.mark.parametrize(
        "config, pair", [("fr-en", "en-fr"), ("de-en", "en-de")]
    )
    def test_wmt14_is_read_in_either_direction(self, config, pair):
        with tfds.testing.mock_data(num_examples=5):
            spec = f"tfds:wmt14_translate/{config}"
            corpus = open_corpus(f"{spec}:train", pair)
            there = list(corpus.pairs())
            assert len(there) == 5 and from_graph(corpus) == there
            assert corpus.check().pairs == 5
            back = "-".join(reversed(pair.split("-")))
            other = open_corpus(spec, back)
            assert [(b, a) for a, b in other.pairs()] == there

    def test_vocabulary_and_batches_are_made_of_wmt14(self):
        with tfds.testing.mock_data(num_examples=30):
            corpus = open_corpus("tfds:wmt14_translate/de-en:train", "en-de")
            tokenizer = train_tokenizer(corpus.sentences(), 320)
            options = PipelineOptions(tokens_per_batch=128)
            batches = iter(training_batches(corpus, tokenizer, options))
            batch = next(batches)
            pairs = set(corpus.pairs())
        sources, targets = (
            tokenizer.decode(batch[name].numpy().tolist())
            for name in ("source", "target_out")
        )
        assert len(sources) > 1
        assert set(zip(sources, targets, strict=True)) <= pairs


@pytest.mark.usefixtures("prepared")
class TestPreparedDataset:
    def test_is_prepared_and_read(self, prepared):
        corpus = open_corpus("tfds:tiny_translate:train", "en-de")
        assert (prepared / "tiny_translate" / "1.0.0").is_dir()
        assert sorted(corpus.pairs()) == sorted(PAIRS)
        assert list(corpus.pairs()) == from_graph(corpus)

    @pytest.mark.parametrize(
        "spec, split, count",
        [
            ("tfds:tiny_translate", "train", 40),
            ("tfds:tiny_translate", "test", 4),
            ("tfds:tiny_translate:train[:25%]", "dev", 10),
            ("tfds:tiny_translate:1.0.0:train+test", "train", 44),
        ],
    )
    def test_splits(self, spec, split, count):
        corpus = open_corpus(spec, "de-en", split)
        assert corpus.check().pairs == len(from_graph(corpus)) == count

    def test_iterator_resumes(self, tmp_path):
        def stream():
            spec = "tfds:tiny_translate@1,phrasebook:50@1"
            corpus = open_corpus(spec, "en-de")
            return iter(corpus.training_dataset(20, seed=0).batch(7))

        def take(iterator, count):
            batches = itertools.islice(iterator, count)
            return [batch[0].numpy().tolist() for batch in batches]

        iterator, anew = stream(), stream()
        take(iterator, 5)
        state = str(tmp_path / "state")
        path = tf.train.Checkpoint(iterator=iterator).write(state)
        expected = take(iterator, 20)
        tf.train.Checkpoint(iterator=anew).read(path)
        assert take(anew, 20) == expected

    @pytest.mark.parametrize(
        "spec, pair, message",
        [
            ("tfds:tiny_translate", "en-fr", "no en-fr sent.*has de, en"),
            ("tfds:tiny_translate:dev", "en-de", "'dev'; there are test, tr"),
            ("tfds:tiny_translate", "en-de", "'validation'; there are test"),
            ("tfds:no_such_thing", "en-de", "no such dataset: .*no_such_thing"),
            ("tfds:wmt14_translate/xx-yy", "en-de", "no such dataset: .*xx-yy"),
            ("tfds:", "en-de", "A dataset is tfds:NAME/CONFIG or"),
            ("tfds:a:b:c:", "en-de", "no such dataset|A dataset is"),
        ],
    )
    def test_errors_are_one_line(self, spec, pair, message):
        with pytest.raises(CorpusError, match=message) as error:
            open_corpus(spec, pair, "dev")
        assert "\n" not in str(error.value)

    def test_what_cannot_be_prepared(self, monkeypatch, tmp_path):
        def fail(*_, **__):
            raise OSError("no space left\non the disk")

        monkeypatch.setattr(
            tfds.core.DatasetBuilder, "download_and_prepare", fail
        )
        with pytest.raises(CorpusError, match="prepared: no space left$"):
            open_corpus("tfds:tiny_translate", "en-de")

    def test_without_the_library(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
        with pytest.raises(
            CorpusError, match=r"pip install 'moe-keras\[wmt\]'"
        ):
            open_corpus("tfds:tiny_translate", "en-de")
