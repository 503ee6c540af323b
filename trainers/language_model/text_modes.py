"""Runs a trained language model on lines.

`--mode=score` writes for each line, with tabs between:

    -12.3456 TAB subwords TAB log probability of each

Each line is read alone; the end mark is the last subword. With --rerank=W the
lines are n-best lists, as `trainers.nmt --n_best` writes them; of each list
the lines come out with W times the log probability added to their scores, the
best first:

    0 ||| translation ||| -1.25

`--mode=generate` writes each line with a continuation. With --samples=N it
writes N continuations as `LINE ||| TEXT`, with LINE from 0.

Log probabilities are natural ones.
"""

import dataclasses
import itertools

from language_model.generate import TextGenerator
from trainers.language_model.evaluation import LineLikelihoods
from trainers.language_model.folder import LmFolder
from translation.text.special_ids import EOS_ID
from translation.text.text_files import CorpusError

_SEPARATOR = " ||| "


class LineScorer:
    """Scores groups of lines.

    Args:
        model_dir: str or path of a folder with a trained model.

    Example, of a model that has yet to be trained:

    >>> import tempfile
    >>> from language_model.words import count_words
    >>> from trainers.engine.config.presets import preset_named
    >>> from trainers.language_model.folder import build_model
    >>> from trainers.language_model.presets import PRESETS
    >>> words = count_words(["a dog sleeps"], 20)
    >>> sizes = ["vocab_size=7", "depth=8", "lstm_units=8", "num_experts=4"]
    >>> sizes += ["vocabulary_kind=words"]
    >>> config = preset_named(PRESETS, "small", sizes)
    >>> folder = LmFolder(tempfile.mkdtemp())
    >>> folder.save_model(config, build_model(config), words)
    >>> [line] = LineScorer(folder.path)(["a cat"])
    >>> line.split("\\t")[1]
    'a <unk> </s>'
    """

    def __init__(self, model_dir):
        folder = LmFolder(model_dir)
        config = folder.load_config()
        model, self._vocabulary = folder.load_model(config)
        self._measure = LineLikelihoods(
            model, self._vocabulary, config.batches, goes_on=False
        )

    def __call__(self, lines):
        """A line for each line of a list of str."""
        return [
            "\t".join(
                (
                    f"{-nll.sum():.4f}",
                    " ".join(self._vocabulary.pieces([*ids, EOS_ID])),
                    " ".join(f"{-x:.4f}" for x in nll),
                )
            )
            for ids, nll in zip(
                self._vocabulary.encode(lines),
                self._measure(lines),
                strict=True,
            )
        ]

    def log_probs(self, lines):
        """Log probability of each of a list of str: list of float."""
        return [-float(nll.sum()) for nll in self._measure(lines)]


class Reranker:
    """Adds a language model's log probabilities to scores of n-best lists.

    Args:
        scorer: `LineScorer`.
        weight: float. Of the log probability, beside the score.
    """

    def __init__(self, scorer, weight):
        self._scorer = scorer
        self._weight = weight

    def __call__(self, lists):
        """Lines of n-best lists, each list with its best line first.

        Args:
            lists: List of n-best lists, as `n_best_lists` makes them.

        Returns:
            List of str.
        """
        rows = [row for one in lists for row in one]
        log_probs = self._scorer.log_probs([row.text for row in rows])
        scored = [
            dataclasses.replace(row, score=row.score + self._weight * log_prob)
            for row, log_prob in zip(rows, log_probs, strict=True)
        ]
        return [
            str(row)
            for _, one in itertools.groupby(scored, lambda row: row.number)
            for row in sorted(one, key=lambda row: -row.score)
        ]


@dataclasses.dataclass(frozen=True)
class NBestLine:
    """A line of an n-best list.

    Example:

    >>> str(NBestLine.read("3 ||| un chat ||| -1.5", 1))
    '3 ||| un chat ||| -1.5000'
    """

    number: str
    text: str
    score: float
    rest: tuple = ()

    @classmethod
    def read(cls, line, line_number):
        """Reads a line.

        Raises:
            CorpusError: if it is none, with its number.
        """
        try:
            number, text, score, *rest = line.split(_SEPARATOR)
            return cls(number, text, float(score), tuple(rest))
        except ValueError:
            raise CorpusError(
                f"Line {line_number}: with --rerank there are number, text and "
                f"score with '{_SEPARATOR}' between. Received: {line!r}"
            ) from None

    def __str__(self):
        return _SEPARATOR.join(
            [self.number, self.text, f"{self.score:.4f}", *self.rest]
        )


def n_best_lists(groups):
    """Groups lines into whole n-best lists.

    Args:
        groups: Iterable of lists of str, as from `line_groups`.

    Yields:
        Lists of one n-best list, a list of `NBestLine`: as soon as the next
        list begins.

    Raises:
        CorpusError: at a line that belongs to none.

    Example:

    >>> lines = ["0 ||| a ||| -1", "0 ||| b ||| -2", "1 ||| c ||| -1"]
    >>> [len(one) for [one] in n_best_lists([lines])]
    [2, 1]
    """
    lines = enumerate(itertools.chain.from_iterable(groups), 1)
    rows = (NBestLine.read(line, number) for number, line in lines)
    for _, one in itertools.groupby(rows, lambda row: row.number):
        yield [list(one)]


class LineContinuer:
    """Continues groups of lines; lines are numbered over all of them.

    Args:
        model_dir: str or path of a folder with a trained model.
        changes: List of `"field=value"`, for the fields of `generate`.
        samples: int. Continuations of each line; 0 for one without number.
    """

    def __init__(self, model_dir, changes=(), samples=0):
        folder = LmFolder(model_dir)
        config = folder.load_config(changes)
        self._generate = TextGenerator(
            *folder.load_model(config), config.generate
        )
        self._samples = samples
        self._seen = 0

    def __call__(self, lines):
        """Lines for a list of str."""
        found = self._generate(lines, max(self._samples, 1), self._seen)
        numbered = enumerate(found, self._seen)
        self._seen += len(lines)
        if not self._samples:
            return [texts[0] for _, texts in numbered]
        return [
            f"{number}{_SEPARATOR}{text}"
            for number, texts in numbered
            for text in texts
        ]
