"""Long texts: those with more subwords than a model reads, and their parts."""

import re

# Where a text may be cut, the better places first. Each pattern finds a piece
# with the end mark and the spaces behind it.
_CLOSING = "[\"'”’»)\\]」』）]*"
_PLACES = (
    # The end of a sentence; not after an abbreviation, as small letters show.
    rf".+?(?:[.!?…؟۔।॥።]{_CLOSING}\s+(?![a-zß-öø-ÿа-я])|[。！？｡]{_CLOSING}\s*|$)",
    # The end of a clause.
    rf".+?(?:[,;:،؛]{_CLOSING}\s+|\s[–—-]\s+|[，、；：]\s*|$)",
    # A space.
    r".+?(?:\s+|$)",
    # Any character, with the marks that follow it.
    "(?s:.)[\u0300-\u036f\u200d\ufe0f]*",
)
_PIECES = [re.compile(place, re.DOTALL) for place in _PLACES]


def longer_than(limit, texts, tokenizer):
    """Finds texts with more subwords than a limit, the end mark counted.

    Args:
        limit: int.
        texts: list of str.
        tokenizer: `Tokenizer`.

    Returns:
        dict of the number of subwords by the place in the list.

    Example:

    >>> from translation.text.tokenizer.training import train_tokenizer
    >>> tokenizer = train_tokenizer(["a b c"], 280)
    >>> longer_than(9, ["a", "b " * 9], tokenizer)
    {1: 19}
    """
    # A subword has a byte at least; a space is put before the first one.
    whole = [text.encode("utf-8", "replace") for text in texts]
    places = [i for i, text in enumerate(whole) if len(text) + 2 > limit]
    encoded = tokenizer.encode([whole[place].decode() for place in places])
    sizes = {i: len(x) + 1 for i, x in zip(places, encoded, strict=True)}
    return {place: size for place, size in sizes.items() if size > limit}


def parts_of(text, fits):
    """Cuts a text into parts that fit, as long as they can be.

    It is cut at ends of sentences; a sentence that does not fit by itself, at
    ends of clauses, or else at spaces, or else anywhere.

    Args:
        text: str.
        fits: Function of a str: whether a part may be this long.

    Returns:
        List of str without the spaces around them, in their order. A single
        character that does not fit is a part all the same.

    Example:

    >>> parts_of("One. Two, three. Four.", lambda part: len(part) <= 12)
    ['One.', 'Two, three.', 'Four.']
    """
    return [part for part in _parts(text, fits, _PIECES) if part]


def _parts(text, fits, patterns):
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
        yield from _parts(begun, fits, patterns[1:])
        begun = piece
    yield from _parts(begun, fits, patterns[1:])
