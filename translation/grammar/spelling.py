"""From tokens to a sentence: spaces, commas, capital, full stop."""


def sentence(tokens, end, space_before_end=False):
    """Joins tokens; a "," token leans on the word before it.

    Commas that meet, and a comma before the end, count once.

    >>> sentence(["il", "dort", ",", ",", "", "bien", ","], ".")
    'Il dort, bien.'
    """
    words = []
    for token in tokens:
        if token == ",":
            if words and not words[-1].endswith(","):
                words[-1] += ","
        elif token:
            words.append(token)
    text = " ".join(words).rstrip(",")
    space = " " if space_before_end else ""
    return text[0].upper() + text[1:] + space + end
