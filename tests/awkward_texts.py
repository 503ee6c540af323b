"""Sentences to learn subwords from, and texts that are hard to carry."""

SENTENCES = [
    "The old man sees a green tree.",
    "Le vieil homme voit un arbre vert.",
    "The tree is old, and the man is green?",
    "L'arbre est vieux ; l'homme est-il vert ?",
    "She reads 20 books in the garden.",
    "Elle lit 20 livres dans le jardin.",
] * 5

AWKWARD = [
    "",
    " ",
    "   ",
    " leading",
    "   three leading",
    "trailing  ",
    "two  spaces   three",
    "tab\tand\nnewline\r\n",
    "\x00 \x01\x7f",
    "no\u00a0break, zero\u200bwidth, \u2028line\u2029",
    "e\u0301 is not \u00e9, ﬁ is not fi, Ａ is not A",
    "😀👩‍👩‍👧 🇫🇷 𝒜",
    "漢字 и кириллица",
    "<s> </s> <pad> <unk> <0x41>",
    "\u2581 is how SentencePiece \u2581writes\u2581 a space",
    "\u2585 its boundary, \ufffd, \ufeffmark, \U0010ffff",
]
