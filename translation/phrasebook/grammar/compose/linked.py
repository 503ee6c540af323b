"""Chooses sentences of more than one clause.

Because, if, when, while, that; relatives; "to buy bread"; and, but.
"""

from dataclasses import replace

from translation.phrasebook.grammar.compose import (
    being,
    clauses,
    motives,
    people,
    things,
    usage,
)
from translation.phrasebook.grammar.compose.chance import chance, pick
from translation.phrasebook.grammar.compose.reference import back_reference
from translation.phrasebook.grammar.lexicon.adjectives import ADJECTIVES
from translation.phrasebook.grammar.lexicon.nouns import NOUNS
from translation.phrasebook.grammar.lexicon.verbs import VERBS
from translation.phrasebook.grammar.meaning import (
    Clause,
    Gap,
    NounPhrase,
    Quality,
    Relative,
    Subordinate,
    Utterance,
)

MAIN_TENSES = ("present", "progressive", "past", "past", "future", "modal")


def statement(clause, **words):
    """An `Utterance` that states a clause with more words in it."""
    return Utterance("statement", replace(clause, **words))


def subject_to_take_up(rng):
    """Somebody whom a pronoun can take up."""
    while True:
        subject = people.person(rng)
        if back_reference(subject):
            return subject


def because(rng):
    """The boy is eating an apple because he is hungry."""
    tense = pick(rng, MAIN_TENSES)
    subject = subject_to_take_up(rng)
    main, cause = deed_and_cause(rng, subject, tense)
    if main.modal == "can":  # one can whatever the cause
        main = replace(main, modal="must")
    past = "past" if main.tense == "past" else "present"
    why = reason(rng, back_reference(subject), cause, past)
    if why.verb.english in ("rain", "snow") and past == "present":
        why = replace(why, tense="progressive")  # "because it is raining"
    return statement(main, subordinate=Subordinate("because", why))


def deed_and_cause(rng, subject, tense):
    """What somebody does or leaves undone, and the name of a cause."""
    hindered = chance(rng, 0.2) and not people.is_quantity(subject)
    table = motives.HINDRANCES if hindered else motives.CAUSES
    row, causes = pick(rng, table)
    if hindered:
        tense = "future" if "modal" in tense else tense
        main = clauses.deed(rng, subject, tense, row, negation="not")
    else:
        main = clauses.deed(rng, subject, tense, row)
    return main, pick(rng, causes)


def reason(rng, subject, cause, tense):
    """The clause that a cause (see `motives.CAUSES`) stands for."""
    if cause in ("rain", "snow", "cold", "hot"):
        return being.weather_of(cause, tense)
    if cause in ("hungry", "thirsty", "afraid"):
        return being.state_of(subject, cause, tense)
    if cause in ADJECTIVES:
        degree = "very" if chance(rng, 0.3) else ""
        said = Quality(ADJECTIVES[cause], degree)
        return being.being(rng, subject, said, tense, negatable=False)
    if cause == "money":
        some = NounPhrase(NOUNS["money"], "bare")
        if tense == "present":
            return Clause(subject, VERBS["need"], object=some)
        return Clause(
            subject, VERBS["have"], object=some, tense=tense, negation="not"
        )
    if cause == "duty":
        row, modal = pick(rng, motives.DUTIES), "must"
    elif cause.startswith("to_"):
        row, modal = usage.usage(f"travel | person | | | {cause}"), "want"
    else:
        row, modal = motives.TRAVELLING, "want"
    inner = clauses.deed(rng, subject, "present", row)
    return replace(inner, modal=modal, tense=tense)


def conditional(rng):
    """If it rains, we will stay at home."""
    subject = subject_to_take_up(rng)
    tense = pick(rng, ("future", "future", "present"))
    main, cause = deed_and_cause(rng, subject, tense)
    while main.verb.english in motives.UNINTENDED:
        main, cause = deed_and_cause(rng, subject, tense)
    if tense == "present":
        modal = pick(rng, ("can", "must"))
        modal = "must" if cause == "duty" else modal
        main = replace(main, modal="can" if main.negation else modal)
    condition = reason(rng, back_reference(subject), cause, "present")
    link = Subordinate("if", condition, chance(rng, 0.45))
    return statement(main, subordinate=link)


def temporal(rng):
    """When I am tired, I rest; she cried when the train left."""
    tense = pick(rng, ("present", "past", "past", "future"))
    subject = subject_to_take_up(rng)
    if chance(rng, 0.5):
        main, cause = deed_and_cause(rng, subject, tense)
        inner = "past" if main.tense == "past" else "present"
        moment = reason(rng, back_reference(subject), cause, inner)
    else:
        row = pick(rng, usage.MOMENTS)
        main = clauses.action(rng, subject, tense, row, spare=True)
        main = replace(main, negation="", frequency=None)
        inner = "past" if main.tense == "past" else "present"
        moment = arrival(rng, subject, inner)
    link = Subordinate("when", moment, chance(rng, 0.45))
    return statement(main, subordinate=link)


def arrival(rng, subject, tense):
    """The train arrives, the film begins, her father comes back."""
    if chance(rng, 0.6):
        event = clauses.event(rng, tense)
        return replace(event, time=None, manner=None)
    row = motives.COMING_BACK
    return clauses.deed(rng, people.kin_of(rng, subject), tense, row)


def simultaneous(rng):
    """Anna is reading while Paul is cooking."""
    one, two = rng.sample(people.FIRST_NAMES, 2)
    if chance(rng, 0.4):
        two = people.kin_of(rng, one)
    first = clauses.action(rng, one, "progressive", spare=True)
    second = clauses.action(rng, two, "progressive", spare=True)
    link = Subordinate("while", replace(second, negation=""))
    return statement(first, negation="", subordinate=link)


def opinion(rng):
    """I think that the film is interesting; she hopes that it will rain."""
    verb = VERBS[pick(rng, ("think", "believe", "say", "hope"))]
    subject = people.person(rng)
    content = hoped(rng) if verb.english == "hope" else thought(rng, subject)
    link = Subordinate("that", replace(content, time_first=False))
    return statement(Clause(subject, verb, subordinate=link))


def thought(rng, subject):
    """What may be the case."""
    kind = pick(rng, ("quality", "action", "weather", "mood"))
    if kind == "quality":
        return being.quality(rng, "present")
    if kind == "weather":
        return being.weather(rng, "future")
    other = people.someone(rng, subject)
    if kind == "mood":
        return being.mood(rng, other, "present")
    return clauses.action(rng, other, pick(rng, ("past", "future")))


def hoped(rng):
    """What may well come: good things."""
    kind = pick(rng, ("quality", "return", "happy"))
    if kind == "quality":
        nouns, adjectives = pick(rng, motives.HOPED)
        subject = NounPhrase(pick(rng, usage.nouns(nouns)))
        adjective = ADJECTIVES[pick(rng, adjectives)]
        said = Quality(adjective)
        return being.being(rng, subject, said, "future", negatable=False)
    other = people.kin(rng)
    if kind == "happy":
        said = Quality(ADJECTIVES[pick(rng, ("happy", "ready"))])
        return being.being(rng, other, said, "future", negatable=False)
    content = clauses.deed(rng, other, "future", motives.COMING_BACK)
    return replace(content, time=clauses.time(rng, "future"))


def with_relative(rng):
    """The man who lives in Paris is tired; I know the woman who ..."""
    if chance(rng, 0.5):
        return person_with_relative(rng)
    return thing_with_relative(rng)


def short_clause(rng, subject, tense):
    """A clause about a person, to stand inside another sentence."""
    if tense == "present" and chance(rng, 0.4):
        return clauses.state(rng, subject)
    return clauses.action(rng, subject, tense, spare=True)


def person_with_relative(rng):
    """The woman who is buying bread; the woman that Anna met."""
    noun = pick(rng, usage.people(("adult",)))
    plural = chance(rng, 0.25)
    gap = Gap(noun, plural)
    if chance(rng, 0.7):
        content = short_clause(rng, gap, pick(rng, ("present", "past")))
    else:
        row = pick(rng, usage.TOWARDS_PEOPLE)
        tense = pick(rng, ("past", "past", "future"))
        content = clauses.action(rng, None, tense, row, spare=True)
        content = replace(content, object=gap)
    content = replace(content, negation="", frequency=None)
    head = NounPhrase(noun, "the", plural, relative=Relative(content, gap))
    if chance(rng, 0.4):
        knower = pick(rng, people.PRONOUNS)
        verb = VERBS[pick(rng, ("know", "know", "like"))]
        return statement(Clause(knower, verb, object=head))
    say = pick(rng, (being.mood, being.character))
    return statement(say(rng, head))


def thing_with_relative(rng):
    """The book that Anna bought is interesting; I read the book that ..."""
    row = pick(rng, usage.WITH_THINGS)
    noun = pick(rng, usage.countable_things(row.what))
    plural = chance(rng, 0.25) or "paired" in noun.kinds
    gap = Gap(noun, plural)
    tense = pick(rng, ("past", "past", "past", "future"))
    content = clauses.action(rng, None, tense, row, spare=True)
    content = replace(content, object=gap, negation="", frequency=None)
    head = NounPhrase(noun, "the", plural, relative=Relative(content, gap))
    suitable = usage.SAID_OF[noun]
    if suitable and chance(rng, 0.6):
        said = Quality(pick(rng, suitable))
        return statement(being.being(rng, head, said, "present"))
    others = [r for r in usage.actions_upon(noun) if r.verb is not row.verb]
    other = pick(rng, others or (row,))
    tense = pick(rng, ("past", "future", "modal"))
    main = clauses.action(rng, None, tense, other, spare=True)
    return statement(main, object=head, negation="")


def purposeful(rng):
    """She goes to the market to buy apples."""
    going, errand = pick(rng, motives.ERRANDS)
    subject = people.person(rng)
    inner = clauses.deed(rng, subject, "present", errand)
    tense = pick(rng, ("present", "past", "future", "modal"))
    main = clauses.deed(rng, subject, tense, going)
    words = {}
    if chance(rng, 0.25) and not (main.modal and main.tense == "past"):
        moment = "modal" if main.modal else tense
        words = {"time": clauses.time(rng, moment), "time_first": True}
    return statement(main, purpose=inner, **words)


def attempt(rng):
    """He tries to open the door; she began to sing."""
    tries = chance(rng, 0.6)
    table = motives.ATTEMPTS if tries else motives.BEGINNINGS
    subject = people.person(rng)
    inner = clauses.deed(rng, subject, "present", pick(rng, table))
    if chance(rng, 0.5):
        inner = replace(inner, manner=None)
    tense = pick(rng, ("present", "past", "past", "future"))
    if tries and chance(rng, 0.3):
        tense = "progressive"
    verb = VERBS["try" if tries else "begin"]
    return statement(Clause(subject, verb, tense=tense, infinitive=inner))


def joined(rng):
    """Anna is reading and Paul is cooking; he likes tea, but she hates it."""
    one, two = people.person(rng), people.person(rng)
    while one == two or people.is_quantity(two):
        two = people.person(rng)
    if chance(rng, 0.5):
        first, second = contrast(rng, one, two)
        return Utterance("statement", first, joint="but", also=second)
    tense = pick(rng, ("progressive", "past", "future"))
    first = clauses.action(rng, one, tense, spare=True)
    second = clauses.action(rng, two, tense, spare=True)
    return Utterance("statement", first, joint="and", also=second)


def contrast(rng, one, two):
    """My mother likes fish, but we do not like meat."""
    section = pick(rng, LIKED)
    noun, other = (things.generic(pick(rng, section)) for _ in range(2))
    liking, hating, negation = pick(rng, LIKINGS)
    first = Clause(one, VERBS[liking], object=noun)
    second = Clause(two, VERBS[hating], object=other, negation=negation)
    return first, second


LIKED = tuple(
    usage.nouns((section,)) for section in ("food", "drink", "animal")
)
LIKINGS = (
    ("like", "hate", ""),
    ("love", "hate", ""),
    ("hate", "love", ""),
    ("like", "like", "not"),
)
