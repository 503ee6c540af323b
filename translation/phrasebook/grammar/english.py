"""Puts a meaning into English.

Word order is subject, operator, adverb, verb, object, manner, place, time.
What questions and "not" need of the verb is in `verb_group`.
"""

from dataclasses import replace

from translation.phrasebook.grammar import english_forms as form
from translation.phrasebook.grammar.lexicon.numerals import NUMERALS
from translation.phrasebook.grammar.meaning import (
    Age,
    Existence,
    Gap,
    Name,
    NounPhrase,
    Pair,
    Phrase,
    Pronoun,
    Quality,
    Role,
    asks,
)
from translation.phrasebook.grammar.spelling import sentence


def utterance(meaning):
    """The English sentence of an `Utterance`."""
    opening = [meaning.opening.english, ","] if meaning.opening else []
    tokens = opening + KINDS[meaning.kind](meaning)
    return sentence(tokens, "?" if meaning.kind == "question" else ".")


def statement(meaning):
    """One clause, or two: "The gardener hurried and we signed"."""
    tokens = clause(meaning.clause)
    if meaning.also:
        comma = [","] if meaning.joint == "but" else []
        tokens += [*comma, meaning.joint, *clause(meaning.also)]
    return tokens


def question(meaning):
    """Asks with the operator before the subject: "Where does he live"."""
    content = meaning.clause
    if meaning.asked:
        return [meaning.asked.english, *clause(content, inverted=True)]
    if asks(content.subject):
        return clause(content)
    if asks(content.object):
        front = nominal(content.object, "object")
        return [front, *clause(content, inverted=True, without_object=True)]
    return clause(content, inverted=True)


def request(meaning):
    """Asks without a subject: "please open the box"."""
    return ["please", meaning.clause.verb.english, *tail(meaning.clause)]


KINDS = {"statement": statement, "question": question, "request": request}


def clause(content, inverted=False, without_object=False):
    """Tokens of a clause; `inverted` is the order of questions."""
    content = with_no(content)
    tokens = []
    before = content.subordinate and content.subordinate.first
    if before:
        tokens += [*subordinate(content.subordinate), ","]
    if content.time_first:
        tokens += [adverbial(content.time), ","]
    if isinstance(content.complement, Existence):
        subject = "there"
    else:
        subject = nominal(content.subject, "subject")
    operator, main = verb_group(content, inverted)
    adverb = ["never"] if content.negation == "never" else []
    if content.frequency:
        adverb.append(content.frequency.english)
    if inverted:
        tokens += [operator, subject]
        if content.negation == "not":
            tokens.append("not")
    else:
        tokens += [subject, negated(operator, content.negation)]
    tokens += [*adverb, main, *tail(content, without_object)]
    if content.subordinate and not before:
        tokens += subordinate(content.subordinate)
    return tokens


def subordinate(link):
    """ "because he is hungry", in the order of a main clause."""
    return [link.conjunction, *clause(link.clause)]


def with_no(content):
    """There is no bread, there is no bank: "not" would do before "the"."""
    thing = content.object
    if (
        isinstance(content.complement, Existence)
        and content.negation == "not"
        and isinstance(thing, NounPhrase)
        and thing.determiner in ("bare", "a")
        and not thing.number
    ):
        thing = replace(thing, determiner="no")
        return replace(content, object=thing, negation="")
    return content


def negated(operator, negation):
    """is not, cannot; "never" stands elsewhere."""
    if negation != "not":
        return operator
    return "cannot" if operator == "can" else operator + " not"


def verb_group(content, inverted):
    """The operator ("", is, does, will, can) and the rest of the verb.

    Modals are operators but for "want"; "must" has its past from "have to".
    """
    verb, tense = content.verb.english, content.tense
    person = form.person(
        content.object
        if isinstance(content.complement, Existence)
        else content.subject
    )
    past = tense == "past"
    if content.modal == "can":
        return "can", verb
    if content.modal == "would like":
        return "would", "like to " + verb
    if content.modal == "must" and not past:
        return "must", verb
    if tense == "future":
        return "will", verb
    if tense == "progressive":
        return form.be(person), form.progressive(verb)
    if verb == "be" and not content.modal:
        return form.be(person, past), ""
    head, rest = verb, ""
    head_past = content.verb.english_past
    if content.modal:
        head = {"want": "want", "must": "have"}[content.modal]
        head_past = {"want": "wanted", "must": "had"}[content.modal]
        rest = " to " + verb
    if inverted or content.negation == "not":
        support = "did" if past else form.do(person)
        return support, head + rest
    finite = head_past if past else form.present(head, person)
    return "", finite + rest


def tail(content, without_object=False):
    """What follows the verb: object, manner, place, time, and clauses."""
    tokens = []
    if content.complement:
        tokens.append(complement(content.complement))
    if not without_object:
        tokens += objects(content)
    transport = content.manner and "transport" in content.manner.kinds
    if content.manner and not transport:
        tokens.append(content.manner.english)
    tokens += [adverbial(phrase) for phrase in content.phrases]
    if transport:
        tokens.append(content.manner.english)
    if content.time and not content.time_first:
        tokens.append(adverbial(content.time))
    for infinitive in (content.infinitive, content.purpose):
        if infinitive:
            tokens += ["to", infinitive.verb.english, *tail(infinitive)]
    return tokens


def objects(content):
    """ "gives him the book", but "gives the book to the man"."""
    thing = [nominal(content.object, "object")] if content.object else []
    if not content.recipient:
        return thing
    person = nominal(content.recipient, "object")
    pronoun = isinstance(content.recipient, Pronoun)
    if pronoun and content.verb.english not in form.TO_RECIPIENT:
        return [person, *thing]
    return [*thing, "to", person]


def adverbial(phrase):
    """yesterday; in the big kitchen."""
    if isinstance(phrase, Phrase):
        inner = nominal(phrase.nominal, "object")
        return f"{phrase.preposition.english} {inner}"
    return phrase.english


def complement(said):
    """What is said with "be": tired, a doctor, twenty years old."""
    if isinstance(said, Quality):
        return quality(said)
    if isinstance(said, Role):
        return form.with_article(said.noun.english)
    if isinstance(said, Age):
        return NUMERALS[said.years][0] + " years old"
    if isinstance(said, Existence):
        return ""
    return said.adverbial.english


def quality(said):
    """old, very old, older than the museum, as old as the museum."""
    adjective = said.adjective
    if said.degree in ("more", "as"):
        than = nominal(said.than, "object")
        if said.degree == "more":
            return f"{adjective.english_comparative} than {than}"
        return f"as {adjective.english} as {than}"
    return f"{said.degree} {adjective.english}".strip()


def nominal(meaning, case):
    """The words of a nominal; `case` matters to pronouns."""
    if isinstance(meaning, NounPhrase):
        return noun_phrase(meaning)
    if isinstance(meaning, Pronoun):
        return form.pronoun(meaning.english, case)
    if isinstance(meaning, Name):
        return meaning.text
    if isinstance(meaning, Pair):
        first, second = meaning.first, meaning.second
        return f"{nominal(first, case)} and {nominal(second, case)}"
    return ""


def noun_phrase(phrase):
    """ "my two old books that she reads"."""
    noun = phrase.noun
    words = [adjective.english for adjective in phrase.adjectives]
    words.append(noun.english_plural if phrase.plural else noun.english)
    if phrase.number:
        words.insert(0, NUMERALS[phrase.number][0])
    if phrase.contents:
        words += ["of", noun_phrase(phrase.contents)]
    text = " ".join(words)
    if phrase.owner:
        owner = nominal(phrase.owner, "subject")
        plural = form.person(phrase.owner) == "other"
        text = f"{form.possessive(owner, plural)} {text}"
    elif phrase.determiner == "a":
        text = form.with_article(text)
    else:
        determiner = form.determiner(phrase.determiner, phrase)
        text = f"{determiner} {text}".strip()
    if phrase.relative:
        text = " ".join([text, *relative(phrase.relative)])
    return text


def relative(meaning):
    """ "who" for people that are the subject, "that" for all else."""
    person = "person" in meaning.gap.noun.kinds
    as_subject = isinstance(meaning.clause.subject, Gap)
    pronoun = "who" if person and as_subject else "that"
    return [pronoun, *(word for word in clause(meaning.clause) if word)]
