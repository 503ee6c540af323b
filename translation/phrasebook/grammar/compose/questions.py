"""Chooses questions and requests."""

from dataclasses import replace

from translation.phrasebook.grammar.compose import (
    being,
    clauses,
    motives,
    people,
    usage,
)
from translation.phrasebook.grammar.compose.chance import chance, pick, weighted
from translation.phrasebook.grammar.lexicon.adverbials import ADVERBIALS
from translation.phrasebook.grammar.lexicon.verbs import VERBS
from translation.phrasebook.grammar.meaning import (
    Clause,
    NounPhrase,
    Pronoun,
    Utterance,
)

WHERE, WHEN, WHY = (ADVERBIALS["wh", w] for w in ("where", "when", "why"))
EXCUSE = ADVERBIALS["opening", "Excuse me"]
TENSES = ("present", "progressive", "past", "past", "future")
POLITE_OPENING = 0.3
WHETHER = weighted(("action", 10), ("being", 5), ("there", 3), ("state", 2))


def asked_person(rng):
    """Whom a question is about: mostly you."""
    someone = Pronoun("you") if chance(rng, 0.4) else people.person(rng)
    return Pronoun("you") if someone == Pronoun("I") else someone


def positive(clause, **words):
    """The clause with nothing that a question does not ask."""
    words = {"negation": "", "frequency": None, "time_first": False} | words
    return replace(clause, **words)


def yes_or_no(rng):
    """Does she speak? Is the soup cold? Is there a bank near here?"""
    kind = pick(rng, WHETHER)
    opening = None
    if kind == "being":
        content = being.anything(rng)
        if content.subject == Pronoun("I"):
            content = replace(content, subject=Pronoun("you"))
    elif kind == "there":
        content = clauses.existence_of(rng)
        opening = EXCUSE if chance(rng, POLITE_OPENING) else None
    elif kind == "state":
        content = clauses.state(rng, asked_person(rng))
    else:
        content = clauses.action(rng, asked_person(rng))
    return Utterance("question", positive(content), opening=opening)


def where(rng):
    """Where is the station? Where did she buy the coat?"""
    if chance(rng, 0.5):
        row = pick(rng, usage.PLACED)
        content = clauses.action(rng, asked_person(rng), "", row, spare=True)
        return Utterance("question", positive(content, phrases=()), asked=WHERE)
    noun = pick(rng, usage.nouns(motives.SOUGHT))
    kind = "the"
    if "place" not in noun.kinds:
        kind = pick(rng, people.POSSESSIVES)
    content = Clause(
        NounPhrase(noun, kind, "paired" in noun.kinds), VERBS["be"]
    )
    opening = EXCUSE if chance(rng, POLITE_OPENING) else None
    return Utterance("question", content, asked=WHERE, opening=opening)


def when(rng):
    """When does the train leave? When did you sign the contract?"""
    if chance(rng, 0.4):
        content = replace(clauses.event(rng), time=None, manner=None)
    else:
        tense = pick(rng, ("past", "future"))
        content = clauses.action(rng, asked_person(rng), tense, spare=True)
    return Utterance("question", positive(content), asked=WHEN)


def why(rng):
    """Why are you crying? Why did she not come?"""
    content = clauses.action(rng, asked_person(rng), "", spare=True)
    if content.negation == "never" or content.frequency:
        content = positive(content)
    return Utterance("question", content, asked=WHY)


def who(rng):
    """Who is singing? Who did you meet?"""
    tense = pick(rng, TENSES)
    if chance(rng, 0.65):
        content = clauses.action(rng, Pronoun("who"), tense)
    else:
        row = pick(rng, usage.TOWARDS_PEOPLE)
        subject = asked_person(rng)
        content = clauses.action(rng, subject, tense, row, spare=True)
        content = replace(content, object=Pronoun("who"))
    return Utterance("question", positive(content))


def what(rng):
    """What does she read? Which book, how many books?"""
    row = pick(rng, usage.WITH_THINGS)
    noun = pick(rng, usage.countable_things(row.what))
    subject = asked_person(rng)
    content = clauses.action(rng, subject, pick(rng, TENSES), row, spare=True)
    kind = pick(rng, ("what", "which", "which several", "how many"))
    plural = kind not in ("which",) or "paired" in noun.kinds
    asked = NounPhrase(noun, kind.removesuffix(" several"), plural)
    if kind == "what":
        asked = Pronoun("what")
    return Utterance("question", positive(content, object=asked))


def request(rng):
    """Please close the door. Please bring me a glass of water."""
    row = pick(rng, motives.REQUESTS)
    content = clauses.deed(rng, Pronoun("you"), "present", row)
    words = {}
    if content.manner and row.what and chance(rng, 0.6):
        words["manner"] = None
    thing = content.object
    if row.verb.english in motives.GIVING:
        words["recipient"] = Pronoun(pick(rng, ("I", "I", "we")))
    elif isinstance(thing, NounPhrase):
        kind = "this" if chance(rng, 0.2) else "the"
        words["object"] = NounPhrase(
            thing.noun, kind, thing.plural, adjectives=thing.adjectives
        )
    return Utterance("request", replace(content, **words))
