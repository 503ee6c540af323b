"""Short ways to build meanings by hand and to say them.

`say` puts a clause into English, French and German.
"""

from translation.phrasebook.grammar import english, french, german
from translation.phrasebook.grammar.lexicon.adjectives import ADJECTIVES
from translation.phrasebook.grammar.lexicon.adverbials import (
    ADVERBIALS,
    NAMES,
    PLACES,
)
from translation.phrasebook.grammar.lexicon.nouns import NOUNS
from translation.phrasebook.grammar.lexicon.verbs import VERBS
from translation.phrasebook.grammar.meaning import (
    Clause,
    NounPhrase,
    Phrase,
    Pronoun,
    Utterance,
)

ME, YOU, HE, SHE, WE, THEY, IT, WHO, WHAT = map(
    Pronoun, "I you he she we they it who what".split()
)
ANNA, PAUL = NAMES["Anna"], NAMES["Paul"]


def say(clause, kind="statement", **words):
    meaning = Utterance(kind, clause, **words)
    return tuple(
        language.utterance(meaning) for language in (english, french, german)
    )


def np(noun, determiner="the", *adjectives, **words):
    words["adjectives"] = tuple(ADJECTIVES[a] for a in adjectives)
    return NounPhrase(NOUNS[noun], determiner, **words)


def some(noun, *adjectives, **words):
    return np(noun, "bare", *adjectives, **words)


def do(subject, verb, thing=None, **words):
    return Clause(subject, VERBS[verb], thing, **words)


def adverb(kind, english_words):
    return ADVERBIALS[kind, english_words]


def at(noun):
    return (Phrase(PLACES[noun][0], np(noun)),)


def to(noun):
    return (Phrase(PLACES[noun][1], np(noun)),)
