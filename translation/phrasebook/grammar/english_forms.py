"""English forms: verbs, pronouns, articles, possessives."""

from functools import cache

from translation.phrasebook.grammar.meaning import (
    Gap,
    NounPhrase,
    Pair,
    Pronoun,
)

VOWELS = "aeiou"
# Spelt with a vowel but said with a consonant, and the other way round.
A_BEFORE = ("university", "useful", "euro", "one")
AN_BEFORE = ("hour",)
DOUBLING = ("forget", "travel", "begin")  # stressed or British: forgetting
TO_RECIPIENT = ("explain",)  # not "explain him the problem"
OBJECT = {
    "I": "me",
    "he": "him",
    "she": "her",
    "we": "us",
    "they": "them",
    "who": "who",
}


def pronoun(english, case):
    """I or me. "You", "it" and "what" do not change."""
    return OBJECT.get(english, english) if case == "object" else english


def person(nominal):
    """Agreement of the verb: "I", "third" (singular) or "other"."""
    if isinstance(nominal, Pronoun):
        if nominal.english == "I":
            return "I"
        plural = nominal.english in ("you", "we", "they")
    elif isinstance(nominal, NounPhrase | Gap):
        plural = nominal.plural
    else:
        plural = isinstance(nominal, Pair)
    return "other" if plural else "third"


def be(who, past=False):
    """Forms of "be" for a `person`."""
    if past:
        return "were" if who == "other" else "was"
    return {"I": "am", "third": "is", "other": "are"}[who]


def do(who):
    """Forms of "do" for a `person`."""
    return "does" if who == "third" else "do"


@cache
def present(verb, who):
    """buys, watches, carries, goes, has; a particle stays: looks for."""
    if who != "third":
        return verb
    head, space, particle = verb.partition(" ")
    if head == "have":
        head = "has"
    elif head.endswith("y") and head[-2] not in VOWELS:
        head = head[:-1] + "ies"
    elif head.endswith(("s", "x", "ch", "sh", "o")):
        head += "es"
    else:
        head += "s"
    return head + space + particle


@cache
def progressive(verb):
    """opening, writing, running; a particle stays: looking for."""
    head, space, particle = verb.partition(" ")
    doubling = head in DOUBLING or (
        sum(letter in VOWELS for letter in head) == 1
        and head[-2] in VOWELS
        and head[-1] not in "wxy" + VOWELS
    )
    if doubling:
        head += head[-1]
    elif head.endswith("e") and not head.endswith("ee"):
        head = head[:-1]
    return head + "ing" + space + particle


def with_article(words):
    """ "a book", "an apple", "a university"."""
    vowel = words[0].lower() in VOWELS and not words.startswith(A_BEFORE)
    return ("an " if vowel or words.startswith(AN_BEFORE) else "a ") + words


def determiner(kind, phrase):
    """The determiner of a noun phrase, "" where English has none."""
    if kind in ("bare", "generic"):
        return ""
    if kind == "this":
        return "these" if phrase.plural else "this"
    if kind == "all":
        return "all the"
    if kind == "how many":
        return "how many" if phrase.plural else "how much"
    return kind


def possessive(owner, plural):
    """the boss's, the teachers', the children's."""
    return owner + ("'" if plural and owner.endswith("s") else "'s")
