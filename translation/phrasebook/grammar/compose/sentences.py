"""Chooses the kind of a sentence, and fills it."""

from translation.phrasebook.grammar.compose import (
    being,
    clauses,
    linked,
    questions,
)
from translation.phrasebook.grammar.compose.chance import chance, pick, weighted
from translation.phrasebook.grammar.lexicon.adverbials import ADVERBIALS
from translation.phrasebook.grammar.meaning import Utterance

YES, NO = (ADVERBIALS["opening", word] for word in ("Yes", "No"))


def compose(rng):
    """The meaning of one sentence; all chance is in `rng`."""
    return pick(rng, SENTENCES)(rng)


def plain(rng):
    """What somebody does, now and then after yes or no."""
    clause = clauses.action(rng)
    opening = None
    if chance(rng, 0.06):
        opening = NO if clause.negation else YES
    return Utterance("statement", clause, opening=opening)


def description(rng):
    """The garage was dirty."""
    return Utterance("statement", being.anything(rng))


def state(rng):
    """Our mother loves the forest."""
    return Utterance("statement", clauses.state(rng))


def event(rng):
    """She sold the car yesterday."""
    return Utterance("statement", clauses.event(rng))


def existence(rng):
    """There is a mirror in the kitchen."""
    return Utterance("statement", clauses.existence_of(rng))


# How often each kind comes.
SENTENCES = weighted(
    (plain, 30),
    (description, 16),
    (state, 6),
    (event, 2),
    (existence, 4),
    (linked.because, 6),
    (linked.conditional, 4),
    (linked.temporal, 5),
    (linked.simultaneous, 2),
    (linked.opinion, 5),
    (linked.with_relative, 6),
    (linked.purposeful, 4),
    (linked.attempt, 3),
    (linked.joined, 3),
    (questions.yes_or_no, 7),
    (questions.where, 4),
    (questions.when, 2),
    (questions.why, 2),
    (questions.who, 3),
    (questions.what, 4),
    (questions.request, 4),
)
