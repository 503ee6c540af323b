"""Chooses clauses: who does what, when and where, as `usage.py` allows."""

from dataclasses import replace

from translation.phrasebook.grammar.compose import (
    motives,
    people,
    things,
    usage,
)
from translation.phrasebook.grammar.compose.chance import chance, pick, weighted
from translation.phrasebook.grammar.compose.reference import is_several
from translation.phrasebook.grammar.english_forms import person as agreement
from translation.phrasebook.grammar.lexicon.adverbials import ADVERBIALS
from translation.phrasebook.grammar.lexicon.entries import Adverbial
from translation.phrasebook.grammar.lexicon.nouns import NOUNS
from translation.phrasebook.grammar.lexicon.numerals import NUMERALS
from translation.phrasebook.grammar.lexicon.verbs import VERBS
from translation.phrasebook.grammar.meaning import (
    Clause,
    Existence,
    NounPhrase,
    Pronoun,
)

TENSES = weighted(
    ("present", 28),
    ("progressive", 14),
    ("past", 30),
    ("future", 13),
    ("modal", 11),
    ("modal past", 4),
)
UNMODAL = tuple(tense for tense in TENSES if "modal" not in tense)
MODALS = weighted(("want", 5), ("can", 3), ("must", 3), ("would like", 3))


def _by_tense(*kinds):
    return tuple(
        adverbial
        for (section, _), adverbial in ADVERBIALS.items()
        if section == "time" and adverbial.kinds.intersection(kinds)
    )


WHEN = {
    "present": _by_tense("present"),
    "progressive": _by_tense("progressive"),
    "past": _by_tense("past", "open"),
    "future": _by_tense("future", "open"),
    "modal": _by_tense("future", "open"),
    "modal past": _by_tense("past", "open"),
}
# How often a clause says when; the rest of the present says how often.
TIMED = {
    "present": 0.5,
    "progressive": 0.5,
    "past": 0.65,
    "future": 0.65,
    "modal": 0.4,
    "modal past": 0.4,
}
OFTEN = tuple(a for (kind, _), a in ADVERBIALS.items() if kind == "frequency")
NOT_SOMEBODYS = things.NOT_OWNED | {"mass", "food"}
UNITS = (
    ("days", "jours", "Tagen"),
    ("weeks", "semaines", "Wochen"),
    ("months", "mois", "Monaten"),
    ("years", "ans", "Jahren"),
)


def clock(rng):
    """At eight o'clock."""
    english, french, german = NUMERALS[rng.randint(2, 11)]
    return Adverbial(
        f"at {english} o'clock",
        f"à {french} heures",
        f"um {german} Uhr",
        frozenset(),
    )


def time(rng, tense):
    """An adverbial of time that goes with a tense."""
    if tense not in ("past", "future") or not chance(rng, 0.12):
        return pick(rng, WHEN[tense])
    english, french, german = NUMERALS[rng.randint(2, 10)]
    unit = pick(rng, UNITS)
    if tense == "past":
        words = ("{} {} ago", "il y a {} {}", "vor {} {}")
    else:
        words = ("in {} {}", "dans {} {}", "in {} {}")
    numbers = (english, french, german)
    return Adverbial(
        *map(str.format, words, numbers, unit),
        frozenset(),
    )


def action(rng, subject=None, tense="", row=None, spare=False):
    """Somebody or something does something.

    `spare` leaves out the adverbials of manner, place and time. The tenses
    "modal" and "modal past" are a present and a past with a modal verb.
    """
    row = row or pick(rng, usage.HUMAN_ACTIONS if subject else usage.EVERYTHING)
    verb, who, what, how, where = row
    subject = subject or people.person(rng, who)
    if not tense:
        tense = pick(rng, TENSES if who in usage.HUMAN else UNMODAL)
    if tense == "progressive" and verb.english in usage.MOMENTARY:
        tense = "present"
    if "modal" in tense and verb.english in usage.INVOLUNTARY:
        tense = "past"
    if tense == "past" and verb.english == verb.english_past:
        if agreement(subject) != "third":  # "they read" may be the present
            tense = "future"
    negation = negate(rng, subject, tense)
    words = dict(
        subject=subject,
        verb=verb,
        negation=negation,
        **tense_and_modal(rng, tense),
        **taking_part(rng, row, subject, bool(negation)),
    )
    if not spare:
        words |= circumstances(rng, subject, tense, negation, how, where)
        if verb.english in usage.LASTING:
            words.pop("frequency", None)
    if verb.english in usage.PLACE_NEEDED and "phrases" not in words:
        words["phrases"] = (things.place(rng, where, subject),)
    if verb.english in usage.GOING and where:
        words["phrases"] = (things.goal(rng, where),)
    return Clause(**words)


def deed(rng, subject, tense, row, negation=""):
    """An action with the place and the manner that its row wants."""
    clause = action(rng, subject, tense, row, spare=True)
    words = {"negation": negation, "frequency": None}
    thing = clause.object
    definite = 1.0 if row.verb.english in usage.UPON_THE else 0.5
    fresh = isinstance(thing, NounPhrase) and not thing.contents
    if fresh and "person" not in thing.noun.kinds:
        words["object"] = things.something(rng, thing.noun, negation, definite)
    elif fresh and "person" not in row.what:
        words["object"] = NounPhrase(thing.noun, pick(rng, ("the", "a")))
    if row.where and row.verb.english not in usage.GOING:
        words["phrases"] = (things.place(rng, row.where),)
    if row.how:
        words["manner"] = pick(rng, usage.adverbials("manner", row.how))
    return replace(clause, **words)


def tense_and_modal(rng, tense):
    """Fields of a `Clause`, of a tense or of "modal" and "modal past"."""
    if tense == "modal":
        return {"modal": pick(rng, MODALS)}
    if tense == "modal past":
        return {"modal": pick(rng, ("want", "must")), "tense": "past"}
    return {"tense": tense}


def negate(rng, subject, tense):
    """Now and then "not" or "never", but not of "every guest"."""
    if people.is_quantity(subject):
        return ""
    if tense == "present" and chance(rng, 0.06):
        return "never"
    if "modal" not in tense and chance(rng, 0.12):
        return "not"
    return ""


def taking_part(rng, row, subject, negated):
    """The object and the recipient."""
    verb, _, what, _, _ = row
    if not what:
        return {}
    noun = pick(rng, usage.nouns(what))
    if row in usage.TRANSFERS:
        return {
            "object": things.thing(rng, noun, subject, negated),
            "recipient": people.someone(rng, subject),
        }
    if verb.english in ("buy", "sell") and not negated and chance(rng, 0.12):
        if noun.kinds & {"fruit", "dish", "grocery"}:
            return {"object": things.weighed(rng, noun)}
    if "person" in noun.kinds and "person" in what:
        return {"object": people.someone(rng, subject)}
    thing = things.thing(rng, noun, subject, negated)
    if chance(rng, 0.06) and noun.kinds.isdisjoint(NOT_SOMEBODYS):
        thing = people.owned(rng, thing)
    return {"object": thing}


def circumstances(rng, subject, tense, negation, how, where):
    """Manner, place, and time or frequency; seldom all of them."""
    words = {}
    if how and not negation and chance(rng, 0.3):
        manner = pick(rng, usage.adverbials("manner", how))
        together = manner.english == "together"
        if not together or is_several(subject):
            words["manner"] = manner
    if where and chance(rng, 0.3 if words else 0.55):
        words["phrases"] = (things.place(rng, where, subject),)
    if negation == "never":
        return words
    if chance(rng, TIMED[tense] / (1 + len(words) / 3)):
        words["time"] = time(rng, tense)
        words["time_first"] = chance(rng, 0.35)
    elif tense == "present" and not negation and chance(rng, 0.4):
        words["frequency"] = pick(rng, OFTEN)
    return words


def state(rng, subject=None):
    """What holds for long: knows, likes, needs, has, lives."""
    row = pick(rng, usage.HUMAN_STATES if subject else usage.STATES)
    verb, who, what, _, where = row
    name = verb.english
    if who in usage.HUMAN:
        subject = subject or people.person(rng, who)
    else:
        subject = people.described(rng, pick(rng, usage.nouns(who)))
    negation = negate(rng, subject, "stative")
    if name in ("love", "hate"):
        negation = ""  # "Sie hasst keine Musik" would not do
    words = {}
    if where:
        words["phrases"] = (things.place(rng, where),)
    elif name == "belong to":
        words["object"] = people.someone(rng, subject)
    else:
        noun = pick(rng, usage.nouns(what))
        if "person" in noun.kinds:
            words["object"] = people.someone(rng, subject)
        elif name in usage.GENERIC:
            words["object"] = liked(rng, noun)
        elif name == "know":
            words["object"] = NounPhrase(noun, pick(rng, ("this", "the")))
        else:
            words["object"] = things.something(rng, noun, negation)
    return Clause(subject, verb, negation=negation, **words)


def liked(rng, noun):
    """What one likes: apples, music, the sea, this song."""
    if "tongue" in noun.kinds:
        return things.generic(noun)
    if "place" in noun.kinds:
        return NounPhrase(noun, "the")
    if chance(rng, 0.7):
        return things.generic(noun)
    return NounPhrase(noun, "this", adjectives=things.adjectives(rng, noun))


EVENTS = weighted(("leave", 3), ("arrive", 3), ("begin", 4))
HAPPENING = {
    "leave": ("rail",),
    "arrive": ("public", "plane"),
    "begin": ("event",),
}


def event(rng, tense=""):
    """A film begins, a train leaves or arrives."""
    name = pick(rng, EVENTS)
    noun = pick(rng, usage.nouns(HAPPENING[name]))
    subject = NounPhrase(noun, pick(rng, ("the", "the", "the", "this")))
    tense = tense or pick(rng, ("present", "past", "future"))
    words = {"tense": tense, "verb": VERBS[name]}
    if name == "arrive" and chance(rng, 0.3):
        words["manner"] = pick(
            rng, usage.adverbials("manner", ("early", "late"))
        )
    elif chance(rng, 0.6):
        words["time"] = clock(rng)
    elif tense != "present":
        words["time"] = time(rng, tense)
    return Clause(subject, **words)


def price(rng):
    """The shirt costs twenty euros."""
    noun = pick(rng, usage.nouns(("clothes", "valuable", "book", "ticket")))
    plural = "paired" in noun.kinds
    euros = NounPhrase(NOUNS["euro"], "bare", True, pick(rng, tuple(NUMERALS)))
    return Clause(
        NounPhrase(noun, pick(rng, ("the", "this")), plural),
        VERBS["cost"],
        object=euros,
    )


EXISTING_TENSES = weighted(("present", 9), ("past", 2))
HOW_MANY = weighted(
    ("a", 50), ("number", 25), ("many", 12), ("some", 8), ("no", 5)
)


def existence_of(rng, tense=""):
    """There is a bank near the station."""
    names, where = pick(rng, motives.EXISTING)
    noun = pick(rng, usage.nouns(names))
    kind = pick(rng, HOW_MANY)
    negation, number = "", 0
    if "mass" in noun.kinds:
        kind = "bare"
    elif kind == "number":
        kind, number = "bare", rng.randint(2, 12)
    elif kind == "no":
        kind, negation = "bare", "not"
    plural = kind not in ("a",) and "mass" not in noun.kinds
    there = NounPhrase(noun, kind, plural, number, things.adjectives(rng, noun))
    phrase = (
        things.nearby(rng) if where == ("near",) else things.place(rng, where)
    )
    return Clause(
        Pronoun("it"),
        VERBS["be"],
        object=there,
        complement=Existence(),
        negation=negation,
        tense=tense or pick(rng, EXISTING_TENSES),
        phrases=(phrase,),
    )
