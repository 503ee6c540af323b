"""What a sentence means: a small tree, the same for the three languages.

A sentence is an `Utterance` around a `Clause`; a clause joins its verb to
nominals (`Pronoun`, `Name`, `NounPhrase`, `Pair`, `Gap`) and adverbials. The
tree holds entries of the dictionary and grammatical choices, never a word of
a language; `english.py`, `french.py` and `german.py` put it into words.
"""

from dataclasses import dataclass

from translation.phrasebook.grammar.lexicon.entries import (
    Adjective,
    Adverbial,
    Noun,
    Preposition,
    Verb,
)


@dataclass(frozen=True, slots=True)
class Pronoun:
    """I, you, he, she, we, they; it (of the weather), who, what.

    "You" is the formal address to one man; "I" is a man, "we" and "they" are
    not all women: what English leaves open is masculine in French.
    """

    english: str


@dataclass(frozen=True, slots=True)
class Name:
    """A first name, the same in every language."""

    text: str
    female: bool


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """A noun with its company.

    `determiner` is one of the, a, this, every, all, some, many, which, how
    many, a possessive (my, your, his, her, our, their), `bare` (bread,
    apples: some of it), `generic` (bread, apples: all there is), `owner`.
    """

    noun: Noun
    determiner: str = "the"
    plural: bool = False
    number: int = 0  # 2 or more; 0: none said
    adjectives: tuple[Adjective, ...] = ()
    owner: "Nominal | None" = None  # "the teacher's car"
    contents: "NounPhrase | None" = None  # "a cup of tea", bare
    relative: "Relative | None" = None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two nominals joined by "and"."""

    first: "Nominal"
    second: "Nominal"


@dataclass(frozen=True, slots=True)
class Gap:
    """The place of a noun that a relative or a question has moved."""

    noun: Noun
    plural: bool


Nominal = Pronoun | Name | NounPhrase | Pair | Gap


def asks(nominal):
    """Whether a nominal is what a question asks for: who, which boys."""
    if isinstance(nominal, Pronoun):
        return nominal.english in ("who", "what")
    return isinstance(nominal, NounPhrase) and nominal.determiner in (
        "which",
        "how many",
    )


def is_weak(nominal):
    """Whether a nominal is a pronoun without stress, such as him."""
    return isinstance(nominal, Pronoun) and not asks(nominal)


@dataclass(frozen=True, slots=True)
class Relative:
    """A relative clause; a `Gap` is its subject or its object."""

    clause: "Clause"
    gap: Gap


@dataclass(frozen=True, slots=True)
class Phrase:
    """A preposition and its nominal: "in the garden"."""

    preposition: Preposition
    nominal: Nominal


@dataclass(frozen=True, slots=True)
class Quality:
    """An adjective said of the subject.

    `degree`: "", very, too, more or as; the last two compare with `than`.
    """

    adjective: Adjective
    degree: str = ""
    than: Nominal | None = None


@dataclass(frozen=True, slots=True)
class State:
    """Hungry, afraid: `adverbial` gives "hungry | faim | Hunger"."""

    adverbial: Adverbial


@dataclass(frozen=True, slots=True)
class Role:
    """A profession: "is a doctor"."""

    noun: Noun


@dataclass(frozen=True, slots=True)
class Age:
    """So many years old."""

    years: int


@dataclass(frozen=True, slots=True)
class Weather:
    """ "It is cold": `adverbial` gives "cold | froid | kalt"."""

    adverbial: Adverbial


@dataclass(frozen=True, slots=True)
class Existence:
    """ "There is": what there is stands as the object of the clause."""


Complement = Quality | State | Role | Age | Weather | Existence


@dataclass(frozen=True, slots=True)
class Subordinate:
    """A clause led in by because, when, if, that or while."""

    conjunction: str
    clause: "Clause"
    first: bool = False  # before the main clause


@dataclass(frozen=True, slots=True)
class Clause:
    """A verb with all that belongs to it.

    `tense` is present, progressive, past or future; `negation` is "", not or
    never; `modal` is "", want, can, must, would like.
    """

    subject: Nominal
    verb: Verb
    object: Nominal | None = None
    recipient: Nominal | None = None
    complement: Complement | None = None
    tense: str = "present"
    negation: str = ""
    modal: str = ""
    frequency: Adverbial | None = None
    manner: Adverbial | None = None
    phrases: tuple[Phrase | Adverbial, ...] = ()
    time: Adverbial | Phrase | None = None
    time_first: bool = False
    infinitive: "Clause | None" = None  # "tries to sing"
    purpose: "Clause | None" = None  # "to buy bread"
    subordinate: Subordinate | None = None


@dataclass(frozen=True, slots=True)
class Utterance:
    """A whole sentence.

    `kind` is statement, question or request. A question may ask for an
    adverbial (`asked`: where, when, why, how); one that asks for its subject
    or object has `who`, `what` or a phrase with which or how many there.
    `also` is a second statement, joined by `joint` (and, but).
    """

    kind: str
    clause: Clause
    asked: Adverbial | None = None
    opening: Adverbial | None = None  # "Excuse me,"
    joint: str = ""
    also: Clause | None = None
