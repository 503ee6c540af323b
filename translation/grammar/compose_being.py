"""Chooses clauses of being: tired, a doctor, in the kitchen, the oldest.

And of having, where French and German have (faim, Hunger).
"""

from translation.grammar import compose_nominals as choose
from translation.grammar import usage
from translation.grammar.adjectives import ADJECTIVES
from translation.grammar.adverbials import ADVERBIALS, PREPOSITIONS
from translation.grammar.compose_clauses import NEVER_QUANTIFIED, time
from translation.grammar.compose_nominals import chance, pick, pick_weighted
from translation.grammar.meaning import (
    Age,
    Clause,
    NounPhrase,
    Phrase,
    Pronoun,
    Quality,
    Role,
    State,
    Weather,
)
from translation.grammar.verbs import VERBS

BE = VERBS["be"]
TENSES = (("present", 65), ("past", 25), ("future", 10))
STATES = tuple(a for (kind, _), a in ADVERBIALS.items() if kind == "state")
WEATHERS = tuple(a for (kind, _), a in ADVERBIALS.items() if kind == "weather")
FREQUENCIES = tuple(
    a for (kind, _), a in ADVERBIALS.items() if kind == "frequency"
)
JOBS = usage.nouns(("job",))
# Adjectives that know degrees, and those that compare.
GRADED = frozenset(
    ADJECTIVES[name]
    for name in """nice friendly famous clever polite rich poor lazy strong
    hardworking good bad beautiful pretty interesting boring important
    difficult easy expensive dangerous useful comfortable big small tall high
    long short heavy light old young modern clean dirty quiet hot warm cold
    fast slow tired ill happy sad angry worried busy""".split()
)
COMPARED = frozenset(
    ADJECTIVES[name]
    for name in """nice friendly famous clever polite rich poor lazy strong
    hardworking good beautiful pretty interesting important difficult easy
    expensive dangerous useful comfortable big small tall high long short heavy
    light old young modern quiet warm fast slow""".split()
)
# Things said to be so or so: nouns with an adjective, not persons.
THINGS = tuple(
    noun
    for noun, suitable in usage.SUITABLE.items()
    if suitable and "person" not in noun.kinds and noun.english != "kilo"
)
PERSONAL = tuple(
    adjective
    for adjective in ADJECTIVES.values()
    if "person" in adjective.nouns or "adult" in adjective.nouns
)


def being(rng, subject, complement, tense="", negatable=True, **words):
    tense = tense or pick_weighted(rng, TENSES)
    quantified = isinstance(subject, NounPhrase) and (
        subject.determiner in NEVER_QUANTIFIED
    )
    negation = ""
    if negatable and not quantified and chance(rng, 0.12):
        negation = "not"
    return Clause(
        subject,
        BE,
        complement=complement,
        tense=tense,
        negation=negation,
        **words,
    )


def mood(rng, subject, tense=""):
    """She is very tired, he is hungry."""
    if chance(rng, 0.3):
        return being(rng, subject, State(pick(rng, STATES)), tense)
    adjective = pick(rng, usage.MOODS)
    degree = ""
    if adjective in GRADED:
        degree = pick_weighted(rng, (("", 60), ("very", 25), ("too", 15)))
    words = {}
    clause = being(rng, subject, Quality(adjective, degree), tense)
    if not degree and clause.tense == "present" and not clause.negation:
        if chance(rng, 0.15):
            words["frequency"] = pick(rng, FREQUENCIES)
    if words:
        return being(rng, subject, clause.complement, "present", False, **words)
    return clause


def character(rng, subject, tense=""):
    """She is clever, he is older than Anna."""
    adjective = pick(rng, PERSONAL)
    if adjective in COMPARED and chance(rng, 0.4):
        degree = pick(rng, ("more", "as"))
        than = choose.someone(rng, subject)
        return being(
            rng, subject, Quality(adjective, degree, than), tense, False
        )
    degree = ""
    if adjective in GRADED:
        degree = pick_weighted(rng, (("", 60), ("very", 30), ("too", 10)))
    return being(rng, subject, Quality(adjective, degree), tense)


def quality(rng, tense=""):
    """The soup is cold, these shoes are too expensive."""
    noun = pick(rng, THINGS)
    adjective = pick(rng, usage.SUITABLE[noun])
    plural = "mass" not in noun.kinds and chance(rng, 0.25)
    plural = (plural or "paired" in noun.kinds) and "unique" not in noun.kinds
    subject = NounPhrase(noun, determiner(rng, noun), plural)
    compares = adjective in COMPARED and noun.kinds.isdisjoint(
        {"unique", "mass"}
    )
    if compares and chance(rng, 0.35):
        same = [n for n in rivals(noun, adjective) if n is not noun]
        if same:
            other = NounPhrase(pick(rng, same), "the", plural)
            degree = pick(rng, ("more", "more", "as"))
            said = Quality(adjective, degree, other)
            return being(rng, subject, said, tense, False)
    degree = ""
    if adjective in GRADED:
        degree = pick_weighted(rng, (("", 55), ("very", 28), ("too", 17)))
    return being(rng, subject, Quality(adjective, degree), tense)


def rivals(noun, adjective):
    """Nouns of the same first kind that the adjective suits as well."""
    return [
        other
        for other, suitable in usage.SUITABLE.items()
        if adjective in suitable
        and "mass" not in other.kinds
        and other.section == noun.section
    ]


def determiner(rng, noun):
    if "unique" in noun.kinds:
        return "the"
    options = [("the", 60), ("this", 22)]
    if noun.kinds & {"clothes", "vehicle", "furniture", "pocket", "machine"}:
        options.append((pick(rng, choose.POSSESSIVES), 18))
    return pick_weighted(rng, options)


def age(rng):
    """My sister is twenty years old."""
    subject = pick_weighted(
        rng,
        (
            (Pronoun(pick(rng, ("I", "he", "she"))), 4),
            (pick(rng, choose.FIRST_NAMES), 4),
            (choose.kin(rng), 4),
        ),
    )
    years = rng.choice([n for n in range(2, 70) if n % 10 != 1 or n == 11])
    if isinstance(subject, NounPhrase) and "elder" in subject.noun.kinds:
        years = max(years, 69 - years // 2)
        years -= years % 10 == 1
    return being(rng, subject, Age(years), "present", False)


def profession(rng):
    """My brother is a doctor; of men only, as English leaves it open."""
    males = [n for n in choose.KIN if "male" in n.kinds]
    subject = pick_weighted(
        rng,
        (
            (Pronoun(pick(rng, ("I", "he"))), 4),
            (pick(rng, [n for n in choose.FIRST_NAMES if not n.female]), 4),
            (NounPhrase(pick(rng, males), pick(rng, choose.POSSESSIVES)), 4),
        ),
    )
    tense = "past" if chance(rng, 0.2) else "present"
    return being(rng, subject, Role(pick(rng, JOBS)), tense)


def whereabouts(rng):
    """Anna is in the kitchen, the keys are on the table."""
    if chance(rng, 0.5):
        subject = choose.person(rng)
        where = choose.place(rng, usage.WHEREABOUTS, subject)
        words = {}
        tense = pick_weighted(rng, TENSES)
        if tense != "present" and chance(rng, 0.5):
            words["time"] = time(rng, tense)
            words["time_first"] = chance(rng, 0.3)
        return being(rng, subject, None, tense, phrases=(where,), **words)
    noun = pick(rng, usage.nouns(usage.LYING))
    plural = chance(rng, 0.3) or "paired" in noun.kinds
    kind = pick(rng, ("the", "the", *choose.POSSESSIVES[1:]))
    furniture = NounPhrase(pick(rng, usage.nouns(("furniture",))))
    tops = NounPhrase(pick(rng, usage.nouns(("top", "chair"))))
    where = pick(
        rng,
        (
            Phrase(PREPOSITIONS["on"], tops),
            Phrase(PREPOSITIONS["under"], tops),
            Phrase(PREPOSITIONS["next to"], furniture),
            Phrase(PREPOSITIONS["behind"], furniture),
            choose.place(rng, ("kitchen", "bedroom", "living_room", "office")),
        ),
    )
    subject = NounPhrase(noun, kind, plural)
    return being(rng, subject, None, phrases=(where,))


def weather(rng, tense="", when=True):
    """It is raining in Paris, it was very cold yesterday."""
    tense = tense or pick(rng, ("present", "past", "future"))
    words = {}
    if when and chance(rng, 0.6):
        moment = "progressive" if tense == "present" else tense
        words["time"] = time(rng, moment)
        words["time_first"] = chance(rng, 0.3)
    if when and chance(rng, 0.3):
        places = ("city", "country", "here", "outside")
        words["phrases"] = (pick(rng, usage.adverbials("place", places)),)
    it = Pronoun("it")
    if chance(rng, 0.45):
        said = Weather(pick(rng, WEATHERS))
        return being(rng, it, said, tense, **words)
    verb = VERBS[pick(rng, ("rain", "rain", "snow"))]
    if tense == "present" and when:
        tense = "progressive"
    return Clause(it, verb, tense=tense, **words)
