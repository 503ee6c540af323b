"""What takes up somebody spoken of: pronouns and possessives."""

from translation.phrasebook.grammar.meaning import (
    Name,
    NounPhrase,
    Pair,
    Pronoun,
)

OF_PRONOUN = {
    "I": "my",
    "you": "your",
    "he": "his",
    "she": "her",
    "we": "our",
    "they": "their",
}


def possessive(subject):
    """ "his" for a man, "their" for several, None where it is unclear.

    A girl or a child has none: "das Mädchen" is neuter but a she.
    """
    if isinstance(subject, Pronoun):
        return OF_PRONOUN.get(subject.english)
    if isinstance(subject, Name):
        return "her" if subject.female else "his"
    if isinstance(subject, Pair):
        return "their"
    if not isinstance(subject, NounPhrase):
        return None
    if subject.determiner in ("every", "all", "many", "some"):
        return None
    if subject.plural:
        return "their"
    if "male" in subject.noun.kinds:
        return "his"
    return "her" if "female" in subject.noun.kinds else None


def back_reference(subject):
    """The pronoun that takes up a subject, or None where it is unclear."""
    if isinstance(subject, Pronoun):
        return None if subject.english == "who" else subject
    kind = possessive(subject)
    for english, owned in OF_PRONOUN.items():
        if owned == kind and not all_women(subject):
            return Pronoun(english)
    return None


def all_women(subject):
    """Several women are "they" but "elles", which we leave alone."""
    if isinstance(subject, Pair):
        return is_woman(subject.first) and is_woman(subject.second)
    plural = isinstance(subject, NounPhrase) and subject.plural
    return plural and subject.noun.french_gender == "f"


def is_woman(nominal):
    """Whether "she" can take up a name or a noun phrase."""
    if isinstance(nominal, Name):
        return nominal.female
    return nominal.noun.french_gender == "f"


def is_several(nominal):
    """Whether a nominal is grammatically several."""
    if isinstance(nominal, Pronoun):
        return nominal.english in ("we", "they")
    if isinstance(nominal, NounPhrase):
        return nominal.plural
    return isinstance(nominal, Pair)
