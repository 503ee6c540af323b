"""French clauses and the noun phrases in them.

Both in one file, for a clause holds nouns, and a noun may hold a clause again:
"the man who sings".
"""

from dataclasses import replace

from translation.phrasebook.grammar import french_forms as form
from translation.phrasebook.grammar import french_nominals as noun
from translation.phrasebook.grammar import french_verb_groups as verbs
from translation.phrasebook.grammar.lexicon.numerals import NUMERALS
from translation.phrasebook.grammar.meaning import (
    Adverbial,
    Age,
    Existence,
    Gap,
    Name,
    NounPhrase,
    Pair,
    Pronoun,
    Quality,
    Role,
)

CONJUNCTIONS = {
    "because": "parce que",
    "when": "quand",
    "if": "si",
    "that": "que",
    "while": "pendant que",
}
BRIEF = ("bien", "mal")  # adverbs that precede a participle or infinitive


def clause(content, object_before=False):
    """Tokens of a clause; `object_before`: its object already stands there.

    The participle agrees with an object that stands before it.
    """
    tokens = []
    before = content.subordinate and content.subordinate.first
    if before:
        tokens += [*subordinate(content), ","]
    if content.time_first:
        tokens += [*prepositional(content.time), ","]
    if isinstance(content.complement, Existence):
        tokens.append("il")
    else:
        tokens += nominal(content.subject)
    tokens += verb_phrase(content, object_before)
    tokens += tail(content, object_before)
    if content.subordinate and not before:
        tokens += subordinate(content)
    return tokens


def subordinate(content):
    """A subordinate clause; "quand" takes the future of its main clause."""
    link = content.subordinate
    inner = link.clause
    if link.conjunction == "when" and content.tense == "future":
        inner = replace(inner, tense="future")
    return [CONJUNCTIONS[link.conjunction], *clause(inner)]


def verb_phrase(content, object_before=False):
    """Negation, clitics, finite verb, its adverbs, and the rest of the verb.

    "ne le voit pas souvent", "ne l'a pas vue", "ne veut pas le voir".
    """
    small = verbs.clitics(content)
    finite, rest = verbs.verb_group(content, small, object_before)
    negation = {"": [], "not": ["pas"], "never": ["jamais"]}
    tokens = ["ne"] if content.negation else []
    if not content.modal:
        tokens += small
    tokens += [finite, *negation[content.negation]]
    if content.frequency:
        tokens.append(content.frequency.french)
    if content.verb.french_particle:
        tokens.append(content.verb.french_particle)
    if content.manner and content.manner.french in BRIEF:
        tokens.append(content.manner.french)
    if content.modal:
        tokens += small
    return tokens + rest


def tail(content, object_before=False):
    """What follows the verb: manner, object, place, time, infinitives."""
    tokens = []
    manner = content.manner
    transport = manner and "transport" in manner.kinds
    if manner and not transport and manner.french not in BRIEF:
        tokens.append(manner.french)
    if content.complement:
        tokens += complement(content)
    tokens += objects(content, object_before)
    for phrase in content.phrases:
        tokens += prepositional(phrase)
    if transport:
        tokens.append(manner.french)
    if content.time and not content.time_first:
        tokens += prepositional(content.time)
    if content.infinitive:
        tokens.append(content.verb.french_object)
        tokens += infinitive(content.infinitive)
    if content.purpose:
        tokens += ["pour", *infinitive(content.purpose)]
    return tokens


def objects(content, object_before):
    """Object and recipient, unless they are weak pronouns or elsewhere.

    After a negation "un", "du" and "des" are "de": pas de pain.
    """
    tokens = []
    thing, recipient = content.object, content.recipient
    if thing and not (object_before or isinstance(thing, Pronoun | Gap)):
        governed = content.verb.french_object
        if governed and not content.infinitive:
            tokens += form.contract(
                governed, nominal(thing, after_de=governed == "de")
            )
        else:
            tokens += nominal(thing, negated=bool(content.negation))
    if recipient and not isinstance(recipient, Pronoun):
        tokens += form.contract("à", nominal(recipient))
    return tokens


def infinitive(content):
    """An infinitive with its clitics and all that follows."""
    brief = content.manner and content.manner.french in BRIEF
    adverb = [content.manner.french] if brief else []
    return [
        *adverb,
        *verbs.clitics(content),
        content.verb.french,
        *tail(content),
    ]


def complement(content):
    """What is said with "être" or "avoir"."""
    said = content.complement
    if isinstance(said, Quality):
        return quality(said, content.subject)
    if isinstance(said, Role):
        return [said.noun.french]
    if isinstance(said, Age):
        return [NUMERALS[said.years][1], "ans"]
    if isinstance(said, Existence):
        return []
    return [said.adverbial.french]


def quality(said, subject):
    """An adjective that agrees with the subject, compared or not."""
    _, feminine, plural = noun.agreement(subject)
    adjective = said.adjective
    more = form.COMPARATIVES.get(adjective.french)
    if said.degree == "more" and more:
        words = [form.agree(*more, feminine, plural)]
    else:
        word = form.agree(
            adjective.french, adjective.french_feminine, feminine, plural
        )
        degrees = {"": "", "very": "très", "too": "trop", "more": "plus"}
        words = [degrees.get(said.degree, "aussi"), word]
    if said.than:
        words += ["que", *nominal(said.than, stressed=True)]
    return words


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
    tokens = noun.core(phrase)
    kind = phrase.determiner
    if phrase.number and kind == "bare":
        pass
    elif kind == "bare" and after_de:
        pass  # besoin d'argent
    elif kind == "bare":
        tokens = noun.indefinite(phrase, tokens, negated)
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


def relative(meaning):
    """ "qui" for the subject, "que" for the object, "à qui" after "à"."""
    inner = meaning.clause
    if isinstance(inner.subject, Gap):
        pronoun = ["qui"]
    elif inner.verb.french_object == "à":
        pronoun = ["à", "qui"]
    else:
        pronoun = ["que"]
    return [*pronoun, *clause(inner)]
