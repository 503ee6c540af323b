"""Entries of the dictionary, and how a line of a table becomes one.

Every table of the dictionary is plain text, one entry a line, columns divided
by `|`: English, French, German, and what else the table wants; an entry too
long for its line goes on below, after ` |`. A line that starts with `#` names
the kinds of the entries below it, for instance `# food mass`. Entries are
compared by identity: each is made once.
"""

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Preposition:
    """A preposition; `german_case` is the case that it governs."""

    english: str
    french: str
    german: str
    german_case: str


@dataclass(frozen=True, eq=False)
class Noun:
    """A noun with its gender and its irregular forms.

    A weak German noun ("der Junge, den Jungen") is written with a star.
    """

    english: str
    english_plural: str
    french: str
    french_plural: str
    french_gender: str  # m or f
    german: str
    german_plural: str
    german_gender: str  # m, f or n
    german_weak: bool
    section: str  # the first of the kinds
    kinds: frozenset


@dataclass(frozen=True, eq=False)
class Adjective:
    """An adjective; `french_first` ones stand before the noun in French."""

    english: str
    english_comparative: str
    french: str  # masculine
    french_feminine: str
    french_vowel: str  # masculine before a vowel: bel, vieil, nouvel
    french_first: bool
    german: str  # predicative: hoch
    german_stem: str  # attributive: hoh(er)
    german_comparative: str
    kind: str  # its section: opinion, size, age, state, colour, origin, mood
    nouns: tuple[str, ...]  # what it suits: nouns, kinds or groups of them


@dataclass(frozen=True, eq=False)
class Verb:
    """A verb: its principal parts, and how each language joins its object.

    `french_object` and `german_object` say how the object is governed: an
    empty string is a plain direct object, otherwise a preposition, or in
    German the case `dat`, or a preposition with its case (`auf acc`).
    """

    english: str  # base form; a particle follows ("look for")
    english_past: str
    french: str  # infinitive without "se"
    french_particle: str  # "besoin" of "avoir besoin"
    french_object: str
    german: str  # infinitive without prefix
    german_prefix: str  # separable prefix, or ""
    german_third: str  # er/sie/es form of the present
    german_participle: str
    german_auxiliary: str  # haben or sein
    german_object: str
    french_reflexive: bool = False
    german_reflexive: bool = False


@dataclass(frozen=True, eq=False)
class Adverbial:
    """An adverb or a fixed phrase: "slowly", "at home", "every day"."""

    english: str
    french: str
    german: str
    kinds: frozenset


def rows(table):
    """Yields the columns of each line and the kinds of its section.

    >>> list(rows('''
    ... # food mass
    ... bread | le pain | das Brot
    ... '''))
    [(['bread', 'le pain', 'das Brot'], ['food', 'mass'])]
    """
    kinds = []
    for line in table.strip().replace("\n |", " |").splitlines():
        if line.startswith("#"):
            kinds = line[1:].split()
        elif line.strip():
            yield [column.strip() for column in line.split("|")], kinds


def forms(column):
    """The forms of a column: `forms("knife, knives")` has two."""
    return [form.strip() for form in column.split(",")]


def read_noun(columns, kinds):
    """A noun of `knife, knives | le couteau | das Messer, Messer | kinds`."""
    english, *english_plural = forms(columns[0])
    french, *french_plural = forms(columns[1])
    german, *german_plural = forms(columns[2])
    article, french = french.split(" ", 1)
    german_article, german = german.split(" ", 1)
    extra = columns[3].split() if len(columns) > 3 else []
    return Noun(
        english=english,
        english_plural=(english_plural or [english_plural_of(english)])[0],
        french=french,
        french_plural=(french_plural or [french_plural_of(french)])[0],
        french_gender={"le": "m", "la": "f"}[article],
        german=german.lstrip("*"),
        german_plural=(german_plural or [german.lstrip("*")])[0],
        german_gender={"der": "m", "die": "f", "das": "n"}[german_article],
        german_weak=german.startswith("*"),
        section=kinds[0],
        kinds=frozenset([*kinds, *extra]),
    )


def english_plural_of(noun):
    """Plural by rule: books, boxes, cities."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    return noun + "s"


def french_plural_of(word):
    """Plural by rule: livres, bras, gâteaux, journaux."""
    if word.endswith(("s", "x", "z")):
        return word
    if word.endswith(("eau", "eu")):
        return word + "x"
    if word.endswith("al"):
        return word[:-2] + "aux"
    return word + "s"


def read_adjective(columns, kinds):
    """An adjective of `old, older | +vieux, vieille, vieil | alt, älter`.

    `+` marks one that stands before the noun in French. A third German form
    is the attributive stem (`teuer, teurer, teur`).
    """
    english, *comparative = forms(columns[0])
    french, feminine, *vowel = forms(columns[1])
    german, german_comparative, *stem = forms(columns[2])
    if not stem:
        stem = [german[:-1] if german.endswith("e") else german]
    suits = columns[3].split() if len(columns) > 3 else []
    masculine = french.lstrip("+")
    return Adjective(
        english=english,
        english_comparative=(comparative or ["more " + english])[0],
        french=masculine,
        french_feminine=feminine,
        french_vowel=(vowel or [masculine])[0],
        french_first=french.startswith("+"),
        german=german,
        german_stem=stem[0],
        german_comparative=german_comparative,
        kind=kinds[0],
        nouns=tuple(suits),
    )


def read_verb(columns):
    """A verb of `help | aider | helfen, hilft, geholfen > dat`.

    Columns are principal parts; `>` introduces the government of the object;
    `an|sehen` would clash with the column mark, so a separable prefix is
    divided by `+`: `an+sehen, sieht, angesehen`.
    """
    english, *past = forms(columns[0])
    french, _, french_object = (p.strip() for p in columns[1].partition(">"))
    german, _, german_object = (p.strip() for p in columns[2].partition(">"))
    french_reflexive = french.startswith(("se ", "s'"))
    if french_reflexive:
        french = french[3:] if french.startswith("se ") else french[2:]
    french, _, particle = french.partition(" ")
    infinitive, third, participle, *auxiliary = forms(german)
    german_reflexive = infinitive.startswith("sich ")
    infinitive = infinitive.removeprefix("sich ")
    prefix, _, stem = infinitive.rpartition("+")
    return Verb(
        english=english,
        english_past=(past or [english_past_of(english)])[0],
        french=french,
        french_particle=particle,
        french_object=french_object,
        german=stem,
        german_prefix=prefix,
        german_third=third,
        german_participle=participle,
        german_auxiliary=(auxiliary or ["haben"])[0],
        german_object=german_object,
        french_reflexive=french_reflexive,
        german_reflexive=german_reflexive,
    )


def english_past_of(verb):
    """Past tense by rule: opened, closed, carried; a particle stays put."""
    head, space, particle = verb.partition(" ")
    if head.endswith("e"):
        head += "d"
    elif head.endswith("y") and head[-2] not in "aeiou":
        head = head[:-1] + "ied"
    else:
        head += "ed"
    return head + space + particle


def read_adverbial(columns, kinds):
    """An adverbial of `at home | à la maison | zu Hause`."""
    extra = columns[3].split() if len(columns) > 3 else []
    return Adverbial(*columns[:3], frozenset([*kinds, *extra]))
