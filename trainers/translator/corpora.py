"""Reads the corpora of a run, and says what is wrong with them."""

import dataclasses
import itertools
from typing import Any

from translation.text.corpora.base import Corpus
from translation.text.corpora.mixing import parse_mixing
from translation.text.corpora.multilingual import open_directions
from translation.text.corpora.named_by_pair import PAIR
from translation.text.corpora.references import read_references
from translation.text.corpora.specs import parse_spec
from translation.text.directions import parse_directions
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
    # More references of the test corpus: lists of lists of str, by direction.
    references: dict[str, list]
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
    train = open_directions(
        config.train,
        config.pair,
        filters=config.filters,
        mixing=parse_mixing(config.mixing, config.pair),
    )
    dev = open_directions(config.dev, config.pair, "dev")
    test = open_directions(config.test, config.pair, "test")
    for corpus in (train, dev, test):
        for note in getattr(corpus, "notes", ()):
            log(note)
    # The training corpus takes longest, so it comes last.
    contents = {"dev": dev.contents(), "test": test.contents()}
    references = more_references(config.references, test, config.pair)
    contents["train"] = train.contents()
    for filtered in train.reports():
        for line in filtered.lines():
            log(line)
    tell_shares(train, log)
    return RunCorpora(train, dev, test, contents, references, dev.digest())


def more_references(names, test, pair):
    """Reads further references of a test corpus.

    Args:
        names: str, as of `read_references`; of several directions each name
            has `{pair}`, which stands for the direction alone, as en-fr.
        test: The test `Corpus`.
        pair: str, the directions.

    Returns:
        dict of lists of lists of str, by direction.

    Raises:
        CorpusError: as `read_references`, or if a name stands for all
            directions.
    """
    if not hasattr(test, "directions"):
        [direction] = parse_directions(pair)
        return {str(direction): read_references(names, test)}
    lacking = (
        [part.name for part in parse_spec(names) if PAIR not in part.name]
        if names.strip()
        else []
    )
    if lacking:
        raise CorpusError(
            "References of several directions are files with {pair} in their "
            f"names, which stands for en-fr and so on. Received: {lacking[0]}"
        )
    return {
        str(direction): read_references(
            names.replace(PAIR, str(direction)), corpus
        )
        for direction, corpus in test.by_direction()
    }


def tell_shares(train, log):
    """Says how much of the training each direction gets.

    Args:
        train: The training `Corpus`; nothing is said of a single direction.
        log: Function of one line of text.
    """
    if not getattr(train, "directions", ()):
        return
    for (direction, corpus), share in zip(
        train.by_direction(), train.weights, strict=True
    ):
        pairs = sum(part["pairs"] for part in corpus.contents())
        log(f"{direction}: {pairs:,} pairs, {share:.1%} of the training.")


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
