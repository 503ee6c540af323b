"""The vocabulary of words: there and back, in Python and in the graph."""

import pytest
import tensorflow as tf

from language_model.words import WordVocabulary, count_words

LINES = ["the cat saw the dog", "the dog", "a cat"]
VOCABULARY = count_words(LINES, vocab_size=8)


def test_most_frequent_words_have_the_lowest_ids():
    # the 3, cat 2, dog 2, then a and saw once: a comes first.
    assert VOCABULARY.counts == {"the": 3, "cat": 2, "dog": 2, "a": 1}
    assert VOCABULARY.encode(["the a saw"]) == [[4, 7, 3]]
    assert VOCABULARY.counts_by_id == [0, 0, 0, 0, 3, 2, 2, 1]


def test_graph_gives_what_python_gives():
    ids = VOCABULARY.encode(LINES)
    assert VOCABULARY.tokenize(tf.constant(LINES)).to_list() == ids
    padded = tf.ragged.constant([[*row, 2, 5] for row in ids]).to_tensor()
    texts = [text.decode() for text in VOCABULARY.detokenize(padded).numpy()]
    assert texts == VOCABULARY.decode(padded.numpy())
    assert texts[0] == "the cat <unk> the dog"


def test_words_beyond_the_vocabulary_have_no_text():
    assert VOCABULARY.pieces_of(tf.constant([4, 8, -1])).numpy().tolist() == [
        b"the",
        b"",
        b"",
    ]


def test_saved_file_gives_the_same_vocabulary(tmp_path):
    VOCABULARY.save(tmp_path / "words.tsv")
    loaded = WordVocabulary.load(tmp_path / "words.tsv")
    assert loaded.counts == VOCABULARY.counts
    assert loaded.sha256 == VOCABULARY.sha256


def test_file_of_counts_in_any_order_with_spaces_is_read(tmp_path):
    (tmp_path / "counts").write_text("b 2\na 7\n<unk> 90\n")
    assert WordVocabulary.load(tmp_path / "counts").counts == {"a": 7, "b": 2}


def test_line_without_a_count_is_named(tmp_path):
    (tmp_path / "counts").write_text("b 2\nalone\n")
    with pytest.raises(ValueError, match="line 2"):
        WordVocabulary.load(tmp_path / "counts")


def test_rare_words_are_left_out():
    assert count_words(LINES, 99, at_least=2).counts == {
        "the": 3,
        "cat": 2,
        "dog": 2,
    }


def test_vocabulary_goes_into_a_saved_model(tmp_path):
    class Served(tf.Module):
        def __init__(self):
            super().__init__()
            self.vocabulary = VOCABULARY

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def there_and_back(self, texts):
            ids = self.vocabulary.tokenize(texts).to_tensor()
            return self.vocabulary.detokenize(ids)

    tf.saved_model.save(Served(), str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    back = loaded.there_and_back(tf.constant(["the cat", "a owl"]))
    assert back.numpy().tolist() == [b"the cat", b"a <unk>"]


@pytest.mark.parametrize("counts", [{}, {"two words": 1}, {"<unk>": 3}])
def test_words_that_are_none_are_refused(counts):
    with pytest.raises(ValueError, match="`counts`"):
        WordVocabulary(counts)
