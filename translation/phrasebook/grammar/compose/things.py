"""Chooses things and places to speak of."""

from translation.phrasebook.grammar.compose import usage
from translation.phrasebook.grammar.compose.chance import chance, pick, weighted
from translation.phrasebook.grammar.compose.reference import possessive
from translation.phrasebook.grammar.lexicon.adverbials import (
    PLACES,
    PREPOSITIONS,
)
from translation.phrasebook.grammar.lexicon.entries import Adverbial
from translation.phrasebook.grammar.lexicon.nouns import NOUNS
from translation.phrasebook.grammar.meaning import NounPhrase, Phrase

NEAR = tuple(
    PREPOSITIONS[name]
    for name in ("near", "near", "behind", "in front of", "next to")
)
LANDMARKS = usage.nouns(
    ("building", "station", "tower", "bridge", "bakery", "park")
)
OUT = frozenset(("street", "square", "station", "park", "outside"))
NOT_OWNED = frozenset(
    (
        "person",
        "place",
        "landmark",
        "event",
        "public",
        "language",
        "sky",
        "star",
    )
)
# Determiners and whether plural; "own" is the possessive of the subject.
DETERMINERS = weighted(
    (("the", False), 30),
    (("a", False), 24),
    (("own", False), 10),
    (("this", False), 7),
    (("the", True), 10),
    (("this", True), 3),
    (("own", True), 3),
    (("bare", True), 10),
    (("number", True), 9),
    (("some", True), 3),
    (("many", True), 3),
)
NEGATED = weighted(
    (("the", False), 10),
    (("a", False), 1),
    (("own", False), 3),
    (("this", False), 2),
    (("the", True), 3),
    (("bare", True), 3),
)
OF_SUBSTANCE = weighted(("bare", 55), ("the", 32), ("own", 3), ("this", 10))


def adjectives(rng, noun, probability=0.35):
    """None, one or two adjectives, in English order, that get on."""
    suitable = usage.SUITABLE[noun]
    if not suitable or not chance(rng, probability):
        return ()
    one = pick(rng, suitable)
    if chance(rng, 0.85):
        return (one,)
    first, second = sorted((one, pick(rng, suitable)), key=suitable.index)
    before = first.kind in ("opinion", "size", "age")
    if before and second.kind in ("colour", "origin"):
        return (first, second)
    return (one,)


def owner_of(noun, subject):
    """The possessive of the subject, for what one can own."""
    owned = noun.kinds.isdisjoint(NOT_OWNED)
    return (owned and possessive(subject)) or "the"


def thing(rng, noun, subject=None, negated=False):
    """A thing as an object: an apple, his apples, the three red apples."""
    if "tongue" in noun.kinds:
        return NounPhrase(noun, "generic")
    if "mass" in noun.kinds:
        return substance(rng, noun, subject, negated)
    if "room" in noun.kinds:
        return site(rng, noun, subject)
    kind, plural = pick(rng, NEGATED if negated else DETERMINERS)
    if kind == "own":
        kind = owner_of(noun, subject)
    plural = plural or "paired" in noun.kinds
    if kind == "a" and plural:
        kind = "bare"
    number = 0
    if kind == "number":
        kind, number = "bare", amount(rng, noun)
    elif plural and kind == "the" and chance(rng, 0.2):
        number = rng.randint(2, 6)
    return NounPhrase(noun, kind, plural, number, adjectives(rng, noun))


def something(rng, noun, negated, definite=0.0):
    """A thing not spoken of before: a car, money; or the one at hand."""
    if "tongue" in noun.kinds:
        return NounPhrase(noun, "generic")
    if "place" in noun.kinds and noun.english not in ("garden", "house"):
        return NounPhrase(noun)
    paired = "paired" in noun.kinds
    if chance(rng, definite):
        return NounPhrase(noun, "the", paired or "fruit" in noun.kinds)
    if "mass" in noun.kinds:
        return NounPhrase(noun, "bare", False)
    plural = paired or chance(rng, 0.25 if "food" not in noun.kinds else 0.7)
    number = 0
    if plural and not negated and not paired and chance(rng, 0.5):
        number = amount(rng, noun)
    kind = "bare" if plural else "a"
    return NounPhrase(noun, kind, plural, number, adjectives(rng, noun, 0.2))


def amount(rng, noun):
    """A number of things, small for what is large."""
    if noun not in usage.SMALL:
        return rng.randint(2, 5)
    if chance(rng, 0.75):
        return rng.randint(2, 12)
    return pick(rng, (13, 14, 15, 16, 17, 18, 19, 20, 30, 40, 50, 100))


def substance(rng, noun, subject, negated):
    """Bread, the bread, a glass of water, his money."""
    if "drink" in noun.kinds and not negated and chance(rng, 0.35):
        return helping(rng, noun)
    kind = pick(rng, OF_SUBSTANCE)
    if kind == "own":
        kind = owner_of(noun, subject)
    return NounPhrase(noun, kind, adjectives=adjectives(rng, noun))


def helping(rng, noun):
    """A cup of tea, three bottles of water."""
    vessels = ("cup",) if "warm" in noun.kinds else ("glass", "bottle")
    vessel = NOUNS[pick(rng, vessels)]
    contents = NounPhrase(noun, "bare")
    if chance(rng, 0.6):
        return NounPhrase(vessel, "a", contents=contents)
    number = rng.randint(2, 6)
    return NounPhrase(vessel, "bare", True, number, contents=contents)


def weighed(rng, noun):
    """Two kilos of apples."""
    contents = NounPhrase(noun, "bare", "mass" not in noun.kinds)
    kilo = NOUNS["kilo"]
    if chance(rng, 0.4):
        return NounPhrase(kilo, "a", contents=contents)
    number = rng.randint(2, 10)
    return NounPhrase(kilo, "bare", True, number, contents=contents)


def generic(noun):
    """Apples, bread: all there is."""
    return NounPhrase(noun, "generic", "mass" not in noun.kinds)


def place(rng, names, subject=None):
    """Where something happens: in the old park, at home, near the lake."""
    if not OUT.isdisjoint(names) and chance(rng, 0.15):
        return nearby(rng)
    where = pick(rng, usage.places("place", names))
    if isinstance(where, Adverbial):
        return where
    at, _ = PLACES[where.english]
    return Phrase(at, site(rng, where, subject))


def nearby(rng):
    """Near the station, in front of the church."""
    return Phrase(pick(rng, NEAR), site(rng, pick(rng, LANDMARKS), None))


def goal(rng, names):
    """Where somebody goes: to the market, home, to Italy."""
    where = pick(rng, usage.places("goal", names))
    if isinstance(where, Adverbial):
        return where
    _, to = PLACES[where.english]
    return Phrase(to, site(rng, where, None))


def site(rng, noun, subject):
    """The noun of a place; French "à" wants the definite article."""
    owner = possessive(subject)
    if owner and "home" in noun.kinds and chance(rng, 0.2):
        return NounPhrase(noun, owner)
    return NounPhrase(noun, adjectives=adjectives(rng, noun, 0.15))
