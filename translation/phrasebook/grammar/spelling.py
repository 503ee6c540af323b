"""From tokens to a sentence: spaces, commas, capital, full stop."""


def sentence(tokens, end, space_before_end=False):
    """Joins tokens; a "," token leans on the word before it.

    Commas that meet, and a comma before the end, count once.

    >>> sentence(["il", "dort", ",", ",", "", "bien", ","], ".")
    'Il dort, bien.'
    """
    text = " ".join([token for token in tokens if token])
    text = text.replace(" ,", ",").replace(",,", ",").rstrip(",")
    space = " " if space_before_end else ""
    return text[0].upper() + text[1:] + space + end
