"""A trained model as a filter: lines in, lines out, as many as came in.

Formats, for `--mode=translate`:

    translation                              the best one, and nothing else
    translation ||| 0-0 1-2                  with --alignments=hard
    translation ||| {"source": [...], ...}   with --alignments=soft
    0 ||| translation ||| -1.25              with --n_best, number of the line
                                             from 0, and the score
    0 ||| translation ||| -1.25 ||| 0-0 1-2  with both

With --prefixes a line that comes in is `source TAB prefix`.

For `--mode=score`, separated by tabs:

    -3.1415 TAB -1.25 TAB subwords TAB log probability of each

Log probabilities are natural ones. The score is equation 14, by which the
search ranks: see `translation/search/beam_options.py`.
"""

import contextlib
import dataclasses
import itertools
import json

from moe_keras.paths import local_path
from trainers.translator.ensembles import open_translator
from trainers.translator.folder import ModelFolder
from translation.search.score import TextScorer
from translation.search.translate import TextTranslator
from translation.search.word_alignment import pharaoh, word_links
from translation.text.blanks import is_blank
from translation.text.corpora.corpus import open_corpus
from translation.text.text_files import (
    CorpusError,
    is_stream,
    read_lines,
    whole_lines,
)

ALIGNMENTS = ("none", "hard", "soft")

# Lines or pairs of files that are worked on together: those of like length
# go into one batch, so that more make fewer batches.
GROUP = 2000
# Bytes that are taken at once from standard input: what a pipe can hold.
_CHUNK = 1 << 16
# Names of it.
_STANDARD_INPUT = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


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
    ):
        if n_best < 0 or alignments not in ALIGNMENTS:
            raise ValueError(
                "`n_best` must not be negative, and `alignments` be one of "
                f"{', '.join(ALIGNMENTS)}. Received: n_best={n_best}, "
                f"alignments={alignments!r}"
            )
        folder = ModelFolder(model_dir)
        config = folder.load_config(changes)
        options = dataclasses.replace(
            config.search, num_translations=max(1, n_best)
        )
        model, tokenizer = open_translator(folder, config, members, mean)
        self._translate = TextTranslator(
            model, tokenizer, options, alignments=alignments != "none"
        )
        self._n_best = n_best
        self._alignments = alignments
        self._seen = 0

    def __call__(self, lines):
        """Translates a group of lines.

        Args:
            lines: List of str, or of `(source, prefix)`: its translations
                begin with the prefix.

        Returns:
            List of str, the lines to be written: one for each, or `n_best`.
        """
        prefixes = None
        if lines and not isinstance(lines[0], str):
            lines, prefixes = zip(*lines, strict=True)
        first, self._seen = self._seen, self._seen + len(lines)
        found = self._translate.n_best(
            lines, prefixes=prefixes, first_number=first
        )
        return [
            self._line(number, translation)
            for number, best in enumerate(found, first)
            for translation in best
        ]

    def _line(self, number, translation):
        parts = [translation.text.replace("\n", " ")]
        if self._n_best:
            parts = [str(number), *parts, f"{translation.score:.4f}"]
        if self._alignments != "none":
            parts.append(_alignment(self._alignments, translation.attention))
        return " ||| ".join(parts)


def _alignment(kind, attention):
    source, target, weights = attention or ([], [], [])
    if kind == "hard":
        return pharaoh(word_links(source, target, weights))
    rounded = [[round(float(x), 4) for x in row] for row in weights]
    fields = {"source": source, "target": target, "attention": rounded}
    return json.dumps(fields, ensure_ascii=False)


class PairScorer:
    """Scores groups of pairs.

    Args:
        model_dir, changes, members, mean: As of `LineTranslator`.

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

    def __init__(self, model_dir, changes=(), members=(), mean="probabilities"):
        folder = ModelFolder(model_dir)
        config = folder.load_config(changes)
        model, tokenizer = open_translator(folder, config, members, mean)
        self._score = TextScorer(model, tokenizer, config.search)

    def __call__(self, pairs):
        """A line for each pair of a list of `(source, translation)`."""
        sources, targets = zip(*pairs, strict=True) if pairs else ([], [])
        return [
            "\t".join(
                (
                    f"{scored.log_prob:.4f}",
                    f"{scored.score:.4f}",
                    " ".join(scored.tokens),
                    " ".join(f"{x:.4f}" for x in scored.token_log_probs),
                )
            )
            for scored in self._score(list(sources), list(targets))
        ]


def line_groups(paths, stdin):
    """Lines to be translated, in groups, as they come.

    Args:
        paths: List of str: files, plain or `.gz`, and pipes such as
            `<(command)` and `/dev/stdin`; `-` is standard input. None:
            standard input.
        stdin: File of bytes. Its lines, and those of a pipe, are given on as
            soon as they are whole, and the last one when the input ends.

    Returns:
        Iterator over lists of str. Bytes of a pipe that are not UTF-8 are read
        as U+FFFD.

    Raises:
        CorpusError: if there is no such file, and while it is iterated, if
            one cannot be read; what came before is given first.
    """
    paths = [
        path if path == "-" else local_path(path) for path in paths or ["-"]
    ]
    for path in paths:
        if not _is_stream(path) and not path.is_file():
            raise CorpusError(f"There is no file {path}.")
    return _groups_of(paths, stdin)


def prefixed_groups(groups):
    """Splits lines into sources and prefixes, at a tab.

    Args:
        groups: Iterable of lists of str, as from `line_groups`. A line
            without a tab has the empty prefix, which leaves its translation
            free.

    Yields:
        Lists of `(source, prefix)`.

    Raises:
        CorpusError: at a line with several tabs; what came before is given
            first.

    Example:

    >>> list(prefixed_groups([["Hello!\\tBon", "Hello!"]]))
    [[('Hello!', 'Bon'), ('Hello!', '')]]
    """
    number = 0
    for group in groups:
        pairs = []
        for line in group:
            number += 1
            columns = line.split("\t")
            if len(columns) > 2:
                if pairs:
                    yield pairs
                raise CorpusError(
                    f"Line {number}: with --prefixes there are a source and "
                    "how its translation begins, with a tab between; found "
                    f"{len(columns)} columns."
                )
            pairs.append((columns[0], columns[1] if columns[1:] else ""))
        yield pairs


def pair_groups(specs, pair, stdin):
    """Pairs to be scored, in groups, as they come.

    Args:
        specs: List of str: corpora, as `trainers.nmt` takes them, and pipes;
            `-` is standard input. None: standard input. Lines of a pipe are
            source and translation with a tab between; a blank line is a pair
            of two empty texts.
        pair: str. Languages, as en-fr.
        stdin: File of bytes.

    Returns:
        Iterator over lists of `(source, translation)`.

    Raises:
        CorpusError: if there is no such corpus, and while it is iterated, at
            what is no pair; what came before is given first.
    """
    opened = [
        _pairs_of(spec, stdin)
        if _is_stream(spec)
        else _in_groups(open_corpus(spec, pair, "test").pairs())
        for spec in specs or ["-"]
    ]
    return itertools.chain.from_iterable(opened)


def _is_stream(path):
    return path == "-" or is_stream(path)


def _groups_of(paths, stdin):
    """Files that follow each other are joined; pipes are not."""
    for is_pipe, some in itertools.groupby(paths, _is_stream):
        if is_pipe:
            for path in some:
                yield from _lines_of(path, stdin)
        else:
            lines = map(read_lines, some)
            yield from _in_groups(itertools.chain.from_iterable(lines))


def _pairs_of(path, stdin):
    number = 0
    for lines in _lines_of(path, stdin):
        pairs = []
        for line in lines:
            number += 1
            columns = ["", ""] if is_blank(line) else line.split("\t")
            if len(columns) != 2:
                if pairs:
                    yield pairs
                raise CorpusError(
                    f"{_name(path)}, line {number}: there must be two "
                    "columns, source and translation with a tab between; "
                    f"found {len(columns)}."
                )
            pairs.append(tuple(columns))
        yield pairs


def _lines_of(path, stdin):
    """Lists of whole lines of a pipe, as soon as they are there."""
    with contextlib.ExitStack() as stack:
        file = stdin
        if path not in _STANDARD_INPUT:
            try:
                file = stack.enter_context(open(path, "rb"))
            except OSError as error:
                raise CorpusError(
                    f"{path} cannot be read: {error.strerror}."
                ) from error
        chunks = iter(lambda: file.read1(_CHUNK), b"")
        for lines in whole_lines(chunks, _name(path)):
            text = lines.decode("utf-8", "replace").replace("\r", "")
            yield text.split("\n")


def _name(path):
    return "Standard input" if path in _STANDARD_INPUT else path


def _in_groups(items):
    """Lists of items; at an error, first of those before it."""
    group = []
    try:
        for item in items:
            group.append(item)
            if len(group) == GROUP:
                yield group
                group = []
    except CorpusError:
        if group:
            yield group
        raise
    if group:
        yield group
