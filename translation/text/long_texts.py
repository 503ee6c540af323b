"""Long texts: those with more subwords than a model reads, and their parts."""

import re

# Each pattern finds a piece with the end mark and the spaces behind it.
_CLOSING = "[\"'”’»)\\]」』）]*"
# No end: behind a short word with a capital, as "Mr.", or a number, as "3.".
_NO_END = "".join(
    rf"(?<!\b{short})"
    for short in (r"[^\W\d_a-z]", r"[^\W\d_a-z]\w", r"[^\W\d_a-z]\w\w", r"\d")
)
_SENTENCE = re.compile(
    rf".+?(?:(?:{_NO_END}\.|[!?…؟۔।॥።]|\.\.)+{_CLOSING}\s+(?![a-zß-öø-ÿа-я])"
    rf"|[。！？｡]{_CLOSING}\s*|$)",
    re.DOTALL,
)
# Where a sentence may be cut, the better places first.
_PIECES = [
    re.compile(place, re.DOTALL)
    for place in (
        # The end of a clause.
        rf".+?(?:[,;:،؛]{_CLOSING}\s+|\s[–—-]\s+|[，、；：]\s*|$)",
        # A space.
        r".+?(?:\s+|$)",
        # Any character, with the marks that follow it.
        ".[\u0300-\u036f\u200d\ufe0f]*",
    )
]


def longer_than(limit, texts, tokenizer, marks=1):
    """Finds texts with more subwords than a limit, the end mark counted.

    Args:
        limit: int.
        texts: list of str.
        tokenizer: `Tokenizer`.
        marks: int. What is counted with a text: the end mark, and 2 with a
            target language in front.

    Returns:
        dict of the number of subwords by the place in the list.

    Example:

    >>> from translation.text.tokenizer.training import train_tokenizer
    >>> tokenizer = train_tokenizer(["a b c"], 280)
    >>> longer_than(9, ["a", "b " * 9], tokenizer)
    {1: 20}
    """
    # A subword has a byte at least; a space is put before the first one.
    whole = [text.encode("utf-8", "replace") for text in texts]
    places = [
        i for i, text in enumerate(whole) if len(text) + 1 + marks > limit
    ]
    encoded = tokenizer.encode([whole[place].decode() for place in places])
    sizes = {i: len(x) + marks for i, x in zip(places, encoded, strict=True)}
    return {place: size for place, size in sizes.items() if size > limit}


def parts_of(text, fits):
    """Cuts a text into its sentences, and those that are too long further.

    A sentence that does not fit is cut at ends of clauses, or else at spaces,
    or else anywhere, into parts as long as they can be.

    Args:
        text: str.
        fits: Function of a str: whether a part may be this long.

    Returns:
        List of str without the spaces around them, in their order. A single
        character that does not fit is a part all the same.

    Example:

    >>> text = "We sing. Or we dance, or sleep."
    >>> parts_of(text, lambda part: len(part) < 16)
    ['We sing.', 'Or we dance,', 'or sleep.']
    """
    return [
        part
        for sentence in _SENTENCE.findall(text)
        for part in _cut(sentence, fits, _PIECES)
        if part
    ]


def _cut(text, fits, patterns):
    text = text.strip()
    if not patterns or fits(text):
        yield text
        return
    begun = ""
    for piece in patterns[0].findall(text):
        if fits((begun + piece).strip()):
            begun += piece
            continue
        # Only a piece by itself can be too long.
        yield from _cut(begun, fits, patterns[1:])
        begun = piece
    yield from _cut(begun, fits, patterns[1:])
