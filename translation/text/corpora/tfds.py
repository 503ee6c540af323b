"""Translation datasets of tensorflow-datasets, such as WMT'14.

    tfds:NAME/CONFIG            tfds:wmt14_translate/fr-en
    tfds:NAME/CONFIG:SPLIT      tfds:wmt14_translate/fr-en:train[:1000]

Any dataset with a text feature for each language will do; in which order its
name has them does not matter. One that is not there yet is downloaded and
prepared, in the folder that TFDS_DATA_DIR names or ~/tensorflow_datasets.
"""

import itertools
import re

import numpy as np

from translation.text.corpora.base import Corpus
from translation.text.languages import spellings
from translation.text.text_files import CorpusError

# What other corpora are asked for, in the words of the library.
_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
# Name, perhaps with a version, and split, perhaps with a slice in brackets.
_SPEC = re.compile(
    r"tfds:(?P<name>[\w/.-]+(?::\d+\.\d+\.\d+)?)(?::(?P<split>[a-z_].*))?"
)
# Pairs that come to Python together: a step of tf.data costs more than a pair.
_CHUNK = 4096


class TfdsCorpus(Corpus):
    """A split of a dataset, read as it lies on the disk.

    Args:
        spec: str. As above.
        pair: `LanguagePair`.
        split: `"train"`, `"dev"` or `"test"`: the split that is meant when
            the spec names none.

    Raises:
        CorpusError: if there is no such dataset or split, it cannot be
            prepared, lacks a language, or tensorflow-datasets is missing.
    """

    def __init__(self, spec, pair, split="train"):
        match = _SPEC.fullmatch(spec)
        if match is None:
            raise CorpusError(
                "A dataset is tfds:NAME/CONFIG or tfds:NAME/CONFIG:SPLIT, such "
                f"as tfds:wmt14_translate/fr-en:train. Received: {spec}"
            )
        self.name = spec
        self._pair = pair
        self._split = match["split"] or _SPLITS[split]
        self._builder = _prepared(spec, match["name"], pair)
        self.dataset()  # an unknown split is an error now

    def dataset(self):
        try:
            rows = self._builder.as_dataset(
                split=self._split, shuffle_files=False
            )
        except (ValueError, AssertionError) as error:
            splits = ", ".join(sorted(self._builder.info.splits)) or "none"
            raise CorpusError(
                f"{self.name}: cannot read the split {self._split!r}; there "
                f"are {splits}."
            ) from error
        source, target = _columns(self._builder.info.features, self._pair)
        return rows.map(lambda row: (row[source], row[target]))

    def pairs(self):
        numbers = itertools.count(1)
        for chunk in self.dataset().batch(_CHUNK).as_numpy_iterator():
            for pair, number in zip(np.stack(chunk, 1), numbers, strict=False):
                try:
                    source, target = (side.decode("utf-8") for side in pair)
                except UnicodeDecodeError as error:
                    raise CorpusError(
                        f"{self.name}, pair {number}: not UTF-8."
                    ) from error
                yield source, target


def _prepared(spec, name, pair):
    """The builder of a dataset that is on the disk."""
    try:
        import tensorflow_datasets as tfds  # needed here only, slow to import
    except ImportError as error:
        raise CorpusError(
            f"{spec} needs tensorflow-datasets, which is not installed: "
            "pip install 'moe-keras[wmt]'"
        ) from error
    try:
        builder = tfds.builder(name)
    except (ValueError, OSError) as error:
        raise CorpusError(
            f"{spec}: tensorflow-datasets has no such dataset: "
            f"{_first_line(error)}"
        ) from error
    languages = sorted(builder.info.features or {})
    if pair.source == pair.target:
        raise CorpusError(
            f"{spec} has every sentence once in {pair.source}: a pair of two "
            f"languages is needed. Received: pair={pair}"
        )
    if None in _columns(languages, pair):
        raise CorpusError(
            f"{spec} has no {pair} sentences; it has {', '.join(languages)}."
        )
    try:
        builder.download_and_prepare()
    except Exception as error:  # whatever a download can meet
        raise CorpusError(
            f"{spec} is not on the disk and cannot be downloaded and "
            f"prepared: {_first_line(error)}"
        ) from error
    return builder


def _columns(features, pair):
    """The feature of each language, or None, however the dataset spells it."""
    return [
        next((name for name in spellings(tag) if name in features), None)
        for tag in pair
    ]


def _first_line(error):
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
