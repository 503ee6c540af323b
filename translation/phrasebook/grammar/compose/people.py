"""Chooses people to speak of."""

from dataclasses import replace

from translation.phrasebook.grammar.compose import usage
from translation.phrasebook.grammar.compose.chance import chance, pick, weighted
from translation.phrasebook.grammar.compose.reference import possessive
from translation.phrasebook.grammar.compose.things import adjectives
from translation.phrasebook.grammar.lexicon.adverbials import NAMES
from translation.phrasebook.grammar.lexicon.nouns import NOUNS
from translation.phrasebook.grammar.meaning import NounPhrase, Pair, Pronoun

FIRST_NAMES = tuple(NAMES.values())
POSSESSIVES = ("my", "my", "your", "his", "her", "our", "their")
PRONOUNS = tuple(map(Pronoun, ("I", "you", "he", "she", "we", "they")))
KIN = tuple(noun for noun in NOUNS.values() if "kin" in noun.kinds)
MANY_KIN = ("brother", "sister", "son", "daughter", "uncle", "aunt")
# Who cannot be object beside a subject: not "I see us".
SAME = {"I": ("I", "we"), "we": ("I", "we"), "you": ("you",)}
SUBJECTS = weighted(
    ("pronoun", 36),
    ("name", 16),
    ("kin", 18),
    ("noun", 26),
    ("pair", 4),
    ("quantity", 3),
)
OBJECTS = weighted(("pronoun", 6), ("name", 3), ("kin", 5), ("noun", 6))
QUANTIFIERS = ("every", "all", "many", "some")
DETERMINERS = weighted(
    (("the", False), 15),
    (("the", True), 5),
    (("this", False), 2),
    (("a", False), 2),
    (("this", True), 1),
)


def person(rng, who=("person",)):
    """Somebody as a subject; `who` as in `usage.py`."""
    if "person" in who and chance(rng, 0.7):
        who = ("person",)
    if who not in usage.HUMAN:
        who = tuple(name for name in who if name != "person")
        return described(rng, pick(rng, usage.nouns(who)))
    kind = pick(rng, SUBJECTS)
    if kind == "pronoun":
        return pick(rng, PRONOUNS)
    if kind == "name":
        return pick(rng, FIRST_NAMES)
    if kind == "kin":
        return kin(rng)
    if kind == "pair":
        return pair(rng)
    noun = pick(rng, usage.people(who))
    if kind == "quantity":
        return quantity(rng, noun)
    return described(rng, noun)


def kin(rng, owner=None):
    """My mother, her two brothers, Anna's uncle."""
    named = pick(rng, FIRST_NAMES) if chance(rng, 0.12) else None
    named = None if owner else named
    owner = owner or pick(rng, POSSESSIVES)
    noun = pick(rng, KIN)
    # "I" and "you" are men; see `meaning.Pronoun`.
    married = named.female if named else owner == "her"
    if noun.english == "husband" and not married:
        noun = NOUNS["brother"]
    plural = "several" in noun.kinds
    number = 0
    if noun.english in MANY_KIN:
        plural = chance(rng, 0.15)
        number = rng.randint(2, 4) if plural and chance(rng, 0.5) else 0
    if named:
        return NounPhrase(noun, "owner", plural, number, owner=named)
    return NounPhrase(noun, owner, plural, number)


def pair(rng):
    """Paul and Anna, Paul and his sister."""
    first = pick(rng, FIRST_NAMES)
    if chance(rng, 0.5):
        return Pair(first, kin_of(rng, first))
    second = pick(rng, FIRST_NAMES)
    while second == first:
        second = pick(rng, FIRST_NAMES)
    return Pair(first, second)


def kin_of(rng, someone):
    """A relative of the subject, or of anybody where that is unclear."""
    return kin(rng, possessive(someone) or pick(rng, POSSESSIVES))


def owner(rng):
    """Whose things are spoken of: Anna's, my brother's, the doctor's."""
    kind = pick(rng, ("name", "kin", "noun"))
    if kind == "name":
        return pick(rng, FIRST_NAMES)
    if kind == "noun":
        return NounPhrase(pick(rng, usage.people(("adult",))))
    someone = kin(rng, pick(rng, POSSESSIVES))
    return replace(someone, number=0)


def owned(rng, phrase):
    """The same things, somebody's."""
    return replace(phrase, determiner="owner", number=0, owner=owner(rng))


def quantity(rng, noun):
    """Every guest, all the guests, many guests, three guests."""
    kind = pick(rng, ("every", "all", "many", "some", "bare"))
    if kind == "bare":
        return NounPhrase(noun, "bare", True, rng.randint(2, 20))
    return NounPhrase(noun, kind, kind != "every")


def described(rng, noun):
    """The old woman, the women, this woman, a woman."""
    if "unique" in noun.kinds:
        return NounPhrase(noun)
    kind, plural = pick(rng, DETERMINERS)
    return NounPhrase(noun, kind, plural, 0, adjectives(rng, noun))


def someone(rng, subject):
    """A person as an object: him, Anna, his mother, the old woman."""
    kind = pick(rng, OBJECTS)
    if kind == "pronoun":
        taken = ()
        if isinstance(subject, Pronoun):
            taken = SAME.get(subject.english, ())
        return pick(rng, [p for p in PRONOUNS if p.english not in taken])
    if kind == "name":
        taken = (subject,)
        if isinstance(subject, Pair):
            taken = (subject.first, subject.second)
        return pick(rng, [n for n in FIRST_NAMES if n not in taken])
    if kind == "kin":
        return kin_of(rng, subject)
    return described(rng, pick(rng, usage.people(("person",))))


def is_quantity(subject):
    """Whether "not" would be ambiguous: "all the guests do not sleep"."""
    return isinstance(subject, NounPhrase) and (
        subject.number > 0 or subject.determiner in QUANTIFIERS
    )
