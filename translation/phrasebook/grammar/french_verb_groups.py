"""The French verb in its clause: clitics, finite form, participle."""

from translation.phrasebook.grammar import french_forms as form
from translation.phrasebook.grammar import french_nominals as noun
from translation.phrasebook.grammar import french_verbs as conjugate
from translation.phrasebook.grammar.meaning import (
    Age,
    Existence,
    Gap,
    State,
    Weather,
    is_weak,
)

MODALS = {
    "want": "vouloir",
    "can": "pouvoir",
    "must": "devoir",
    "would like": "vouloir",
}


def clitics(content):
    """The weak pronouns before the verb: reflexive, direct, indirect."""
    small = []
    if content.verb.french_reflexive:
        small.append(form.REFLEXIVE[noun.agreement(content.subject)[0]])
    if is_weak(content.object):
        case = 3 if content.verb.french_object == "à" else 2
        small.append(form.PRONOUNS[content.object.english][case])
    if is_weak(content.recipient):
        small.append(form.PRONOUNS[content.recipient.english][3])
    if isinstance(content.complement, Existence):
        small.append("y")
    return small


def verb_of(content):
    """The French verb: être, but avoir faim, avoir vingt ans, faire froid."""
    if isinstance(content.complement, State | Age | Existence):
        return "avoir"
    if isinstance(content.complement, Weather):
        return "faire"
    return content.verb.french


def verb_group(content, small, object_before=False):
    """The finite verb, and its participle or infinitive if it has one."""
    verb = verb_of(content)
    person, feminine, plural = noun.agreement(content.subject)
    if isinstance(content.complement, Existence):
        person = conjugate.IL
    past = content.tense == "past"
    if content.modal:
        modal = MODALS[content.modal]
        tense = conjugate.imperfect if past else conjugate.present
        if content.modal == "would like":
            tense = conjugate.conditional
        return tense(modal, person), [verb]
    if content.tense == "future":
        return conjugate.future(verb, person), []
    if not past:
        return conjugate.present(verb, person), []
    if verb in ("être", "avoir", "faire"):
        return conjugate.imperfect(verb, person), []
    reflexive = content.verb.french_reflexive
    auxiliary = "avoir"
    if reflexive or verb in conjugate.WITH_ETRE:
        auxiliary = "être"
    else:
        feminine, plural = preceding_object(content, object_before)
    participle = conjugate.participle(verb)
    done = form.agree(participle, participle + "e", feminine, plural)
    return conjugate.present(auxiliary, person), [done]


def preceding_object(content, object_before):
    """Gender and number of a direct object that precedes the verb."""
    thing = content.object
    direct = thing and not content.verb.french_object
    if direct and (object_before or isinstance(thing, Gap) or is_weak(thing)):
        _, feminine, plural = noun.agreement(thing)
        return feminine, plural
    return False, False
