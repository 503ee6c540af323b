"""Chooses clauses: who does what, when and where, as `usage.py` allows."""

from translation.grammar import compose_nominals as choose
from translation.grammar import usage
from translation.grammar.adverbials import ADVERBIALS
from translation.grammar.compose_nominals import chance, pick, pick_weighted
from translation.grammar.english_forms import person as agreement
from translation.grammar.entries import Adverbial
from translation.grammar.meaning import Clause, NounPhrase, Pronoun
from translation.grammar.nouns import NOUNS
from translation.grammar.numerals import NUMERALS
from translation.grammar.verbs import VERBS

TENSES = (
    ("present", 28),
    ("progressive", 14),
    ("past", 30),
    ("future", 13),
    ("modal", 15),
)
UNMODAL = TENSES[:-1]
MODALS = (("want", 10), ("can", 6), ("must", 6), ("would like", 6))
HUMAN = (("person",), ("adult",))


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
}
# How often a clause says when; the rest of the present says how often.
TIMED = {
    "present": 0.4,
    "progressive": 0.5,
    "past": 0.5,
    "future": 0.5,
    "modal": 0.3,
}
OFTEN = tuple(a for (kind, _), a in ADVERBIALS.items() if kind == "frequency")
UNITS = (
    ("days", "jours", "Tagen"),
    ("weeks", "semaines", "Wochen"),
    ("months", "mois", "Monaten"),
    ("years", "ans", "Jahren"),
)
ALL_ROWS = (
    usage.ACTIONS
    + usage.ACTIONS
    + usage.TRANSFERS
    + usage.TRANSFERS
    + usage.MOVES
    + usage.MOVES
    + usage.MOVES
)
NEVER_QUANTIFIED = ("every", "all", "many", "some")


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

    `spare` leaves out the adverbials of manner, place and time. A tense of
    "modal" is a present with a modal verb.
    """
    row = row or pick(rng, usage.HUMAN_ACTIONS if subject else ALL_ROWS)
    verb, who, what, how, where = row
    subject = subject or choose.person(rng, who)
    tense = tense or pick_weighted(rng, TENSES if who in HUMAN else UNMODAL)
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
    if verb.english in usage.GOING:
        words["phrases"] = (choose.goal(rng, where),)
    return Clause(**words)


def tense_and_modal(rng, tense):
    if tense == "modal":
        modal = pick_weighted(rng, MODALS)
        past = modal in ("want", "must") and chance(rng, 0.3)
        return {"modal": modal, "tense": "past" if past else "present"}
    return {"tense": tense}


def negate(rng, subject, tense):
    """Now and then "not" or "never", but not of "every guest"."""
    if isinstance(subject, NounPhrase) and (
        subject.determiner in NEVER_QUANTIFIED or subject.number
    ):
        return ""
    if tense == "present" and chance(rng, 0.06):
        return "never"
    if tense != "modal" and chance(rng, 0.12):
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
            "object": choose.thing(rng, noun, subject, negated),
            "recipient": choose.someone(rng, subject),
        }
    if verb.english in ("buy", "sell") and not negated and chance(rng, 0.12):
        if noun.kinds & {"fruit", "dish", "grocery"}:
            return {"object": choose.weighed(rng, noun)}
    if "person" in noun.kinds and "person" in what:
        return {"object": choose.someone(rng, subject)}
    return {"object": choose.thing(rng, noun, subject, negated)}


def circumstances(rng, subject, tense, negation, how, where):
    """Manner, place, and time or frequency; seldom all of them."""
    words = {}
    manners = usage.adverbials("manner", how)
    if manners and chance(rng, 0.3):
        manner = pick(rng, manners)
        together = manner.english == "together"
        if not together or choose.is_several(subject):
            words["manner"] = manner
    if where and chance(rng, 0.2 if words else 0.4):
        words["phrases"] = (choose.place(rng, where, subject),)
    if negation == "never":
        return words
    if chance(rng, TIMED[tense] / (1 + len(words) / 2)):
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
    if who in HUMAN:
        subject = subject or choose.person(rng, who)
    else:
        subject = choose.described(rng, pick(rng, usage.nouns(who)))
    negation = negate(rng, subject, "stative")
    words = {}
    if where:
        words["phrases"] = (choose.place(rng, where),)
    elif name == "belong to":
        words["object"] = choose.someone(rng, subject)
    else:
        noun = pick(rng, usage.nouns(what))
        if "person" in noun.kinds:
            words["object"] = choose.someone(rng, subject)
        elif name in usage.GENERIC:
            words["object"] = liked(rng, noun)
        elif name == "know":
            words["object"] = NounPhrase(noun, pick(rng, ("this", "the")))
        else:
            words["object"] = choose.thing(rng, noun, subject, negation)
    return Clause(subject, verb, negation=negation, **words)


def liked(rng, noun):
    """What one likes: apples, music, the sea, this song."""
    if "tongue" in noun.kinds:
        return choose.generic(noun)
    if "place" in noun.kinds:
        return NounPhrase(noun, "the")
    if chance(rng, 0.7):
        return choose.generic(noun)
    return NounPhrase(noun, "this", adjectives=choose.adjectives(rng, noun))


def event(rng, tense=""):
    """A film begins, a train leaves or arrives."""
    departs = chance(rng, 0.6)
    noun = pick(
        rng, usage.nouns(("public", "plane") if departs else ("event",))
    )
    name = pick(rng, ("leave", "arrive")) if departs else "begin"
    subject = NounPhrase(noun, pick_weighted(rng, (("the", 6), ("this", 2))))
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
    noun = pick(rng, usage.nouns(("clothes", "valuable", "text", "ticket")))
    plural = "paired" in noun.kinds
    euros = NounPhrase(NOUNS["euro"], "bare", True, pick(rng, tuple(NUMERALS)))
    return Clause(
        NounPhrase(noun, pick(rng, ("the", "this")), plural),
        VERBS["cost"],
        object=euros,
    )


def existence_of(rng, tense=""):
    """There is a bank near the station."""
    names, where = pick(rng, usage.EXISTING)
    noun = pick(rng, usage.nouns(names))
    kind = pick_weighted(
        rng, (("a", 50), ("number", 25), ("many", 12), ("some", 8), ("no", 5))
    )
    negation, number = "", 0
    if "mass" in noun.kinds:
        kind = "bare"
    elif kind == "number":
        kind, number = "bare", rng.randint(2, 12)
    elif kind == "no":
        kind, negation = "bare", "not"
    plural = kind not in ("a",) and "mass" not in noun.kinds
    there = NounPhrase(noun, kind, plural, number, choose.adjectives(rng, noun))
    phrase = (
        choose.nearby(rng) if where == ("near",) else choose.place(rng, where)
    )
    return Clause(
        Pronoun("it"),
        VERBS["be"],
        object=there,
        complement=usage.EXISTENCE,
        negation=negation,
        tense=tense or pick_weighted(rng, (("present", 9), ("past", 2))),
        phrases=(phrase,),
    )
