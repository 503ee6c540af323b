"""Chooses clauses of being: tired, a doctor, in the kitchen, cold outside.

And of having, where French and German have (faim, Hunger).
"""

from dataclasses import replace

from translation.phrasebook.grammar.compose import (
    motives,
    people,
    things,
    usage,
)
from translation.phrasebook.grammar.compose.chance import chance, pick, weighted
from translation.phrasebook.grammar.compose.clauses import WHEN, price, time
from translation.phrasebook.grammar.lexicon.adjectives import ADJECTIVES
from translation.phrasebook.grammar.lexicon.adverbials import (
    ADVERBIALS,
    PREPOSITIONS,
)
from translation.phrasebook.grammar.lexicon.numerals import NUMERALS
from translation.phrasebook.grammar.lexicon.verbs import VERBS
from translation.phrasebook.grammar.meaning import (
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

BE = VERBS["be"]
TENSES = weighted(("present", 13), ("past", 5), ("future", 2))
DEGREES = weighted(("", 57), ("very", 28), ("too", 15))
STATES = tuple(a for (kind, _), a in ADVERBIALS.items() if kind == "state")
WEATHERS = ("rain", "rain", "snow", "cold", "hot")
FREQUENCIES = tuple(
    a for (kind, _), a in ADVERBIALS.items() if kind == "frequency"
)
RELATIVES = tuple(
    noun
    for noun in people.KIN
    if "several" not in noun.kinds and noun.english != "husband"
)
MALES = tuple(noun for noun in RELATIVES if "male" in noun.kinds)
MALE_NAMES = tuple(name for name in people.FIRST_NAMES if not name.female)
OWNED = frozenset(("clothes", "vehicle", "furniture", "pocket", "machine"))
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
TOO = frozenset(
    ADJECTIVES[name]
    for name in """boring difficult easy expensive dangerous big small high
    long short heavy old young hot cold warm fast slow tired busy ill lazy
    dirty""".split()
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
    for noun, suitable in usage.SAID_OF.items()
    if suitable and "person" not in noun.kinds and noun.english != "kilo"
)
PERSONAL = tuple(
    adjective
    for adjective in ADJECTIVES.values()
    if "person" in adjective.nouns or "adult" in adjective.nouns
)


def being(rng, subject, complement, tense="", negatable=True, **words):
    """A `Clause` with "be"; now and then negated, where that says something."""
    tense = tense or pick(rng, TENSES)
    negatable = negatable and not people.is_quantity(subject)
    negation = "not" if negatable and chance(rng, 0.12) else ""
    return Clause(
        subject,
        BE,
        complement=complement,
        tense=tense,
        negation=negation,
        **words,
    )


def degree_of(rng, adjective):
    """Plain, very or too, as the adjective allows."""
    if adjective not in GRADED:
        return ""
    degree = pick(rng, DEGREES)
    return "" if degree == "too" and adjective not in TOO else degree


def mood(rng, subject, tense=""):
    """She is very tired, he is hungry."""
    if chance(rng, 0.3):
        return being(rng, subject, State(pick(rng, STATES)), tense)
    adjective = pick(rng, usage.MOODS)
    degree = degree_of(rng, adjective)
    clause = being(rng, subject, Quality(adjective, degree), tense)
    plain = not degree and clause.tense == "present" and not clause.negation
    if plain and chance(rng, 0.15):
        return replace(clause, frequency=pick(rng, FREQUENCIES))
    return clause


def lasting(rng):
    """The tense of a quality that does not change."""
    return "past" if chance(rng, 0.25) else "present"


def character(rng, subject, tense=""):
    """She is clever, he is older than Anna."""
    tense = tense or lasting(rng)
    adjective = pick(rng, PERSONAL)
    if isinstance(subject, NounPhrase) and adjective in subject.adjectives:
        subject = replace(subject, adjectives=())
    if adjective in COMPARED and chance(rng, 0.4):
        degree = pick(rng, ("more", "as"))
        than = people.someone(rng, subject)
        return being(
            rng, subject, Quality(adjective, degree, than), tense, False
        )
    degree = degree_of(rng, adjective)
    return being(rng, subject, Quality(adjective, degree), tense)


def quality(rng, tense=""):
    """The soup is cold, these shoes are too expensive."""
    tense = tense or lasting(rng)
    noun = pick(rng, THINGS)
    adjective = pick(rng, usage.SAID_OF[noun])
    plural = "mass" not in noun.kinds and chance(rng, 0.25)
    plural = (plural or "paired" in noun.kinds) and "unique" not in noun.kinds
    subject = NounPhrase(noun, determiner(rng, noun), plural)
    if chance(rng, 0.15) and not noun.kinds.isdisjoint(OWNED):
        subject = people.owned(rng, subject)
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
    degree = degree_of(rng, adjective)
    return being(rng, subject, Quality(adjective, degree), tense)


def rivals(noun, adjective):
    """Nouns of a kind with this one that the adjective suits as well."""
    kinds = noun.kinds - {"place", "thing", "home"}
    return [
        other
        for other, suitable in usage.SAID_OF.items()
        if adjective in suitable
        and "mass" not in other.kinds
        and not kinds.isdisjoint(other.kinds)
    ]


def determiner(rng, noun):
    """The, this, or a possessive where people own such things."""
    if "unique" in noun.kinds:
        return "the"
    if noun.kinds.isdisjoint(OWNED):
        return pick(rng, ("the", "the", "the", "this"))
    return pick(rng, ("the", "the", "this", pick(rng, people.POSSESSIVES)))


def age(rng):
    """My sister is twenty years old."""
    relative = NounPhrase(pick(rng, RELATIVES), pick(rng, people.POSSESSIVES))
    named = pick(rng, people.FIRST_NAMES)
    pronoun = Pronoun(pick(rng, ("I", "he", "she")))
    subject = pick(rng, (relative, named, pronoun))
    kinds = subject.noun.kinds if isinstance(subject, NounPhrase) else ()
    least = 40 if "elder" in kinds else 16
    years = pick(rng, [n for n in NUMERALS if least <= n < 70])
    return being(rng, subject, Age(years), "present", False)


def profession(rng):
    """My brother is a doctor; of men only, as English leaves it open."""
    relative = NounPhrase(pick(rng, MALES), pick(rng, people.POSSESSIVES))
    named = pick(rng, MALE_NAMES)
    pronoun = Pronoun(pick(rng, ("I", "he")))
    subject = pick(rng, (relative, named, pronoun))
    tense = "past" if chance(rng, 0.2) else "present"
    return being(rng, subject, Role(pick(rng, JOBS)), tense)


def whereabouts(rng):
    """Anna is in the kitchen, the keys are on the table."""
    if chance(rng, 0.5):
        subject = people.person(rng)
        where = things.place(rng, motives.WHEREABOUTS, subject)
        words = {}
        tense = pick(rng, TENSES)
        if tense != "present" and chance(rng, 0.5):
            words["time"] = time(rng, tense)
            words["time_first"] = chance(rng, 0.3)
        return being(rng, subject, None, tense, phrases=(where,), **words)
    noun = pick(rng, usage.nouns(motives.LYING))
    plural = chance(rng, 0.3) or "paired" in noun.kinds
    kind = pick(rng, ("the", "the", *people.POSSESSIVES[1:]))
    furniture = NounPhrase(pick(rng, usage.nouns(("furniture",))))
    tops = NounPhrase(pick(rng, usage.nouns(("top", "chair"))))
    where = pick(
        rng,
        (
            Phrase(PREPOSITIONS["on"], tops),
            Phrase(PREPOSITIONS["under"], tops),
            Phrase(PREPOSITIONS["next to"], furniture),
            Phrase(PREPOSITIONS["behind"], furniture),
            things.place(rng, ("kitchen", "bedroom", "living_room", "office")),
        ),
    )
    subject = NounPhrase(noun, kind, plural)
    return being(rng, subject, None, phrases=(where,))


def weather_of(cause, tense):
    """It rains, it snows, it is cold, it was hot."""
    it = Pronoun("it")
    if cause in ("rain", "snow"):
        return Clause(it, VERBS[cause], tense=tense)
    said = Weather(ADVERBIALS["weather", cause])
    return Clause(it, BE, complement=said, tense=tense)


def state_of(subject, name, tense):
    """He is hungry."""
    said = State(ADVERBIALS["state", name])
    return Clause(subject, BE, complement=said, tense=tense)


def weather(rng, tense=""):
    """It is raining in Paris now, it was cold yesterday."""
    tense = tense or pick(rng, ("present", "past", "future"))
    clause = weather_of(pick(rng, WEATHERS), tense)
    words = {}
    if chance(rng, 0.6):
        moment = "progressive" if tense == "present" else tense
        words["time"] = pick(rng, WHEN[moment])
        words["time_first"] = chance(rng, 0.6)
    if chance(rng, 0.4):
        places = ("city", "country", "here", "outside")
        words["phrases"] = (pick(rng, usage.adverbials("place", places)),)
    if tense == "present" and not clause.complement:
        words["tense"] = "progressive"
    return replace(clause, **words)


def of_somebody(rng):
    """A person is tired, or clever, or older than another."""
    say = character if chance(rng, 0.5) else mood
    return say(rng, people.person(rng))


def anything(rng):
    """Any clause of being."""
    return pick(rng, KINDS)(rng)


KINDS = weighted(
    (quality, 34),
    (of_somebody, 28),
    (age, 6),
    (profession, 7),
    (whereabouts, 14),
    (weather, 8),
    (price, 4),
)
