"""German clauses and the noun phrases in them.

Both in one file, for a clause holds nouns, and a noun may hold a clause again:
"the man who sings".
"""

from translation.phrasebook.grammar import german_forms as form
from translation.phrasebook.grammar import german_nominals as noun
from translation.phrasebook.grammar import german_verbs as verbs
from translation.phrasebook.grammar.german_forms import ACC, DAT, GEN, NOM
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
    State,
    Weather,
    is_weak,
)

SECOND, FIRST, FINAL = "second", "first", "final"  # places of the finite verb
CASES = (NOM, ACC, DAT)


def clause(content, place, object_before=False):
    """Tokens of a clause with its finite verb in `place`."""
    finite, closing = verbs.verb_group(content)
    if isinstance(content.complement, Existence):
        subject = ["es"]
    else:
        subject = nominal(content.subject, NOM)
    reflexive = []
    if content.verb.german_reflexive:
        reflexive = [verbs.reflexive_pronoun(content.subject)]
    light = isinstance(content.subject, Pronoun)
    pair = [*subject, *reflexive] if light else [*reflexive, *subject]
    rest = [
        *pronouns(content, object_before),
        *middle(content, object_before),
    ]
    after = afterwards(content)
    if place == FINAL:
        return [*pair, *rest, *closed(finite, closing), *after]
    closing = [word.rstrip("+").strip() for word in closing]
    if place == FIRST:
        return [finite, *pair, *rest, *closing, *after]
    front = before_verb(content)
    if front:
        return [*front, finite, *pair, *rest, *closing, *after]
    return [*subject, finite, *reflexive, *rest, *closing, *after]


def closed(finite, closing):
    """The verbs that end a subordinate clause: gekauft hat, aufsteht."""
    if closing and closing[0].endswith("+"):  # a separable prefix
        return [closing[0][:-1] + finite]
    return [*closing, finite]


def before_verb(content):
    """What stands before the finite verb instead of the subject, if any."""
    link = content.subordinate
    if link and link.first:
        return [*subordinate(content)[1:]]
    return prepositional(content.time) if content.time_first else []


def subordinate(content):
    """A subordinate clause between commas; "when" in the past is "als"."""
    link = content.subordinate
    conjunction = {
        "because": "weil",
        "when": "als" if link.clause.tense == "past" else "wenn",
        "if": "wenn",
        "that": "dass",
        "while": "während",
    }[link.conjunction]
    return [",", conjunction, *clause(link.clause, FINAL), ","]


def pronouns(content, object_before=False):
    """Weak pronouns: object, then recipient."""
    preposition, case = verbs.government(content.verb)
    tokens = []
    if is_weak(content.object) and not preposition and not object_before:
        tokens += nominal(content.object, case)
    if is_weak(content.recipient):
        tokens += nominal(content.recipient, DAT)
    return tokens


def middle(content, object_before=False):
    """What stands between the verbs, but for weak pronouns.

    Time, recipient, frequency, object, "nicht", complement, manner, place;
    but manner before an indefinite object (langsam einen Apfel essen), and
    manner and place before one with a preposition (dort auf den Bus warten).
    """
    negated = content.negation == "not"
    tokens = []
    if content.time and not content.time_first:
        tokens += prepositional(content.time)
    if content.recipient and not is_weak(content.recipient):
        tokens += nominal(content.recipient, DAT)
    thing = [] if object_before else object_of(content)
    preposition, _ = verbs.government(content.verb)
    if noun.is_definite_person(content.object) and not preposition:
        tokens += thing  # "antwortet Anna nie", "ruft ihn oft an"
        thing = []
    if content.negation == "never":
        tokens.append("nie")
    if content.frequency:
        tokens.append(content.frequency.german)
    early = not preposition and not (
        content.manner and noun.is_indefinite(content.object)
    )
    if early:
        tokens += thing
    where = [prepositional(phrase) for phrase in content.phrases]
    if isinstance(content.complement, Quality | Weather | State):
        tokens += sum(where, [])  # "in Rom nicht kalt"
        where = []
    if negated and not says_kein(content):
        tokens.append("nicht")
    if content.complement:
        tokens += complement(content)
    if content.manner:
        tokens.append(content.manner.german)
    where = sum(where, [])
    if preposition:
        return [*tokens, *where, *thing]  # am Bahnhof auf den Bus
    if not early:
        tokens += thing
    return tokens + where


def object_of(content):
    """The tokens of an object that is no weak pronoun."""
    thing = content.object
    preposition, case = verbs.government(content.verb)
    if isinstance(content.complement, Existence):
        case = ACC
    if not thing or isinstance(thing, Gap):
        return []
    if preposition:
        inner = nominal(thing, case, with_relative=False)
        return noun.contract(preposition, inner)
    if is_weak(thing):
        return []
    negated = content.negation == "not"
    return nominal(thing, case, negated, with_relative=False)


def says_kein(content):
    """Whether "kein" already negates the clause."""
    if isinstance(content.complement, Role | State):
        return True
    thing = content.object
    preposition, _ = verbs.government(content.verb)
    if isinstance(thing, Pair):
        thing = thing.first
    plain = isinstance(thing, NounPhrase) and not preposition
    return plain and noun.takes_kein(thing)


def afterwards(content):
    """What follows the closing verb: comparison, and clauses."""
    tokens = compared(content.complement)
    thing = content.object
    if isinstance(thing, NounPhrase) and thing.relative:
        tokens += relative(thing.relative)
    if content.infinitive:
        tokens += [",", *with_zu(content.infinitive), ","]
    if content.purpose:
        tokens += [",", "um", *with_zu(content.purpose), ","]
    if content.subordinate and not content.subordinate.first:
        tokens += subordinate(content)
    return tokens


def with_zu(content):
    """Das Buch zu lesen, sich auszuruhen."""
    reflexive = []
    if content.verb.german_reflexive:
        reflexive = [verbs.reflexive_pronoun(content.subject)]
    return [
        *reflexive,
        *pronouns(content),
        *middle(content),
        form.with_zu(content.verb),
        *afterwards(content),
    ]


def complement(content):
    """What is said with "sein" or "haben"."""
    said = content.complement
    if isinstance(said, Quality):
        return quality(said)
    if isinstance(said, Role):
        no = ["kein"] if content.negation == "not" else []
        return [*no, said.noun.german]
    if isinstance(said, Age):
        return [NUMERALS[said.years][2], "Jahre alt"]
    if isinstance(said, Existence):
        return []
    no = ""
    if isinstance(said, State) and content.negation == "not":
        no = "keine" if "feminine" in said.adverbial.kinds else "keinen"
    return [no, said.adverbial.german]


def quality(said):
    """An adjective; what it is compared with follows in `compared`."""
    adjective = said.adjective
    if said.degree == "more":
        return [adjective.german_comparative]
    degrees = {"": "", "very": "sehr", "too": "zu", "as": "so"}
    return [degrees[said.degree], adjective.german]


def compared(said):
    """Als der Hund, wie der Hund: behind the verb, "größer ist als"."""
    if not isinstance(said, Quality) or not said.than:
        return []
    word = "als" if said.degree == "more" else "wie"
    return [word, *nominal(said.than, NOM)]


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
    return noun.contract(preposition.german, tokens)


def noun_phrase(phrase, case, negated, with_relative):
    """Determiner, number, adjectives, noun, genitive, relative."""
    plural = phrase.plural
    gender = "p" if plural else phrase.noun.german_gender
    kind = phrase.determiner
    if negated and noun.takes_kein(phrase):
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
    tokens.append(form.noun(phrase.noun, case, plural))
    if phrase.contents:
        tokens += noun_phrase(phrase.contents, case, False, False)
    if phrase.owner and not isinstance(phrase.owner, Name):
        tokens += nominal(phrase.owner, GEN)
    if phrase.relative and with_relative:
        tokens += relative(phrase.relative)
    return [token for token in tokens if token]


def relative(meaning):
    """A relative clause between commas: ", der in Wien wohnt,"."""
    inner, gap = meaning.clause, meaning.gap
    gender = "p" if gap.plural else gap.noun.german_gender
    if isinstance(inner.subject, Gap):
        pronoun = [form.RELATIVE[NOM, gender]]
    else:
        preposition, case = verbs.government(inner.verb)
        pronoun = [preposition, form.RELATIVE[case, gender]]
    return [",", *pronoun, *clause(inner, FINAL), ","]
