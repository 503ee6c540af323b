"""A vocabulary of words: text to ids and back, in Python and in the graph.

Words are what stands between ASCII white space, in Python as in the graph. It
is the vocabulary of the paper's language models, 793,471 words of the
1-billion-word benchmark. Words beyond it are `<unk>`, and so is a word of the
text that looks like a special mark, as `</s>`.
"""

import collections
import hashlib
import pathlib
import re

import tensorflow as tf

from translation.text.special_ids import BOS_ID, EOS_ID, PAD_ID, UNK_ID

_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
_WORD = re.compile(r"[^ \t\n\v\f\r]+")  # as `tf.strings.split` has it


def split_words(text):
    """The words of a str.

    >>> split_words(" l'eau\\u00a0! ")
    ["l'eau\\xa0!"]
    """
    return _WORD.findall(text)


class WordVocabulary(tf.Module):
    """Turns text into ids of words and back, with the methods of `Tokenizer`.

    Ids follow the counts: 4 is the most frequent word. As an attribute of an
    exported module it takes its words with it into the SavedModel.

    Args:
        counts: dict of how often each word stands in the training text, in
            the order of the ids, or in any: words are sorted by falling
            counts, and those of one count by their characters.

    Example:

    >>> vocabulary = WordVocabulary({"the": 5, "cat": 2})
    >>> vocabulary.encode(["the cat", "the dog"])
    [[4, 5], [4, 3]]
    >>> vocabulary.decode([[4, 5, 2], [4, 3, 2]])
    ['the cat', 'the <unk>']
    """

    pad_id = PAD_ID
    bos_id = BOS_ID
    eos_id = EOS_ID
    unk_id = UNK_ID

    def __init__(self, counts):
        super().__init__(name="word_vocabulary")
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        wrong = [word for word, _ in ordered if word in _SPECIAL or not word]
        wrong += [word for word, _ in ordered if split_words(word) != [word]]
        if wrong or not ordered:
            raise ValueError(
                "`counts` must be of words without spaces, not of "
                f"{', '.join(_SPECIAL)}. Received: {wrong[:5] or 'no words'}"
            )
        self._counts = dict(ordered)
        self._words = [*_SPECIAL, *self._counts]
        self.vocab_size = len(self._words)
        first = len(_SPECIAL)
        self._ids = {word: n for n, word in enumerate(self._counts, first)}
        words = tf.constant(self._words)
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                words[first:], tf.range(first, self.vocab_size)
            ),
            default_value=UNK_ID,
        )
        self._word_of_id = tf.Variable(words, trainable=False)

    @property
    def counts(self):
        """dict of how often each word stands in the training text."""
        return dict(self._counts)

    @property
    def sha256(self):
        """SHA-256 of words and counts: str of 64 hexadecimal digits."""
        return hashlib.sha256(self._as_text().encode()).hexdigest()

    @property
    def counts_by_id(self):
        """List of int, 0 for the special ids: for `SampledSoftmax`."""
        return [0] * len(_SPECIAL) + [*self._counts.values()]

    def encode(self, sentences):
        """Ids of each sentence, without bos and eos, in plain Python."""
        find = self._ids.get
        return [
            [find(word, UNK_ID) for word in split_words(sentence)]
            for sentence in sentences
        ]

    def decode(self, ids):
        """Text of each row of ids, up to its first eos."""
        texts = []
        for row in ids:
            row = [int(index) for index in row]
            if EOS_ID in row:
                row = row[: row.index(EOS_ID)]
            texts.append(
                " ".join(self._words[n] for n in row if self._is_text(n))
            )
        return texts

    def _is_text(self, index):
        return UNK_ID <= index < self.vocab_size

    def pieces(self, ids):
        """The words of a list of ids."""
        return [self._words[int(index)] for index in ids]

    def tokenize(self, strings):
        """Ids of each string in the graph: `RaggedTensor (B, None)`, int32."""
        words = tf.strings.split(strings)
        return words.with_values(self._table.lookup(words.values))

    def pieces_of(self, ids):
        """The words of a tensor of ids, `""` beyond the vocabulary."""
        is_known = (ids >= 0) & (ids < self.vocab_size)
        words = tf.gather(self._word_of_id, tf.where(is_known, ids, 0))
        return tf.where(is_known, words, "")

    def detokenize(self, ids):
        """Text of each row of padded ids `(B, L)`, in the graph."""
        ids = tf.convert_to_tensor(ids, tf.int32)
        ended = tf.cumsum(tf.cast(tf.equal(ids, EOS_ID), tf.int32), axis=1)
        is_text = (ended == 0) & (ids >= UNK_ID) & (ids < self.vocab_size)
        words = tf.ragged.boolean_mask(self.pieces_of(ids), is_text)
        return tf.strings.reduce_join(words, axis=1, separator=" ")

    def save(self, path):
        """Writes a file of counts, a word and its count in each line."""
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._as_text(), encoding="utf-8")

    @classmethod
    def load(cls, path):
        """Reads what `save` wrote, or any file of words and counts.

        Raises:
            ValueError: naming the line that is no word and count.
        """
        counts = {}
        text = pathlib.Path(path).read_text(encoding="utf-8")
        for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
            line = line.strip(" \t\r")  # other white space may be a word's
            word, _, count = line.rpartition("\t")
            if not word:
                word, _, count = line.rpartition(" ")
            if not word or not count.isdecimal():
                raise ValueError(
                    f"{path}, line {number}: there must be a word and its "
                    f"count with a tab between. Received: {line!r}"
                )
            if word not in _SPECIAL:
                counts[word] = int(count)
        return cls(counts)

    def _as_text(self):
        return "".join(f"{word}\t{n}\n" for word, n in self._counts.items())


def count_words(lines, vocab_size, at_least=1):
    """Learns a vocabulary of the most frequent words.

    Args:
        lines: Iterable of str.
        vocab_size: int. Ids, the four special ones counted.
        at_least: int. Words that stand less often are left out.

    Returns:
        `WordVocabulary`.

    Raises:
        ValueError: if no word is left.

    Example:

    >>> count_words(["a b a", "a c"], vocab_size=6).counts
    {'a': 3, 'b': 1}
    """
    counts = collections.Counter()
    for line in lines:
        counts.update(split_words(line))
    for word in _SPECIAL:
        counts.pop(word, None)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept = ordered[: max(vocab_size - len(_SPECIAL), 0)]
    return WordVocabulary({word: n for word, n in kept if n >= at_least})
