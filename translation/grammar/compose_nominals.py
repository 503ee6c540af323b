"""Chooses people, things and places to speak of.

Every function draws from `rng`, a `random.Random`, and from nothing else.
"""

from translation.grammar import usage
from translation.grammar.adverbials import NAMES, PLACES, PREPOSITIONS
from translation.grammar.entries import Adverbial
from translation.grammar.meaning import (
    Name,
    NounPhrase,
    Pair,
    Phrase,
    Pronoun,
)
from translation.grammar.nouns import NOUNS

FIRST_NAMES = tuple(NAMES.values())
POSSESSIVES = ("my", "my", "your", "his", "her", "our", "their")
PRONOUNS = tuple(map(Pronoun, ("I", "you", "he", "she", "we", "they")))
KIN = tuple(noun for noun in NOUNS.values() if "kin" in noun.kinds)
NEAR = tuple(
    PREPOSITIONS[name] for name in ("near", "behind", "in front of", "next to")
)
LANDMARKS = usage.nouns(
    ("building", "station", "tower", "bridge", "bakery", "park", "lake")
)
VESSELS = {
    "warm": ("cup",),
    "cold": ("glass", "bottle"),
}
OF_PRONOUN = {
    "I": "my",
    "you": "your",
    "he": "his",
    "she": "her",
    "we": "our",
    "they": "their",
}
# Those who cannot stand as object beside the subject: "I see us".
SAME = {"I": ("I", "we"), "we": ("I", "we"), "you": ("you",)}


def chance(rng, probability):
    return rng.random() < probability


def pick(rng, options):
    return options[int(rng.random() * len(options))]


def pick_weighted(rng, weighted):
    """One of `((option, weight), ...)`."""
    mark = rng.random() * sum(weight for _, weight in weighted)
    for option, weight in weighted:
        mark -= weight
        if mark < 0:
            return option
    return weighted[-1][0]


def possessive(subject):
    """ "his" for a man, "their" for several, None where it is unclear.

    A girl or a child has none: "das Mädchen" is neuter but a she.
    """
    if isinstance(subject, Pronoun):
        return OF_PRONOUN.get(subject.english)
    if isinstance(subject, Name):
        return "her" if subject.female else "his"
    if isinstance(subject, Pair):
        return "their"
    if not isinstance(subject, NounPhrase):
        return None
    if subject.determiner == "every":
        return None
    if subject.plural:
        return "their"
    if "male" in subject.noun.kinds:
        return "his"
    return "her" if "female" in subject.noun.kinds else None


def back_reference(subject):
    """The pronoun that takes up a subject, or None where it is unclear."""
    if isinstance(subject, Pronoun):
        return None if subject.english == "who" else subject
    kind = possessive(subject)
    for english, owned in OF_PRONOUN.items():
        if owned == kind:
            return Pronoun(english)
    return None


def is_several(nominal):
    """Whether a nominal is grammatically several."""
    if isinstance(nominal, Pronoun):
        return nominal.english in ("we", "they")
    if isinstance(nominal, NounPhrase):
        return nominal.plural
    return isinstance(nominal, Pair)


def adjectives(rng, noun, probability=0.3):
    """None, one or two adjectives, in English order, that get on."""
    suitable = usage.SUITABLE[noun]
    if not suitable or not chance(rng, probability):
        return ()
    one = pick(rng, suitable)
    if chance(rng, 0.85):
        return (one,)
    other = pick(rng, suitable)
    order = list(suitable)
    first, second = sorted((one, other), key=order.index)
    apart = second.kind in ("colour", "origin") and first.kind in (
        "opinion",
        "size",
        "age",
    )
    return (first, second) if apart else (one,)


def person(rng, who=("person",)):
    """Somebody as a subject; `who` as in `usage.py`."""
    if who != ("person",) and who != ("adult",):
        return described(rng, pick(rng, usage.nouns(who)))
    kind = pick_weighted(
        rng,
        (
            ("pronoun", 36),
            ("name", 16),
            ("kin", 18),
            ("noun", 24),
            ("pair", 4),
            ("quantity", 4),
        ),
    )
    if kind == "pronoun":
        return pick(rng, PRONOUNS)
    if kind == "name":
        return pick(rng, FIRST_NAMES)
    if kind == "kin":
        return kin(rng)
    if kind == "pair":
        return pair(rng)
    noun = pick(rng, strangers(who))
    if kind == "quantity":
        return quantity(rng, noun)
    return described(rng, noun)


def strangers(who):
    return [n for n in usage.nouns(who) if "kin" not in n.kinds]


def kin(rng, owner=None):
    """My mother, her two brothers, Anna's uncle."""
    noun = pick(rng, KIN)
    plural = "several" in noun.kinds
    number = 0
    if noun.english in ("brother", "sister", "son", "daughter", "uncle"):
        plural = chance(rng, 0.15)
        number = rng.randint(2, 4) if plural and chance(rng, 0.5) else 0
    if owner is None and chance(rng, 0.12):
        named = pick(rng, FIRST_NAMES)
        return NounPhrase(noun, "owner", plural, number, owner=named)
    determiner = owner or pick(rng, POSSESSIVES)
    return NounPhrase(noun, determiner, plural, number)


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


def quantity(rng, noun):
    """Every guest, all the guests, many guests, three guests."""
    kind = pick(rng, ("every", "all", "many", "some", "bare"))
    if kind == "bare":
        return NounPhrase(noun, "bare", True, rng.randint(2, 20))
    return NounPhrase(noun, kind, kind != "every")


def described(rng, noun):
    """The old woman, the women, this woman, a woman."""
    kind, plural = pick_weighted(
        rng,
        (
            (("the", False), 60),
            (("the", True), 20),
            (("this", False), 8),
            (("a", False), 8),
            (("this", True), 4),
        ),
    )
    if "unique" in noun.kinds:
        kind, plural = "the", False
    return NounPhrase(noun, kind, plural, 0, adjectives(rng, noun))


def someone(rng, subject):
    """A person as an object: him, Anna, his mother, the old woman."""
    kind = pick_weighted(
        rng, (("pronoun", 30), ("name", 15), ("kin", 25), ("noun", 30))
    )
    if kind == "pronoun":
        taken = ()
        if isinstance(subject, Pronoun):
            taken = SAME.get(subject.english, ())
        options = [p for p in PRONOUNS if p.english not in taken]
        return pick(rng, options)
    if kind == "name":
        options = [n for n in FIRST_NAMES if n != subject]
        if isinstance(subject, Pair):
            options = [n for n in options if n != subject.first]
            options = [n for n in options if n != subject.second]
        return pick(rng, options)
    if kind == "kin":
        return kin_of(rng, subject)
    return described(rng, pick(rng, strangers(("person",))))


def thing(rng, noun, subject=None, negated=False):
    """A thing as an object: an apple, his apples, the three red apples."""
    if "tongue" in noun.kinds:
        return NounPhrase(noun, "generic")
    if "mass" in noun.kinds:
        return substance(rng, noun, subject, negated)
    owner = possessive(subject) or "the"
    if "person" in noun.kinds:
        owner = "the"
    plenty = 0 if negated else 1
    kind, plural = pick_weighted(
        rng,
        (
            (("the", False), 30),
            (("a", False), 24 if plenty else 4),
            ((owner, False), 10),
            (("this", False), 7),
            (("the", True), 10),
            (("this", True), 3),
            ((owner, True), 3),
            (("bare", True), 10),
            (("number", True), 9 * plenty),
            (("some", True), 3 * plenty),
            (("many", True), 3 * plenty),
        ),
    )
    if "unique" in noun.kinds:
        return NounPhrase(noun, "the")
    plural = plural or "paired" in noun.kinds
    if kind == "a" and plural:
        kind = "bare"
    number = 0
    if kind == "number":
        kind, number = "bare", amount(rng)
    elif plural and kind == "the" and chance(rng, 0.2):
        number = rng.randint(2, 6)
    return NounPhrase(noun, kind, plural, number, adjectives(rng, noun))


def amount(rng):
    """A number of things, mostly a small one."""
    if chance(rng, 0.75):
        return rng.randint(2, 12)
    return pick(rng, (13, 14, 15, 16, 17, 18, 19, 20, 30, 40, 50, 100))


def substance(rng, noun, subject, negated):
    """Bread, the bread, a glass of water, his money."""
    if "drink" in noun.kinds and not negated and chance(rng, 0.35):
        warm = "warm" if "warm" in noun.kinds else "cold"
        vessel = NOUNS[pick(rng, VESSELS[warm])]
        contents = NounPhrase(noun, "bare")
        if chance(rng, 0.6):
            return NounPhrase(vessel, "a", contents=contents)
        number = rng.randint(2, 6)
        return NounPhrase(vessel, "bare", True, number, contents=contents)
    owner = possessive(subject) or "the"
    kind = pick_weighted(
        rng, (("bare", 50), ("the", 32), (owner, 9), ("this", 9))
    )
    return NounPhrase(noun, kind, adjectives=adjectives(rng, noun))


def weighed(rng, noun):
    """Two kilos of apples."""
    plural = "mass" not in noun.kinds
    contents = NounPhrase(noun, "bare", plural)
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
    where = pick(rng, usage.places("place", names))
    if isinstance(where, Adverbial):
        return where
    if chance(rng, 0.08):
        return nearby(rng)
    at, _ = PLACES[where.english]
    return Phrase(at, site(rng, where, subject))


def nearby(rng):
    """Near the station, in front of the church."""
    landmark = pick(rng, LANDMARKS)
    return Phrase(pick(rng, NEAR), site(rng, landmark, None))


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
