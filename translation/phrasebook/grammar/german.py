"""Puts a meaning into German.

The finite verb stands second in main clauses, first in questions, last in
subordinate clauses; infinitives, participles and separable prefixes close the
clause. Between them stand pronouns, time, recipient, frequency, object,
"nicht", manner, place. Past is the Perfekt, and the preterite of sein, haben
and the modals; the future is "werden"; "you" is Sie.
"""

from translation.phrasebook.grammar import german_nominals as noun
from translation.phrasebook.grammar import german_verbs as verbs
from translation.phrasebook.grammar.german_clauses import (
    FIRST,
    SECOND,
    afterwards,
    clause,
    middle,
    nominal,
    pronouns,
)
from translation.phrasebook.grammar.meaning import asks
from translation.phrasebook.grammar.spelling import sentence

JOINTS = {"and": "und", "but": "aber"}


def utterance(meaning):
    """The German sentence of an `Utterance`."""
    opening = [meaning.opening.german, ","] if meaning.opening else []
    tokens = opening + KINDS[meaning.kind](meaning)
    return sentence(tokens, "?" if meaning.kind == "question" else ".")


def statement(meaning):
    """One clause, or two joined by "und" or "aber", verb second in each."""
    tokens = clause(meaning.clause, SECOND)
    if meaning.also:
        comma = [","] if meaning.joint == "but" else []
        more = clause(meaning.also, SECOND)
        tokens += [*comma, JOINTS[meaning.joint], *more]
    return tokens


def question(meaning):
    """Asks with the verb first, or behind the word that asks."""
    content = meaning.clause
    if meaning.asked:
        return [meaning.asked.german, *clause(content, FIRST)]
    if asks(content.subject):
        return clause(content, SECOND)
    if asks(content.object):
        preposition, case = verbs.government(content.verb)
        front = nominal(content.object, case)
        if preposition:
            front = noun.contract(preposition, front)
        return [*front, *clause(content, FIRST, object_before=True)]
    return clause(content, FIRST)


def request(meaning):
    """ "Rufen Sie mich bitte morgen an"."""
    content = meaning.clause
    verb = content.verb
    reflexive = ["sich"] if verb.german_reflexive else []
    return [
        verb.german,
        "Sie",
        *reflexive,
        *pronouns(content),
        "bitte",
        *middle(content),
        verb.german_prefix.strip(),
        *afterwards(content),
    ]


KINDS = {"statement": statement, "question": question, "request": request}
