"""Puts a meaning into French.

Word order is subject, ne, clitics, finite verb, pas, adverb, participle or
infinitive, object, place, time. Past is the passé composé, and the imperfect
of être, avoir and the modals; the future is simple; questions are asked with
"est-ce que"; "you" is vous. A space stands before the question mark.
"""

from translation.phrasebook.grammar import french_forms as form
from translation.phrasebook.grammar import french_verb_groups as verbs
from translation.phrasebook.grammar import french_verbs as conjugate
from translation.phrasebook.grammar.french_clauses import clause, nominal, tail
from translation.phrasebook.grammar.meaning import (
    Name,
    NounPhrase,
    Pronoun,
    asks,
)
from translation.phrasebook.grammar.spelling import sentence

JOINTS = {"and": "et", "but": "mais"}


def utterance(meaning):
    """The French sentence of an `Utterance`."""
    opening = [meaning.opening.french, ","] if meaning.opening else []
    tokens = form.elide(opening + KINDS[meaning.kind](meaning))
    is_question = meaning.kind == "question"
    end = "?" if is_question else "."
    return sentence(tokens, end, space_before_end=is_question)


def statement(meaning):
    """One clause, or two joined by "et" or "mais"."""
    tokens = clause(meaning.clause)
    if meaning.also:
        comma = [","] if meaning.joint == "but" else []
        tokens += [*comma, JOINTS[meaning.joint], *clause(meaning.also)]
    return tokens


def question(meaning):
    """Asks with "est-ce que", but "Qui ...", and "Où est la gare ?"."""
    content = meaning.clause
    subject, thing = content.subject, content.object
    if meaning.asked:
        word = meaning.asked.french
        if content.verb.french == "être" and isinstance(
            subject, NounPhrase | Name
        ):
            finite, _ = verbs.verb_group(content, [])
            return [word, finite, *nominal(subject), *tail(content)]
        return [word, "est-ce que", *clause(content)]
    if asks(subject):
        return clause(content)
    if asks(thing):
        front = ["que"] if thing == Pronoun("what") else nominal(thing)
        if content.verb.french_object == "à":
            front = form.contract("à", front)
        return [*front, "est-ce que", *clause(content, object_before=True)]
    return ["est-ce que", *clause(content)]


def request(meaning):
    """ "Levez-vous", "Donnez-moi le livre", and the polite word last."""
    content = meaning.clause
    verb = content.verb
    order = conjugate.present(verb.french, conjugate.VOUS)
    if verb.french_reflexive:
        order += "-vous"
    recipient = content.recipient
    if isinstance(recipient, Pronoun):
        order += "-" + {"I": "moi"}.get(
            recipient.english, form.PRONOUNS[recipient.english][3]
        )
    return [order, *tail(content), ",", "s'il vous plaît"]


KINDS = {"statement": statement, "question": question, "request": request}
