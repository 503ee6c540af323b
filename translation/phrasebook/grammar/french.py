"""Puts a meaning into French.

Word order is subject, ne, clitics, finite verb, pas, adverb, participle or
infinitive, object, place, time. Past is the passé composé, and the imperfect
of être, avoir and the modals; the future is simple; questions are asked with
"est-ce que"; "you" is vous. A space stands before the question mark.
"""

from dataclasses import replace

from translation.phrasebook.grammar import french_forms as form
from translation.phrasebook.grammar import french_nominals as noun
from translation.phrasebook.grammar import french_verbs as conjugate
from translation.phrasebook.grammar.lexicon.numerals import NUMERALS
from translation.phrasebook.grammar.meaning import (
    Age,
    Existence,
    Gap,
    Name,
    NounPhrase,
    Pronoun,
    Quality,
    Role,
    State,
    Weather,
    asks,
    is_weak,
)
from translation.phrasebook.grammar.spelling import sentence

CONJUNCTIONS = {
    "because": "parce que",
    "when": "quand",
    "if": "si",
    "that": "que",
    "while": "pendant que",
}
JOINTS = {"and": "et", "but": "mais"}
MODALS = {
    "want": "vouloir",
    "can": "pouvoir",
    "must": "devoir",
    "would like": "vouloir",
}
BRIEF = ("bien", "mal")  # adverbs that precede a participle or infinitive


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
            finite, _ = verb_group(content, [])
            return [word, finite, *noun.nominal(subject), *tail(content)]
        return [word, "est-ce que", *clause(content)]
    if asks(subject):
        return clause(content)
    if asks(thing):
        front = ["que"] if thing == Pronoun("what") else noun.nominal(thing)
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


def clause(content, object_before=False):
    """Tokens of a clause; `object_before`: its object already stands there.

    The participle agrees with an object that stands before it.
    """
    tokens = []
    before = content.subordinate and content.subordinate.first
    if before:
        tokens += [*subordinate(content), ","]
    if content.time_first:
        tokens += [*noun.prepositional(content.time), ","]
    if isinstance(content.complement, Existence):
        tokens.append("il")
    else:
        tokens += noun.nominal(content.subject)
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
    small = clitics(content)
    finite, rest = verb_group(content, small, object_before)
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
        tokens += noun.prepositional(phrase)
    if transport:
        tokens.append(manner.french)
    if content.time and not content.time_first:
        tokens += noun.prepositional(content.time)
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
                governed, noun.nominal(thing, after_de=governed == "de")
            )
        else:
            tokens += noun.nominal(thing, negated=bool(content.negation))
    if recipient and not isinstance(recipient, Pronoun):
        tokens += form.contract("à", noun.nominal(recipient))
    return tokens


def infinitive(content):
    """An infinitive with its clitics and all that follows."""
    brief = content.manner and content.manner.french in BRIEF
    adverb = [content.manner.french] if brief else []
    return [
        *adverb,
        *clitics(content),
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
        words += ["que", *noun.nominal(said.than, stressed=True)]
    return words
