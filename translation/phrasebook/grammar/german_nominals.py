"""German nominals: agreement, contraction, "kein", what is new or known."""

from translation.phrasebook.grammar import german_forms as form
from translation.phrasebook.grammar.meaning import (
    Gap,
    Name,
    NounPhrase,
    Pair,
    Pronoun,
)


def person(meaning):
    """Agreement of the verb: "ich", "er" or "plural"."""
    if isinstance(meaning, Pronoun):
        return form.PRONOUNS[meaning.english][4]
    if isinstance(meaning, NounPhrase | Gap):
        return "plural" if meaning.plural else "er"
    return "plural" if isinstance(meaning, Pair) else "er"


def contract(preposition, tokens):
    """im, zum, in der Nähe vom; as it is where nothing contracts."""
    head, space, last = preposition.rpartition(" ")
    if (last, tokens[0]) in form.CONTRACTIONS:
        joined = form.CONTRACTIONS[last, tokens[0]]
        return [head + space + joined, *tokens[1:]]
    return [preposition, *tokens]


def takes_kein(phrase):
    """Whether a negated noun phrase says "kein" instead of "nicht"."""
    return phrase.determiner in ("a", "bare", "generic") and not phrase.number


def is_indefinite(meaning):
    """Whether a nominal tells of something new: einen Apfel, drei Äpfel."""
    return isinstance(meaning, NounPhrase) and meaning.determiner in (
        "a",
        "bare",
        "some",
        "many",
    )


def is_definite_person(meaning):
    """Whether a nominal is somebody known, who stands early."""
    if isinstance(meaning, NounPhrase):
        person = "person" in meaning.noun.kinds
        return person and not is_indefinite(meaning)
    return isinstance(meaning, Name | Pair)
