"""Reads the corpora of a run, and says what is wrong with them."""

import dataclasses
import itertools
from typing import Any

from translation.text.corpora.base import Corpus
from translation.text.corpora.corpus import open_corpus
from translation.text.corpora.references import read_references
from translation.text.corpora.specs import parse_spec
from translation.text.input_pipeline import count_too_long
from translation.text.text_files import CorpusError
from translation.text.tokenizer.coverage import coverage

# Pairs of a corpus to search for characters, and characters to show.
_LOOKED_AT = 100_000
_SHOWN = 20


@dataclasses.dataclass(frozen=True)
class RunCorpora:
    """The corpora of a run, and what they hold."""

    train: Corpus
    dev: Corpus
    test: Corpus
    # Contents of the corpora by split: see `Corpus.contents`.
    contents: dict[str, Any]
    # More references of the test corpus: lists of str.
    references: list
    # Digest of the pairs that choose the best checkpoint: `Corpus.digest`.
    dev_sha256: str


def read_corpora(config, log):
    """Opens and checks all corpora of a run.

    Args:
        config: `NmtConfig`.
        log: Function of one line of text.

    Returns:
        `RunCorpora`.

    Raises:
        CorpusError: at the first thing that is wrong.
    """
    names = dict.fromkeys([config.train, config.dev, config.test])
    log(f"Reading {', '.join(names)} ...")
    train = open_corpus(config.train, config.pair, filters=config.filters)
    dev = open_corpus(config.dev, config.pair, "dev")
    test = open_corpus(config.test, config.pair, "test")
    # The training corpus takes longest, so it comes last.
    contents = {"dev": dev.contents(), "test": test.contents()}
    references = read_references(config.references, test)
    contents["train"] = train.contents()
    for filtered in train.reports():
        for line in filtered.lines():
            log(line)
    return RunCorpora(train, dev, test, contents, references, dev.digest())


def tell_too_long(corpora, tokenizer, options, log):
    """Says how many training pairs have too many subwords.

    Args:
        corpora: `RunCorpora`.
        tokenizer: `Tokenizer`.
        options: `PipelineOptions`.
        log: Function of one line of text.
    """
    for part in corpora.train.parts():
        count, looked_at = count_too_long(part, tokenizer, options)
        [contents] = part.contents()
        is_all = looked_at == contents["pairs"]
        log(
            f"{part.name}: of {'all' if is_all else 'the first'} "
            f"{looked_at:,} pairs {count:,} ({count / looked_at:.1%}) are left "
            f"out, with over max_length={options.max_length} subwords."
        )


def tell_lacking_characters(corpora, tokenizer, log):
    """Says which characters of the corpora a given vocabulary lacks.

    Args:
        corpora: `RunCorpora`.
        tokenizer: `Tokenizer`.
        log: Function of one line of text.
    """
    for part in (*corpora.train.parts(), corpora.dev):
        pairs = list(itertools.islice(part.pairs(), _LOOKED_AT))
        found = coverage(tokenizer, itertools.chain.from_iterable(pairs))
        count = found.lacking.total()
        line = (
            f"{part.name}: the vocabulary lacks {count:,} of "
            f"{found.characters:,} characters in {len(pairs):,} pairs"
        )
        if count:
            most = " ".join(c for c, _ in found.lacking.most_common(_SHOWN))
            more = len(found.lacking) - _SHOWN
            line += (
                f" ({count / found.characters:.2%}): {most}"
                f"{f' and {more:,} others' if more > 0 else ''}. They are "
                "spelled in bytes"
            )
        log(f"{line}.")


def check_own_evaluation(config):
    """Refuses to judge a model of one's own corpus by the embedded one.

    Raises:
        CorpusError: if the phrasebook is not trained on, and yet would choose
            the best checkpoint or give the reported scores.
    """
    names = [part.name for part in parse_spec(config.train)]
    if any(name.partition(":")[0] == "phrasebook" for name in names):
        return
    missing = [
        f"--{split}"
        for split in ("dev", "test")
        if getattr(config, split) == "phrasebook"
    ]
    if missing:
        raise CorpusError(
            f"Training is on {config.train}, but the embedded phrasebook would "
            "choose the best checkpoint and give the reported scores: give "
            f"{' and '.join(missing)}, sentences like those of --train and not "
            "among them. (docs/training.md shows how to set some aside; if the "
            "phrasebook is meant, write phrasebook:500.)"
        )
