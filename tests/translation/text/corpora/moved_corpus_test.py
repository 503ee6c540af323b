"""A corpus is known by what it holds, wherever it lies."""

import gzip

import pytest
import tensorflow as tf

from translation.text.corpora.corpus import open_corpus
from translation.text.corpora.pair_filters import FilterOptions
from translation.text.input_pipeline import untuned

PAIRS = [(f"word {n}", f"mot {n % 7}") for n in range(50)]


def write(folder, pairs=PAIRS, ending=""):
    folder.mkdir(exist_ok=True)
    opened = gzip.open if ending else open
    for column, language in enumerate(("en", "fr")):
        with opened(folder / f"train.{language}{ending}", "wt") as file:
            file.writelines(f"{pair[column]}\n" for pair in pairs)
    return str(folder / "train")


def shuffled(prefix):
    corpus = open_corpus(prefix, "en-fr")
    return iter(untuned(corpus.training_dataset(8, seed=1)).batch(3))


def rest(batches):
    return [next(batches)[0].numpy().tolist() for _ in range(30)]


def assert_goes_on_elsewhere(batches, folder):
    """Saved in `here`, the place is found again when all is in `there`."""
    next(batches)
    state = tf.train.Checkpoint(batches=batches)
    saved = state.write(str(folder / "state"))
    expected = rest(batches)
    (folder / "here").rename(folder / "there")
    moved = shuffled(str(folder / "there/train"))
    tf.train.Checkpoint(batches=moved).read(saved).assert_consumed()
    assert rest(moved) == expected  # one epoch and most of a second


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_place_in_the_data_outlives_a_move(tmp_path, ending):
    batches = shuffled(write(tmp_path / "here", ending=ending))
    assert_goes_on_elsewhere(batches, tmp_path)


def test_state_with_a_path_in_it_is_read_as_well(tmp_path):
    # As TensorFlow's own dataset saves it, and earlier versions did.
    write(tmp_path / "here")
    files = (tmp_path / f"here/train.{code}" for code in ("en", "fr"))
    lines = tf.data.Dataset.zip(
        *(tf.data.TextLineDataset(str(file)) for file in files)
    )
    batches = iter(untuned(lines.shuffle(8, seed=1).repeat()).batch(3))
    assert_goes_on_elsewhere(batches, tmp_path)


def test_digest_tells_other_pairs_and_another_order(tmp_path):
    pairs = [("a", "b c"), ("d", "e")]
    others = [
        [("a b", "c"), ("d", "e")],
        [("d", "e"), ("a", "b c")],
        [("a", "b c")],
    ]
    digests = {
        open_corpus(write(tmp_path / str(n), some), "en-fr").digest()
        for n, some in enumerate([pairs, pairs, *others])
    }
    assert len(digests) == 1 + len(others)


def test_contents_worked_by_hand(tmp_path):
    one = write(tmp_path / "one", [("ab ", "c"), ("", "de"), ("f", "f")])
    two = write(tmp_path / "two", [("é", "gh")])
    size = {"pairs": 3, "empty": 1, "characters": 3 + 2 + 2}
    last = {"pairs": 1, "empty": 0, "characters": 3}
    assert open_corpus(one, "en-fr").contents() == [size]
    joined = open_corpus(f"{one},{two}", "en-fr")
    assert joined.contents() == [size, last] and joined.weights is None
    mixed = open_corpus(f"{one}@3,{two}@1", "en-fr")
    assert mixed.contents() == [size, last] and mixed.weights == [0.75, 0.25]
    filtered = open_corpus(
        one, "en-fr", filters=FilterOptions(drop_identical=True)
    )
    kept = {"pairs": 1, "empty": 0, "characters": 3}
    assert filtered.contents() == [kept]
