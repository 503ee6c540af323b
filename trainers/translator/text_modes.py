"""Runs a trained model on lines: as many lines come out as go in.

Formats, for `--mode=translate`:

    translation                              the best one, and nothing else
    translation ||| 0-0 1-2                  with --alignments=hard
    translation ||| {"source": [...], ...}   with --alignments=soft
    0 ||| translation ||| -1.25              with --n_best, number of the line
                                             from 0, and the score
    0 ||| translation ||| -1.25 ||| 0-0 1-2  with both

With --prefixes a line that comes in is `source TAB prefix`, and with
--target_column it has the target language and a tab in front.

For `--mode=score`, separated by tabs:

    -3.1415 TAB -1.25 TAB subwords TAB log probability of each

Log probabilities are natural ones. The score is equation 14, by which the
search ranks: see `translation/search/beam_options.py`.
"""

import dataclasses
import functools
import heapq
import json
import sys

from trainers.translator.ensembles import open_translator
from trainers.translator.folder import ModelFolder
from trainers.translator.text_input import TextLine
from translation.search.score import TextScorer
from translation.search.translate import (
    MAX_SOURCE_LENGTH,
    TextTranslator,
    Translation,
)
from translation.search.word_alignment import END, pharaoh, word_links
from translation.text.blanks import is_blank
from translation.text.directions import parse_directions
from translation.text.languages import language_of
from translation.text.long_texts import longer_than, parts_of

ALIGNMENTS = ("none", "hard", "soft")
LONG_LINES = ("cut", "split", "refuse")
# Languages without spaces between sentences.
_UNSPACED = ("ja", "km", "lo", "my", "th", "yue", "zh")


class LineTranslator:
    """Translates groups of lines; lines are numbered over all of them.

    Args:
        model_dir: str or path of a folder with a trained model.
        changes: List of `"field=value"`, for the fields of the search.
        members, mean: An ensemble, see `ensembles.open_translator`.
        n_best: int. How many translations of each line; 0 for the best one
            without number and score.
        alignments: str. What is said of the attention: `none`, `hard` for
            links between words, `soft` for all weights between subwords.
        long_lines: str. What becomes of lines with more subwords than
            `max_source_length`, which are named in any case: `cut` translates
            the first subwords, `split` each sentence by itself, `refuse` ends
            with an error.
        max_source_length: int. Subwords of a line, end mark and target
            language included.
        warn: Function of one line of text; by default it goes to standard
            error.
        target: str or None. The language of lines that do not say theirs;
            None for a model that writes a single one.

    Raises:
        ValueError: if there is something wrong with an argument, or with the
            folder.
        CheckpointError: if what was saved cannot be used.

    Example, of a model that has yet to be trained:

    >>> import tempfile
    >>> from trainers.translator.folder import build_model
    >>> from trainers.engine.config.overrides import with_overrides
    >>> from trainers.translator.presets import preset
    >>> from translation.text.tokenizer.training import train_tokenizer
    >>> tokenizer = train_tokenizer(["a dog sleeps", "le chien dort"], 280)
    >>> sizes = ["depth=8", "lstm_units=8", "vocab_size=280"]
    >>> config = with_overrides(preset("phrasebook"), sizes)
    >>> folder = ModelFolder(tempfile.mkdtemp())
    >>> folder.save_model(config, build_model(config), tokenizer)
    >>> translate = LineTranslator(folder.path, ["beam_width=2"], n_best=2)
    >>> lines = translate(["a dog", "a dog sleeps"])
    >>> [line.partition(" ||| ")[0] for line in lines]
    ['0', '0', '1', '1']
    """

    def __init__(
        self,
        model_dir,
        changes=(),
        members=(),
        mean="probabilities",
        n_best=0,
        alignments="none",
        long_lines="cut",
        max_source_length=MAX_SOURCE_LENGTH,
        warn=None,
        target=None,
    ):
        if n_best < 0 or alignments not in ALIGNMENTS:
            raise ValueError(
                "`n_best` must not be negative, and `alignments` be one of "
                f"{', '.join(ALIGNMENTS)}. Received: n_best={n_best}, "
                f"alignments={alignments!r}"
            )
        if long_lines not in LONG_LINES:
            raise ValueError(
                f"`long_lines` must be one of {', '.join(LONG_LINES)}. "
                f"Received: long_lines={long_lines!r}"
            )
        if long_lines == "split" and alignments != "none":
            raise ValueError(
                "`long_lines` of split translates sentences apart, which have "
                "no alignment in common: `alignments` must be none. "
                f"Received: alignments={alignments!r}"
            )
        folder = ModelFolder(model_dir)
        config = folder.load_config(changes)
        options = dataclasses.replace(
            config.search, num_translations=max(1, n_best)
        )
        model, tokenizer = open_translator(folder, config, members, mean)
        has_targets = bool(tokenizer.targets)
        self._translate = TextTranslator(
            model,
            tokenizer,
            options,
            max_source_length,
            alignments=alignments != "none",
        )
        self._is_sampling = options.sampling
        self._n_best = n_best
        self._alignments = alignments
        self._long_lines = long_lines
        self._longer = functools.partial(
            longer_than,
            max_source_length,
            tokenizer=tokenizer,
            marks=1 + has_targets,
        )
        self._max_source_length = max_source_length
        self._has_targets = has_targets
        self._targets = parse_directions(config.pair).targets
        self._target = target if has_targets else self._targets[0]
        self._marks = (END, *tokenizer.pieces(tokenizer.targets.values()))
        self._warn = warn or _to_standard_error
        self._seen = 0

    def __call__(self, lines):
        """Translates a group of lines.

        Args:
            lines: List of str, or of `TextLine` or its parts.

        Returns:
            List of str, the lines to be written: one for each, or `n_best`.

        Raises:
            ValueError: at a line that is too long, if `long_lines` is
                `refuse`.
        """
        lines = [
            TextLine(x) if isinstance(x, str) else TextLine(*x) for x in lines
        ]
        first, self._seen = self._seen, self._seen + len(lines)
        long = self._longer([line.source for line in lines])
        for place, size in long.items():
            self._say_long(first + place + 1, size)
        if self._long_lines != "split":
            long = {}
        whole = [
            line._replace(source="") if place in long else line
            for place, line in enumerate(lines)
        ]
        found = self._n_best_of(whole, first)
        for place in long:
            found[place] = self._in_parts(lines[place], first + place)
        return [
            self._line(number, translation)
            for number, best in enumerate(found, first)
            for translation in best
        ]

    def _n_best_of(self, lines, first_number):
        """Lists of `Translation`, one for each `TextLine`."""
        prefixes = [line.prefix for line in lines]
        return self._translate.n_best(
            [line.source for line in lines],
            prefixes=prefixes if any(prefixes) else None,
            first_number=first_number,
            targets=self._targets_of(lines) if self._has_targets else None,
        )

    def _targets_of(self, lines):
        """The language of each line; a blank one gets any."""
        return [
            self._targets[0]
            if is_blank(line.source)
            else line.target or self._target
            for line in lines
        ]

    def _say_long(self, number, size):
        limit = self._max_source_length
        what = f"Line {number} has {size:,} subwords, over {limit}"
        if self._long_lines == "refuse":
            raise ValueError(
                f"{what}. --long_lines=split translates it in parts, and "
                "--max_source_length allows more."
            )
        done = {
            "cut": f"only the first {limit - 1 - self._has_targets} are "
            "translated. "
            "--long_lines=split translates all",
            "split": "it is translated sentence by sentence",
        }
        self._warn(f"{what}: {done[self._long_lines]}.")

    def _in_parts(self, line, number):
        """The best translations of a long line, of those of its parts.

        A translation has one of each part, drawn together where they are
        drawn; its score is the mean of theirs.
        """
        parts = [
            TextLine(part, target=line.target)
            for part in parts_of(
                line.source, lambda part: not self._longer([part])
            )
        ]
        parts[0] = parts[0]._replace(prefix=line.prefix)
        found = self._n_best_of(parts, number)
        count = max(1, self._n_best)
        if self._is_sampling:
            choices = [
                [drawn[number % len(drawn)] for drawn in found]
                for number in range(count)
            ]
        else:
            choices = best_choices(found, count)
        language = language_of(line.target or self._target)
        space = "" if language in _UNSPACED else " "
        return [
            Translation(
                space.join(
                    filter(None, (part.text.strip() for part in chosen))
                ),
                sum(part.score for part in chosen) / len(chosen),
            )
            for chosen in choices
        ]

    def _line(self, number, translation):
        parts = [translation.text.replace("\n", " ")]
        if self._n_best:
            parts = [str(number), *parts, f"{translation.score:.4f}"]
        if self._alignments != "none":
            parts.append(self._alignment(translation.attention))
        return " ||| ".join(parts)

    def _alignment(self, attention):
        source, target, weights = attention or ([], [], [])
        if self._alignments == "hard":
            return pharaoh(word_links(source, target, weights, self._marks))
        rounded = [[round(float(x), 4) for x in row] for row in weights]
        fields = {"source": source, "target": target, "attention": rounded}
        return json.dumps(fields, ensure_ascii=False)


def best_choices(lists, count):
    """Finds the choices of one item from each list with the highest scores.

    Args:
        lists: List of lists of items with a `score`, the best first.
        count: int. At most so many choices are returned.

    Returns:
        List of lists with an item of each, those with the highest sum of
        scores first.

    Example:

    >>> lists = [
    ...     [Translation("a", -1.0), Translation("b", -2.0)],
    ...     [Translation("c", -1.0), Translation("d", -1.5)],
    ... ]
    >>> for choice in best_choices(lists, 3):
    ...     print([item.text for item in choice])
    ['a', 'c']
    ['a', 'd']
    ['b', 'c']
    """
    best = [(0.0, [])]
    for items in lists:  # a part's best need only the best of those before
        longer = [
            (total + item.score, [*chosen, item])
            for total, chosen in best
            for item in items
        ]
        best = heapq.nlargest(count, longer, key=lambda choice: choice[0])
    return [chosen for _, chosen in best]


def _to_standard_error(line):
    print(line, file=sys.stderr, flush=True)


class PairScorer:
    """Scores groups of pairs.

    Args:
        model_dir, changes, members, mean, max_source_length, warn, target: As
            of `LineTranslator`. Pairs of which a side is too long are named;
            only the beginning of that side is scored.

    Example, of a model that has yet to be trained:

    >>> import tempfile
    >>> from trainers.translator.folder import build_model
    >>> from trainers.engine.config.overrides import with_overrides
    >>> from trainers.translator.presets import preset
    >>> from translation.text.tokenizer.training import train_tokenizer
    >>> tokenizer = train_tokenizer(["a dog sleeps", "le chien dort"], 280)
    >>> sizes = ["depth=8", "lstm_units=8", "vocab_size=280"]
    >>> config = with_overrides(preset("phrasebook"), sizes)
    >>> folder = ModelFolder(tempfile.mkdtemp())
    >>> folder.save_model(config, build_model(config), tokenizer)
    >>> [line] = PairScorer(folder.path)([("a dog", "le chien")])
    >>> float(line.split()[0]) < 0  # log probability
    True
    """

    def __init__(
        self,
        model_dir,
        changes=(),
        members=(),
        mean="probabilities",
        max_source_length=MAX_SOURCE_LENGTH,
        warn=None,
        target=None,
    ):
        folder = ModelFolder(model_dir)
        config = folder.load_config(changes)
        model, tokenizer = open_translator(folder, config, members, mean)
        self._score = TextScorer(
            model, tokenizer, config.search, max_source_length
        )
        self._has_targets = bool(tokenizer.targets)
        self._target = target
        self._warn = warn or _to_standard_error
        self._seen = 0

    def __call__(self, pairs):
        """A line for each `(source, translation)`, or with the language."""
        if not pairs:
            return []
        sources, targets, *languages = map(list, zip(*pairs, strict=True))
        score = self._score
        self._say_long(
            "source", sources, score.max_source_length, 1 + self._has_targets
        )
        self._say_long("translation", targets, score.max_target_length)
        self._seen += len(pairs)
        languages = languages[0] if languages else self._target
        return [
            "\t".join(
                (
                    f"{scored.log_prob:.4f}",
                    f"{scored.score:.4f}",
                    " ".join(scored.tokens),
                    " ".join(f"{x:.4f}" for x in scored.token_log_probs),
                )
            )
            for scored in score(
                sources,
                targets,
                languages=languages if self._has_targets else None,
            )
        ]

    def _say_long(self, side, texts, limit, marks=1):
        long = longer_than(limit, texts, self._score.tokenizer, marks)
        for place, size in long.items():
            self._warn(
                f"Pair {self._seen + place + 1}: the {side} has {size:,} "
                f"subwords, over {limit}: only the first {limit - marks} count."
            )
