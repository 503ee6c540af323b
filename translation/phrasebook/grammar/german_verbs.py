"""The German verb in its clause: finite form, closing parts, government."""

from translation.phrasebook.grammar import german_forms as form
from translation.phrasebook.grammar import german_nominals as noun
from translation.phrasebook.grammar.german_forms import ACC
from translation.phrasebook.grammar.meaning import Existence, Pronoun, State


def verb_group(content):
    """The finite verb and what closes the clause.

    A separable prefix is marked with "+": `closed` joins it again.
    """
    verb, tense = content.verb, content.tense
    person = noun.person(content.subject)
    if isinstance(content.complement, Existence):
        return existence(tense)
    if isinstance(content.complement, State):
        return possession(tense, person)
    infinitive = verb.german_prefix + verb.german
    if content.modal:
        time = "past" if tense == "past" else "present"
        forms = form.MODALS[content.modal, time]
        return forms[("ich", "er", "plural").index(person)], [infinitive]
    if tense == "future":
        return form.WILL[person], [infinitive]
    if tense != "past":
        prefix = verb.german_prefix
        closing = [prefix + "+"] if prefix else []
        return form.present(verb, person), closing
    if verb.german in form.PRETERITE:
        return form.PRETERITE[verb.german][person == "plural"], []
    auxiliary = form.AUXILIARY[verb.german_auxiliary][person]
    return auxiliary, [verb.german_participle]


def existence(tense):
    """es gibt, es gab, es wird geben."""
    if tense == "future":
        return "wird", ["geben"]
    return ("gab" if tense == "past" else "gibt"), []


def possession(tense, person):
    """Hat Hunger: states are had in German, not been."""
    if tense == "future":
        return form.WILL[person], ["haben"]
    if tense == "past":
        return form.PRETERITE["haben"][person == "plural"], []
    return form.AUXILIARY["haben"][person], []


def reflexive_pronoun(subject):
    """mich, uns, sich."""
    if isinstance(subject, Pronoun):
        return form.PRONOUNS[subject.english][3]
    return "sich"


def government(verb):
    """(preposition or "", case) of the object of a verb."""
    preposition, _, case = verb.german_object.rpartition(" ")
    return preposition, case or ACC
