"""Text for language models: where lines come from.

    data/train.txt                 a file, plain or .gz
    'news/news.en-*-of-00100'      all files of a pattern, in order
    news/                          all files of a folder
    tfds:lm1b                      a dataset of tensorflow-datasets
    phrasebook                     English sentences, made up as they are read

Several with commas between follow each other; with `@WEIGHT` behind each,
training mixes them by weight. The folder of the 1-billion-word benchmark,
with `training-monolingual.tokenized.shuffled/` in it, is read as such.
"""

import glob
import hashlib
import itertools
import pathlib

import tensorflow as tf

from translation.phrasebook.corpus import phrasebook
from translation.text.text_files import (
    CorpusError,
    line_dataset,
    lines_of_files,
    read_lines,
)

_PHRASEBOOK_SIZES = {"train": 40_000, "dev": 1_000, "test": 1_000}
# Where the 1-billion-word benchmark has its splits.
_BENCHMARK = {
    "train": "training-monolingual.tokenized.shuffled",
    "dev": "heldout-monolingual.tokenized.shuffled",
    "test": "heldout-monolingual.tokenized.shuffled",
}
_TFDS_SPLITS = {"train": "train", "dev": "test", "test": "test"}
_UNEVEN = 1.1  # files of a size that differs by less are alike for workers
_HASHED = 1 << 20  # bytes of each file that tell it from others


class FileLines:
    """Lines of text files, one file after the other.

    Args:
        paths: List of `pathlib.Path`, plain or ending in `.gz`.
        name: str, for people.

    Example:

    >>> import tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "text"
    >>> _ = path.write_text("one dog\\ntwo dogs\\n")
    >>> list(FileLines([path]).read())
    ['one dog', 'two dogs']
    """

    def __init__(self, paths, name=None):
        self.paths = list(paths)
        self.name = name or ", ".join(map(str, self.paths))
        missing = [str(path) for path in self.paths if not path.is_file()]
        if missing or not self.paths:
            raise CorpusError(f"There is no file {', '.join(missing) or name}.")

    def read(self):
        """Yields the lines, as str."""
        for path in self.paths:
            yield from read_lines(path)

    def dataset(self):
        """The lines as a `tf.data.Dataset` of strings."""
        if len(self.paths) == 1:
            return line_dataset(self.paths[0])
        return lines_of_files(self.paths)

    def shard(self, index, count):
        """The part of worker `index` of `count`: files, and lines of others.

        Files of about one size are dealt out. What cannot be dealt out evenly,
        a file that is larger than others or one that is left over, is read by
        all workers, of which each takes every `count`-th line.
        """
        own, shared = _deal_out(self.paths, index, count)
        parts = [FileLines(own, self.name)] if own else []
        if shared:
            lines = FileLines(shared, self.name)
            parts.append(_Shard(lines, index, count))
        return JoinedLines(parts)

    def contents(self):
        """Describe these files so that others differ: names, sizes, digests."""
        return [
            {
                "file": path.name,
                "bytes": path.stat().st_size,
                "sha256": _sha256_of_start(path),
            }
            for path in self.paths
        ]


def _deal_out(paths, index, count):
    """Files of worker `index`, and those of which all read some lines.

    So many files of about one size, the largest first, are one for each
    worker; the order of the workers turns from one time to the next. Sizes of
    compressed files are compared with each other alone.
    """
    own, shared, turns = [], [], False
    for is_packed in (False, True):
        sizes = {
            path: path.stat().st_size
            for path in paths
            if (path.suffix == ".gz") == is_packed
        }
        ahead = sorted(sizes, key=lambda path: (-sizes[path], str(path)))
        while ahead:
            some = ahead[:count]
            is_even = sizes[some[0]] <= _UNEVEN * sizes[some[-1]]
            if len(some) == count and is_even:
                own.append(some[-1 - index if turns else index])
                ahead, turns = ahead[count:], not turns
            else:
                shared.append(ahead.pop(0))
    return sorted(own, key=paths.index), sorted(shared, key=paths.index)


class MadeLines:
    """Lines that are in memory.

    Args:
        lines: List of str.
        name: str, for people.

    Example:

    >>> list(MadeLines(["one dog"], "mine").read())
    ['one dog']
    """

    def __init__(self, lines, name):
        self._lines = list(lines)
        self.name = name

    def read(self):
        """Yields the lines, as str."""
        yield from self._lines

    def dataset(self):
        """The lines as a `tf.data.Dataset` of strings."""
        return tf.data.Dataset.from_tensor_slices(self._lines)

    def shard(self, index, count):
        """Every `count`-th line, from `index` on."""
        return MadeLines(self._lines[index::count], self.name)

    def contents(self):
        """Describe these lines so that others differ."""
        text = "\n".join(self._lines).encode()
        return [{"name": self.name, "sha256": hashlib.sha256(text).hexdigest()}]


class TfdsLines:
    """The feature `text` of a dataset of tensorflow-datasets, such as lm1b.

    Args:
        spec: str, `tfds:NAME` or `tfds:NAME:SPLIT`.
        split: str. The split where the spec names none.
    """

    def __init__(self, spec, split):
        _, name, *rest = spec.split(":", 2)
        self.name = spec
        self._split = rest[0] if rest else _TFDS_SPLITS[split]
        try:
            import tensorflow_datasets
        except ImportError as error:
            raise CorpusError(
                f"{spec} needs tensorflow-datasets: "
                "pip install 'moe-keras[wmt]'."
            ) from error
        try:
            self._builder = tensorflow_datasets.builder(name)
            self._builder.download_and_prepare()
            self._info = self._builder.info.splits[self._split]
        except Exception as error:  # the library raises whatever it meets
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise CorpusError(f"{spec} cannot be had: {reason[0]}") from error

    def read(self):
        """Yields the lines, as str."""
        for line in self.dataset().as_numpy_iterator():
            yield line.decode()

    def dataset(self):
        """The lines as a `tf.data.Dataset` of strings."""
        rows = self._builder.as_dataset(self._split, shuffle_files=False)
        return rows.map(lambda row: row["text"])

    def shard(self, index, count):
        """The part of worker `index` of `count`: every `count`-th line."""
        return _Shard(self, index, count)

    def contents(self):
        """Describe this split so that others differ."""
        return [{"name": self.name, "lines": self._info.num_examples}]


class _Shard:
    """Every `count`-th line of others, from `index` on."""

    def __init__(self, whole, index, count):
        self._whole, self._index, self._count = whole, index, count
        self.name, self.contents = whole.name, whole.contents

    def read(self):
        """Yields the lines, as str."""
        lines = self._whole.read()
        return itertools.islice(lines, self._index, None, self._count)

    def dataset(self):
        """The lines as a `tf.data.Dataset` of strings."""
        return self._whole.dataset().shard(self._count, self._index)


class JoinedLines:
    """Several corpora: after each other, or mixed by weights in training.

    Args:
        parts: List of corpora.
        weights: List of float above 0 in any unit, or None.

    Example:

    >>> parts = [MadeLines(["a"], "1"), MadeLines(["b"], "2")]
    >>> list(JoinedLines(parts).read())
    ['a', 'b']
    >>> list(JoinedLines(parts).shard(1, 2).read())  # a line each: none left
    []
    """

    def __init__(self, parts, weights=None):
        self._parts = list(parts)
        self.weights = weights
        self.name = ", ".join(part.name for part in self._parts)

    def read(self):
        """Yields the lines, as str, one corpus after the other."""
        for part in self._parts:
            yield from part.read()

    def has_lines(self):
        """Whether there is text to train on: with weights, of each corpus."""
        found = (any(part.read()) for part in self._parts)
        return any(found) if self.weights is None else all(found)

    def dataset(self):
        """The lines as a `tf.data.Dataset`, one corpus after the other."""
        first, *others = [part.dataset() for part in self._parts]
        for other in others:
            first = first.concatenate(other)
        return first

    def training_dataset(self, seed):
        """Lines without end; by weights, each corpus in epochs of its own."""
        if self.weights is None:
            return self.dataset().repeat()
        return tf.data.Dataset.sample_from_datasets(
            [part.dataset().repeat() for part in self._parts],
            [weight / sum(self.weights) for weight in self.weights],
            seed=seed,
        )

    def shard(self, index, count):
        """The part of worker `index` of `count`."""
        parts = [part.shard(index, count) for part in self._parts]
        return JoinedLines(parts, self.weights)

    def contents(self):
        """Describe these lines so that others differ."""
        return [one for part in self._parts for one in part.contents()]


def open_lines(spec, split="train"):
    """Opens the corpora that a string names; see the top of this file.

    Args:
        spec: str.
        split: `"train"`, `"dev"` or `"test"`: which part is meant where the
            spec leaves it open.

    Returns:
        `JoinedLines`.

    Raises:
        CorpusError: naming what is missing or cannot be read.

    Example:

    >>> corpus = open_lines("phrasebook", "test")
    >>> sum(1 for _ in corpus.read())
    1000
    """
    names, weights = [], []
    for part in spec.split(","):
        name, mark, weight = part.strip().rpartition("@")
        if mark and not pathlib.Path(part.strip()).exists():
            weights.append(_weight(weight, part))
        else:
            name = part.strip()
        names.append(name)
    if weights and len(weights) < len(names):
        raise CorpusError(
            "Give each corpus a weight, as NAME@WEIGHT, or none of them. "
            f"Received: {spec}"
        )
    parts = [_open_one(name, split) for name in names]
    return JoinedLines(parts, weights or None)


def _weight(text, part):
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    if not 0 < weight < float("inf"):
        raise CorpusError(
            f"The weight of a corpus must be a number above 0. Received: {part}"
        )
    return weight


def _open_one(name, split):
    if name == "phrasebook":
        held_out = split != "train"
        seed = {"train": 1, "dev": 2, "test": 3}[split]
        pairs = phrasebook(
            _PHRASEBOOK_SIZES[split], seed=seed, held_out=held_out
        )
        return MadeLines(
            [pair.english for pair in pairs], f"phrasebook {split}"
        )
    if name.startswith("tfds:"):
        return TfdsLines(name, split)
    path = pathlib.Path(name).expanduser()
    if (path / _BENCHMARK[split]).is_dir():
        return FileLines(_benchmark_files(path, split), name)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.is_file())
        return FileLines([p for p in found if p.name[0] != "."], name)
    if path.is_file():
        return FileLines([path], name)
    return FileLines(map(pathlib.Path, sorted(glob.glob(str(path)))), name)


def _benchmark_files(path, split):
    """Training files; of the held-out ones the first is for tests."""
    files = sorted((path / _BENCHMARK[split]).glob("news*"))
    if split == "test":
        return files[:1]
    return files[1:] if split == "dev" else files


def _sha256_of_start(path):
    with path.open("rb") as file:
        return hashlib.sha256(file.read(_HASHED)).hexdigest()
