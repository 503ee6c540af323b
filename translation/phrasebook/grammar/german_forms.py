"""German inflection: articles, adjectives, nouns, pronouns, verbs.

Cases are nom, acc, dat, gen; genders m, f, n, and p for every plural.
"""

from functools import cache

NOM, ACC, DAT, GEN = "nom", "acc", "dat", "gen"


def _paradigm(table):
    """{(case, gender): form} of four lines, each m f n p."""
    lines = [line.split() for line in table.strip().splitlines()]
    return {
        (case, gender): "" if cell == "-" else cell
        for case, line in zip((NOM, ACC, DAT, GEN), lines, strict=True)
        for gender, cell in zip("mfnp", line, strict=True)
    }


DER = _paradigm("""
der die das die
den die das die
dem der dem den
des der des der
""")
# dieser, jeder, welcher, alle; viele, einige
DIESER = _paradigm("""
er e es e
en e es e
em er em en
es er es er
""")
# ein, kein, mein
EIN = _paradigm("""
- e - e
en e - e
em er em en
es er es er
""")
# Adjectives after der, after ein, after nothing.
WEAK = _paradigm("""
e e e en
en e e en
en en en en
en en en en
""")
MIXED = _paradigm("""
er e es en
en e es en
en en en en
en en en en
""")
STRONG = _paradigm("""
er e es e
en e es e
em er em en
en er en er
""")
RELATIVE = DER | {(DAT, "p"): "denen"}

DER_WORDS = {"this": "dies", "every": "jed", "all": "all", "which": "welch"}
EIN_WORDS = {
    "a": "ein",
    "no": "kein",
    "my": "mein",
    "your": "Ihr",
    "his": "sein",
    "her": "ihr",
    "our": "unser",
    "their": "ihr",
}
COUNTING = {"some": "einig", "many": "viel", "how many": "wie viel"}

# pronoun: nominative, accusative, dative, reflexive, person of the verb
PRONOUNS = {
    "I": ("ich", "mich", "mir", "mich", "ich"),
    "you": ("Sie", "Sie", "Ihnen", "sich", "plural"),
    "he": ("er", "ihn", "ihm", "sich", "er"),
    "she": ("sie", "sie", "ihr", "sich", "er"),
    "it": ("es", "es", "ihm", "sich", "er"),
    "we": ("wir", "uns", "uns", "uns", "plural"),
    "they": ("sie", "sie", "ihnen", "sich", "plural"),
    "who": ("wer", "wen", "wem", "sich", "er"),
    "what": ("was", "was", "was", "sich", "er"),
}

# Not by the rule: loans, and a doubled s.
GENITIVES = {
    "Bus": "Busses",
    "Chef": "Chefs",
    "Ei": "Eis",
    "Film": "Films",
    "Park": "Parks",
    "Schal": "Schals",
    "See": "Sees",
    "Tee": "Tees",
}

CONTRACTIONS = {
    ("in", "dem"): "im",
    ("an", "dem"): "am",
    ("zu", "dem"): "zum",
    ("zu", "der"): "zur",
    ("von", "dem"): "vom",
    ("in", "das"): "ins",
    ("an", "das"): "ans",
}

# Verbs whose forms are not those of the rule: ich, plural.
PRESENT = {
    "sein": ("bin", "sind"),
    "mögen": ("mag", "mögen"),
    "werden": ("werde", "werden"),
}
# modal: ich, er, plural
MODALS = {
    ("want", "present"): ("will", "will", "wollen"),
    ("want", "past"): ("wollte", "wollte", "wollten"),
    ("can", "present"): ("kann", "kann", "können"),
    ("must", "present"): ("muss", "muss", "müssen"),
    ("must", "past"): ("musste", "musste", "mussten"),
    ("would like", "present"): ("möchte", "möchte", "möchten"),
}
PRETERITE = {"sein": ("war", "waren"), "haben": ("hatte", "hatten")}
WILL = {"ich": "werde", "er": "wird", "plural": "werden"}
AUXILIARY = {
    "haben": {"ich": "habe", "er": "hat", "plural": "haben"},
    "sein": {"ich": "bin", "er": "ist", "plural": "sind"},
}


@cache
def noun(entry, case, plural):
    """A noun in its case: des Mannes, den Jungen, mit den Kindern."""
    if plural:
        word = entry.german_plural
        if case == DAT and not word.endswith(("n", "s")):
            return word + "n"
        return word
    word = entry.german
    if entry.german_weak:
        return word if case == NOM else entry.german_plural
    if case != GEN or entry.german_gender == "f":
        return word
    if word in GENITIVES:
        return GENITIVES[word]
    syllables = sum(
        letter in "aeiouyäöü" and (i == 0 or word[i - 1] not in "aeiouäöü")
        for i, letter in enumerate(word.lower())
    )
    return word + ("es" if syllables == 1 or word[-1] in "sßxz" else "s")


def determiner(kind, case, gender):
    """(determiner, endings of the adjectives that follow it)."""
    if kind in ("the", "owner"):
        return DER[case, gender], WEAK
    if kind in DER_WORDS:
        return DER_WORDS[kind] + DIESER[case, gender], WEAK
    if kind in EIN_WORDS:
        return EIN_WORDS[kind] + EIN[case, gender], MIXED
    if kind in COUNTING:
        ending = DIESER[case, gender] if gender == "p" else ""
        return COUNTING[kind] + ending, STRONG
    return "", STRONG  # bare, generic


def present(verb, person):
    """Finite form, without its prefix, for "ich", "er" or "plural"."""
    if person == "er":
        return verb.german_third
    if verb.german in PRESENT:
        return PRESENT[verb.german][person == "plural"]
    if person == "plural":
        return verb.german
    stem = verb.german[:-1]  # kaufe, füttere
    return stem if stem.endswith("e") else stem + "e"


def with_zu(verb):
    """zu kaufen, aufzustehen, spazieren zu gehen."""
    prefix = verb.german_prefix
    if prefix and not prefix.endswith(" "):
        return f"{prefix}zu{verb.german}"
    return f"{prefix}zu {verb.german}"
