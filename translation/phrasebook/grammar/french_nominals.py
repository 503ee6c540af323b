"""French noun phrases: articles, adjectives and their places, relatives."""

from translation.phrasebook.grammar import (
    french,  # a noun may hold a clause again
)
from translation.phrasebook.grammar import french_forms as form
from translation.phrasebook.grammar.french_verbs import IL, ILS
from translation.phrasebook.grammar.lexicon.numerals import NUMERALS
from translation.phrasebook.grammar.meaning import (
    Adverbial,
    Gap,
    Name,
    NounPhrase,
    Pair,
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


def nominal(meaning, negated=False, after_de=False, stressed=False):
    """Tokens of a nominal, before elision.

    `negated`: an object after "pas"; `after_de`: after the preposition "de".
    """
    if isinstance(meaning, NounPhrase):
        return noun_phrase(meaning, negated, after_de)
    if isinstance(meaning, Pronoun):
        return [form.PRONOUNS[meaning.english][4 if stressed else 0]]
    if isinstance(meaning, Name):
        return [meaning.text]
    if isinstance(meaning, Pair):
        first = nominal(meaning.first, negated, after_de)
        return [*first, "et", *nominal(meaning.second, negated, after_de)]
    return []


def prepositional(phrase):
    """An adverbial, or a preposition with its nominal: au marché.

    "À" stands before the definite article only: dans une gare.
    """
    if isinstance(phrase, Adverbial):
        return [phrase.french]
    preposition, inner = phrase.preposition.french, phrase.nominal
    after_de = preposition.rpartition(" ")[2] == "de"
    tokens = nominal(inner, after_de=after_de, stressed=True)
    return form.contract(preposition, tokens)


def noun_phrase(phrase, negated, after_de):
    """Tokens with the article: le, des, and "de" where negation asks it."""
    tokens = core(phrase)
    kind = phrase.determiner
    if phrase.number and kind == "bare":
        pass
    elif kind == "bare" and after_de:
        pass  # besoin d'argent
    elif kind == "bare":
        tokens = indefinite(phrase, tokens, negated)
    elif kind == "a" and negated:
        tokens = ["de", *tokens]
    else:
        feminine = phrase.noun.french_gender == "f"
        article = form.determiner(kind, feminine, phrase.plural, tokens[0])
        tokens = [article, *tokens]
    if phrase.owner:
        tokens += form.contract("de", nominal(phrase.owner))
    if phrase.relative:
        tokens += relative(phrase.relative)
    return tokens


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


def relative(meaning):
    """ "qui" for the subject, "que" for the object, "à qui" after "à"."""
    clause = meaning.clause
    if isinstance(clause.subject, Gap):
        pronoun = ["qui"]
    elif clause.verb.french_object == "à":
        pronoun = ["à", "qui"]
    else:
        pronoun = ["que"]
    return [*pronoun, *french.clause(clause)]
