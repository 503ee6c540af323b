"""French agreement, determiners, pronouns, elision and contraction."""

from translation.phrasebook.grammar.french_verbs import IL, ILS, JE, NOUS, VOUS

# pronoun: subject, person, direct object, indirect object, stressed
PRONOUNS = {
    "I": ("je", JE, "me", "me", "moi"),
    "you": ("vous", VOUS, "vous", "vous", "vous"),
    "he": ("il", IL, "le", "lui", "lui"),
    "she": ("elle", IL, "la", "lui", "elle"),
    "it": ("il", IL, "le", "lui", "lui"),
    "we": ("nous", NOUS, "nous", "nous", "nous"),
    "they": ("ils", ILS, "les", "leur", "eux"),
    "who": ("qui", IL, "qui", "qui", "qui"),
    "what": ("que", IL, "que", "quoi", "quoi"),
}
REFLEXIVE = ("me", "se", "nous", "vous", "se")

POSSESSIVES = {
    "my": ("mon", "ma", "mes"),
    "your": ("votre", "votre", "vos"),
    "his": ("son", "sa", "ses"),
    "her": ("son", "sa", "ses"),
    "our": ("notre", "notre", "nos"),
    "their": ("leur", "leur", "leurs"),
}
# determiner: masculine, feminine, plural masculine, plural feminine
DETERMINERS = {
    "the": ("le", "la", "les", "les"),
    "generic": ("le", "la", "les", "les"),
    "owner": ("le", "la", "les", "les"),
    "this": ("ce", "cette", "ces", "ces"),
    "a": ("un", "une", "des", "des"),
    "every": ("chaque", "chaque", "chaque", "chaque"),
    "all": ("tout le", "toute la", "tous les", "toutes les"),
    "which": ("quel", "quelle", "quels", "quelles"),
    "some": ("quelque", "quelque", "quelques", "quelques"),
    "many": ("beaucoup de",) * 4,
    "how many": ("combien de",) * 4,
} | {kind: (m, f, p, p) for kind, (m, f, p) in POSSESSIVES.items()}

BEFORE_VOWEL = {"ce": "cet", "ma": "mon", "sa": "son"}
# Comparatives that are not "plus" and the adjective.
COMPARATIVES = {"bon": ("meilleur", "meilleure"), "mauvais": ("pire", "pire")}

VOWELS = frozenset("aeiouyàâéèêëîïôöùûœh")  # h is mute, but in:
ASPIRATE = ("haricot", "haut", "huit", "onze")
ELIDING = frozenset(("le", "la", "je", "me", "se", "ne", "que", "de"))
ELIDING_PHRASES = (" que", " de")


def before_vowel(word):
    """Whether a word makes the one before it elide or change."""
    return word[0].lower() in VOWELS and not word.startswith(ASPIRATE)


def determiner(kind, feminine, plural, following):
    """A determiner before `following`: ce livre, cet homme, mon amie."""
    word = DETERMINERS[kind][2 * plural + feminine]
    if word in BEFORE_VOWEL and before_vowel(following):
        return BEFORE_VOWEL[word]
    return word


def agree(masculine, feminine, is_feminine, plural):
    """An adjective or participle in its gender and number."""
    word = feminine if is_feminine else masculine
    if not plural or word.endswith(("s", "x")) or " " in word:
        return word
    return word + ("x" if word.endswith("eau") else "s")


def contract(preposition, tokens):
    """Puts a preposition before a nominal: du, des, au, aux, or as it is.

    >>> contract("à côté de", ["le", "lit"])
    ['à côté du', 'lit']
    """
    space, last = "", preposition
    if " " in preposition:
        head, space, last = preposition.rpartition(" ")
        space = head + space
    if last in ("de", "à"):
        if tokens[0] == "les":
            return [space + ("des" if last == "de" else "aux"), *tokens[1:]]
        if tokens[0] == "le" and not before_vowel(tokens[1]):
            return [space + ("du" if last == "de" else "au"), *tokens[1:]]
    return [preposition, *tokens]


def elide(tokens):
    """Joins l', d', qu', j', n', m' and s' to the word that follows.

    >>> elide(["parce que", "il", "ne", "aime", "pas", "le", "eau"])
    ["parce qu'il", "n'aime", 'pas', "l'eau"]
    """
    joined, pending = [], ""
    tokens = [token for token in tokens if token]
    for token, following in zip(tokens, [*tokens[1:], "."], strict=True):
        if token in ELIDING or token.endswith(ELIDING_PHRASES):
            elides = before_vowel(following)
        else:
            elides = token == "si" and following in ("il", "ils")
        if elides:
            pending += token[:-1] + "'"
        else:
            joined.append(pending + token)
            pending = ""
    return joined
