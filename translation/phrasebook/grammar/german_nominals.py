"""German noun phrases: case, gender, endings, relatives."""

from translation.phrasebook.grammar import (
    german,  # a noun may hold a clause again
    german_verbs,
)
from translation.phrasebook.grammar import german_forms as form
from translation.phrasebook.grammar.german_forms import ACC, DAT, GEN, NOM
from translation.phrasebook.grammar.lexicon.numerals import NUMERALS
from translation.phrasebook.grammar.meaning import (
    Adverbial,
    Gap,
    Name,
    NounPhrase,
    Pair,
    Pronoun,
)

CASES = (NOM, ACC, DAT)


def person(meaning):
    """Agreement of the verb: "ich", "er" or "plural"."""
    if isinstance(meaning, Pronoun):
        return form.PRONOUNS[meaning.english][4]
    if isinstance(meaning, NounPhrase | Gap):
        return "plural" if meaning.plural else "er"
    return "plural" if isinstance(meaning, Pair) else "er"


def nominal(meaning, case, negated=False, with_relative=True):
    """Tokens of a nominal in a case; `negated` makes "kein" of "ein"."""
    if isinstance(meaning, NounPhrase):
        return noun_phrase(meaning, case, negated, with_relative)
    if isinstance(meaning, Pronoun):
        return [form.PRONOUNS[meaning.english][CASES.index(case)]]
    if isinstance(meaning, Name):
        return [meaning.text]
    if isinstance(meaning, Pair):
        first = nominal(meaning.first, case, negated)
        return [*first, "und", *nominal(meaning.second, case, negated)]
    return []


def prepositional(phrase):
    """An adverbial, or a preposition with its nominal: im Garten."""
    if isinstance(phrase, Adverbial):
        return [phrase.german]
    preposition = phrase.preposition
    tokens = nominal(phrase.nominal, preposition.german_case)
    return contract(preposition.german, tokens)


def contract(preposition, tokens):
    """im, zum, in der Nähe vom; as it is where nothing contracts."""
    head, space, last = preposition.rpartition(" ")
    if (last, tokens[0]) in form.CONTRACTIONS:
        joined = form.CONTRACTIONS[last, tokens[0]]
        return [head + space + joined, *tokens[1:]]
    return [preposition, *tokens]


def noun_phrase(phrase, case, negated, with_relative):
    """Determiner, number, adjectives, noun, genitive, relative."""
    noun, plural = phrase.noun, phrase.plural
    gender = "p" if plural else noun.german_gender
    kind = phrase.determiner
    if negated and takes_kein(phrase):
        kind = "no"
    tokens = []
    if isinstance(phrase.owner, Name):
        tokens.append(phrase.owner.text + "s")  # Annas Auto
        endings = form.STRONG
    else:
        article, endings = form.determiner(kind, case, gender)
        tokens.append(article)
    if phrase.number:
        tokens.append(NUMERALS[phrase.number][2])
    ending = endings[case, gender]
    tokens += [adj.german_stem + ending for adj in phrase.adjectives]
    tokens.append(form.noun(noun, case, plural))
    if phrase.contents:
        tokens += noun_phrase(phrase.contents, case, False, False)
    if phrase.owner and not isinstance(phrase.owner, Name):
        tokens += nominal(phrase.owner, GEN)
    if phrase.relative and with_relative:
        tokens += relative(phrase.relative)
    return [token for token in tokens if token]


def takes_kein(phrase):
    """Whether a negated noun phrase says "kein" instead of "nicht"."""
    return phrase.determiner in ("a", "bare", "generic") and not phrase.number


def is_indefinite(meaning):
    """Whether a nominal tells of something new: einen Apfel, drei Äpfel."""
    return isinstance(meaning, NounPhrase) and meaning.determiner in (
        "a",
        "bare",
        "some",
        "many",
    )


def is_definite_person(meaning):
    """Whether a nominal is somebody known, who stands early."""
    if isinstance(meaning, NounPhrase):
        person = "person" in meaning.noun.kinds
        return person and not is_indefinite(meaning)
    return isinstance(meaning, Name | Pair)


def relative(meaning):
    """A relative clause between commas: ", der in Wien wohnt,"."""
    clause, gap = meaning.clause, meaning.gap
    gender = "p" if gap.plural else gap.noun.german_gender
    if isinstance(clause.subject, Gap):
        pronoun = [form.RELATIVE[NOM, gender]]
    else:
        preposition, case = german_verbs.government(clause.verb)
        pronoun = [preposition, form.RELATIVE[case, gender]]
    return [",", *pronoun, *german.clause(clause, german.FINAL), ","]
