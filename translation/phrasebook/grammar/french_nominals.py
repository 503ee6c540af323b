"""French nouns: agreement, adjectives and their places, "du" and "des"."""

from translation.phrasebook.grammar import french_forms as form
from translation.phrasebook.grammar.french_verbs import IL, ILS
from translation.phrasebook.grammar.lexicon.numerals import NUMERALS
from translation.phrasebook.grammar.meaning import (
    Gap,
    Name,
    NounPhrase,
    Pronoun,
)


def agreement(meaning):
    """(person, feminine, plural) of a nominal."""
    if isinstance(meaning, NounPhrase | Gap):
        person = ILS if meaning.plural else IL
        return person, meaning.noun.french_gender == "f", meaning.plural
    if isinstance(meaning, Pronoun):
        # "vous" is one man; see `meaning.Pronoun`.
        _, person, *_ = form.PRONOUNS[meaning.english]
        plural = meaning.english in ("we", "they")
        return person, meaning.english == "she", plural
    if isinstance(meaning, Name):
        return IL, meaning.female, False
    feminine = agreement(meaning.first)[1] and agreement(meaning.second)[1]
    return ILS, feminine, True


def indefinite(phrase, tokens, reduced):
    """Bread, apples: du pain, de l'eau, des pommes, de petites pommes."""
    adjective_first = any(a.french_first for a in phrase.adjectives)
    if reduced or (phrase.plural and adjective_first):
        return ["de", *tokens]
    if phrase.plural:
        return ["des", *tokens]
    article = "la" if phrase.noun.french_gender == "f" else "le"
    return form.contract("de", [article, *tokens])


def core(phrase):
    """Number, adjectives, noun and contents: trois petites tasses de thé."""
    noun, plural = phrase.noun, phrase.plural
    feminine = noun.french_gender == "f"
    tokens = [noun.french_plural if plural else noun.french]
    for adjective in reversed(phrase.adjectives):
        masculine = adjective.french
        if adjective.french_first:
            if not plural and form.before_vowel(tokens[0]):
                masculine = adjective.french_vowel
            place = 0
        else:
            place = len(tokens)
        word = form.agree(
            masculine, adjective.french_feminine, feminine, plural
        )
        tokens.insert(place, word)
    if phrase.number:
        tokens.insert(0, NUMERALS[phrase.number][1])
    if phrase.contents:
        tokens += ["de", *core(phrase.contents)]
    return tokens
