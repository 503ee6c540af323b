"""Parallel text: where sentence pairs come from.

A corpus streams its pairs, the same in Python (`pairs`) and in the graph
(`dataset`); only the phrasebook, whose sentences are made up, is held in
memory. `check` reads a corpus once, before anything costly begins, and reports
a fault in one line.

How lines are read: `text_files.py`; what all corpora share: `base.py`; several
of them: `joined.py`.
"""

import functools
import itertools
import pathlib
import re
import shlex

import tensorflow as tf

from moe_keras.paths import local_path
from translation.phrasebook.corpus import phrasebook
from translation.text.corpora.base import Corpus
from translation.text.corpora.filtered import FilteredCorpus
from translation.text.corpora.joined import JoinedCorpus, MixedCorpus
from translation.text.corpora.named_by_pair import PAIR, open_named_by_pair
from translation.text.corpora.pair_filters import FilterOptions, PairFilters
from translation.text.corpora.specs import (
    check_weights,
    escaped,
    hints,
    parse_spec,
)
from translation.text.corpora.tfds import TfdsCorpus
from translation.text.languages import (
    PHRASEBOOK_LANGUAGES,
    language_of,
    parse_pair,
)
from translation.text.text_files import (
    CorpusError,
    find_language,
    is_stream,
    line_dataset,
    read_lines,
)

SPLITS = ("train", "dev", "test")

# Sentence pairs of the phrasebook when its spec names no size.
_PHRASEBOOK_SIZES = {"train": 40_000, "dev": 500, "test": 1_000}


class TextCorpus(Corpus):
    """Two files, parallel line by line: `PREFIX.en` and `PREFIX.fr`.

    Each may be plain or end in `.gz`; a plain one comes first.

    Args:
        prefix: str. Path of the files up to the dot before the language.
        source_language: str. Such as `en`.
        target_language: str. Such as `fr`.

    Raises:
        CorpusError: if a file is missing.

    Example:

    >>> import tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "train.en").write_text("one dog\\ntwo dogs\\n")
    >>> _ = (folder / "train.fr").write_text("un chien\\ndeux chiens\\n")
    >>> list(TextCorpus(folder / "train", "en", "fr").pairs())
    [('one dog', 'un chien'), ('two dogs', 'deux chiens')]
    """

    def __init__(self, prefix, source_language, target_language):
        self.name = str(prefix)
        self.source_path = find_language(prefix, source_language)
        self.target_path = find_language(prefix, target_language)

    def pairs(self):
        sources, targets = (
            read_lines(self.source_path, like_graph=True),
            read_lines(self.target_path, like_graph=True),
        )
        for number, (source, target) in enumerate(
            itertools.zip_longest(sources, targets)
        ):
            if source is None or target is None:
                longer = targets if source is None else sources
                total = number + 1 + sum(1 for _ in longer)
                counts = (number, total) if source is None else (total, number)
                raise CorpusError(
                    "The two files must have the same number of lines: "
                    f"{self.source_path} has {counts[0]}, "
                    f"{self.target_path} has {counts[1]}."
                )
            yield source, target

    def dataset(self):
        return tf.data.Dataset.zip(
            line_dataset(self.source_path), line_dataset(self.target_path)
        )


class TsvCorpus(Corpus):
    """One file with a source sentence, a tab and its translation per line.

    Args:
        path: str. Plain, or ending in `.gz`.
        is_swapped: bool. Whether the translation comes first.

    Raises:
        CorpusError: if the file is missing.

    Example:

    >>> import tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "train.tsv"
    >>> _ = path.write_text("one dog\\tun chien\\ntwo dogs\\tdeux chiens\\n")
    >>> list(TsvCorpus(path).pairs())
    [('one dog', 'un chien'), ('two dogs', 'deux chiens')]
    """

    def __init__(self, path, is_swapped=False):
        self.name = str(path)
        self.path = pathlib.Path(path)
        self._order = (1, 0) if is_swapped else (0, 1)
        if not self.path.is_file():
            raise CorpusError(
                f"{path} is a pipe, which can be read only once; a corpus is "
                "read several times. Write it to a file."
                if is_stream(path)
                else f"There is no file {path}."
            )

    def pairs(self):
        lines = read_lines(self.path, like_graph=True)
        for number, line in enumerate(lines, start=1):
            columns = line.split("\t")
            if len(columns) != 2:
                raise CorpusError(
                    f"{self.path}, line {number}: there must be two columns, "
                    f"source and target with a tab between; "
                    f"found {len(columns)}.{_way_round(self.path, columns)}"
                )
            source, target = self._order
            yield columns[source], columns[target]

    def dataset(self):
        def split(lines_B):
            columns_B2 = tf.strings.split(lines_B, "\t").to_tensor(
                shape=(None, 2)
            )
            return tuple(columns_B2[:, place] for place in self._order)

        # In batches, since a step of tf.data costs more than the work here.
        return line_dataset(self.path).batch(256).map(split).unbatch()


def _way_round(path, columns):
    """Say in a sentence what to do about a file with more columns."""
    if len(columns) < 3:
        return ""
    read = "zcat" if path.suffix == ".gz" else "cat"
    file = shlex.quote(str(path))
    return (
        " If the sentences are in the first two, take these: "
        f"{read} {file} | cut -f1,2 > pairs.tsv"
    )


class PhrasebookCorpus(Corpus):
    """Sentences made by the grammar of `translation/phrasebook/`.

    Args:
        pair: str or `LanguagePair`. Any two of en, fr, de, such as `en-fr`.
        split: `"train"`, or `"dev"` or `"test"`: sentences whose English
            is in neither of the other two.
        size: int. Number of sentence pairs.
        seed: int.

    Raises:
        CorpusError: if the phrasebook does not know a language.
    """

    def __init__(self, pair, split, size=None, seed=0):
        self.name = f"the phrasebook ({split})"
        self.pair = parse_pair(pair)
        codes = [language_of(tag) for tag in self.pair]
        for language in codes:
            if language not in PHRASEBOOK_LANGUAGES:
                raise CorpusError(
                    f"The phrasebook has no language {language!r}; "
                    f"it has {', '.join(PHRASEBOOK_LANGUAGES)}."
                )
        if codes[0] == codes[1]:
            raise CorpusError(
                f"The phrasebook says everything once in {codes[0]!r}: a pair "
                f"of two languages is needed. Received: pair={pair}"
            )
        self._fields = [PHRASEBOOK_LANGUAGES[code] for code in codes]
        self.split = split
        self.size = _PHRASEBOOK_SIZES[split] if size is None else size
        if self.size < 1:
            raise CorpusError(
                "The phrasebook's `size` must be at least 1. "
                f"Received: size={size}"
            )
        self.seed = seed

    @functools.cached_property
    def _pairs(self):
        if self.split == "train":
            sentences = phrasebook(self.size, seed=self.seed)
        else:
            # Every second one of the same distinct sentences.
            sentences = phrasebook(
                2 * self.size, seed=self.seed, held_out=True
            )[self.split == "test" :: 2]
        source, target = self._fields
        return [(getattr(s, source), getattr(s, target)) for s in sentences]

    def pairs(self):
        return iter(self._pairs)

    def dataset(self):
        sources, targets = zip(*self._pairs, strict=True)
        return tf.data.Dataset.from_tensor_slices(
            (list(sources), list(targets))
        )


def open_corpus(spec, pair, split="train", seed=0, filters=None):
    """Finds the corpus that a spec names.

    Args:
        spec: str. One of, or several joined by commas:

            - `phrasebook` or `phrasebook:SIZE`: sentences of our own.
            - `FILE.tsv` or `FILE.tsv.gz`: source, tab, target.
            - `tfds:NAME/CONFIG` or `tfds:NAME/CONFIG:SPLIT`: a dataset of
              tensorflow-datasets, see `tfds.py`.
            - any of these but the phrasebook with `{pair}` in it, such as
              `data/train.{pair}`: it stands for `en-fr`, or for `fr-en`, in
              whose files the other language comes first.
            - any other, such as `data/train`: the prefix of two files
              `data/train.en` and `data/train.fr`, each plain or `.gz`; of one
              language twice, `data/train.source` and `data/train.target`.

            Of a training corpus each may end in `@WEIGHT`: `a@0.7,b@0.3`
            mixes them so that 7 in 10 pairs are of `a`. Without weights they
            follow each other. A comma or an `@` of a name has a backslash
            before it.
        pair: str. Such as `en-fr`: from English into French.
        split: `"train"`, `"dev"` or `"test"`: which sentences of the
            phrasebook. Files are what they are.
        seed: int. Seed of the phrasebook.
        filters: `FilterOptions`: which pairs to leave out, or None.

    Returns:
        A `Corpus`. Call `check` before relying on what it holds.

    Raises:
        CorpusError: if there is no such corpus.

    Example:

    >>> corpus = open_corpus("phrasebook:100", "en-fr", "dev")
    >>> corpus.check()
    CorpusSize(pairs=100, empty=0)
    """
    try:
        languages = parse_pair(pair)
    except ValueError as error:
        raise CorpusError(str(error)) from error
    if split not in SPLITS:
        raise CorpusError(
            f"`split` must be one of {', '.join(SPLITS)}. "
            f"Received: split={split!r}"
        )
    parts = parse_spec(spec)
    check_weights(parts, spec, split)
    found = [
        (part, open_part(part, parts, languages, split, seed)) for part in parts
    ]
    return join_parts(found, languages, filters)


def join_parts(found, languages, filters=None):
    """Makes one corpus of the parts of a spec.

    Args:
        found: List of `(CorpusSpec, Corpus)`.
        languages: `LanguagePair`.
        filters: `FilterOptions`: which pairs to leave out, or None.

    Returns:
        A `Corpus`.
    """
    parts, corpora = zip(*found, strict=True)
    if filters and filters != FilterOptions():
        rules = PairFilters(filters, languages)
        corpora = [FilteredCorpus(corpus, rules) for corpus in corpora]
    if len(corpora) == 1:
        return corpora[0]
    if parts[0].weight is not None:
        return MixedCorpus(corpora, [part.weight for part in parts])
    return JoinedCorpus(corpora)


def open_part(part, parts, languages, split, seed):
    """Opens a corpus of a spec; an error says what else it may have meant.

    Args:
        part: `CorpusSpec`.
        parts: List of all `CorpusSpec`s of the spec.
        languages: `LanguagePair`.
        split, seed: As of `open_corpus`.
    """
    try:
        corpus = _open_one(part.name, languages, split, seed)
    except CorpusError as error:
        raise CorpusError(f"{error}{hints(part, parts)}") from error
    if part.weight is not None:
        _check_is_weight(part, languages)
    return corpus


def _check_is_weight(part, languages):
    """Refuses `news@2019` where both `news` and `news@2019` are corpora."""
    try:
        other = _open_one(part.whole_name, languages, "train", 0).name
    except CorpusError:
        return
    raise CorpusError(
        f"There are corpora {part.name} and {other}: {part.written} may be "
        f"the first with a weight, or the second; {escaped(part)}, or "
        "rename one of them."
    )


def _open_one(spec, languages, split, seed):
    if PAIR in spec:
        return open_named_by_pair(
            spec,
            languages,
            lambda name, is_swapped: _open_named(
                name, languages, split, seed, is_swapped
            ),
        )
    return _open_named(spec, languages, split, seed)


def _open_named(spec, languages, split, seed, is_swapped=False):
    generated = re.fullmatch(r"phrasebook(?::(\d+))?", spec)
    if generated:
        size = int(generated[1]) if generated[1] else None
        return PhrasebookCorpus(languages, split, size, seed)
    if spec.startswith("tfds:"):
        return TfdsCorpus(spec, languages, split)
    try:
        path = local_path(spec)
    except ValueError as error:
        raise CorpusError(str(error)) from error
    if spec.endswith((".tsv", ".tsv.gz")):
        return TsvCorpus(path, is_swapped)
    return TextCorpus(path, *languages.suffixes)
