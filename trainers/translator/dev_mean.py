"""One score from the scores of several directions."""

from translation.text.corpora.mixing import parse_weights

_NAMED = ("mean", "worst")


def parse_dev_mean(text, pair):
    """Reads how scores of directions become one.

    Args:
        text: str. `mean`; `worst`, the lowest score; or weights above 0 of
            the mean, as `en-fr=3,fr-en=1`.
        pair: The directions, see `parse_directions`.

    Returns:
        Function of a dict of scores by direction, higher ones better, that
        returns a float.

    Raises:
        ValueError: if it is anything else.

    Example:

    >>> scores = {"en-fr": 40.0, "fr-en": 20.0}
    >>> [parse_dev_mean(text, "en-fr:both")(scores)
    ...  for text in ("mean", "worst", "en-fr=3,fr-en=1")]
    [30.0, 20.0, 35.0]
    """
    if text == "worst":
        return lambda scores: min(scores.values())
    if text == "mean":
        return lambda scores: sum(scores.values()) / len(scores)
    if "=" not in text:
        raise ValueError(
            f"`dev_mean` must be one of {', '.join(_NAMED)}, or weights as "
            f"en-fr=3,fr-en=1. Received: dev_mean={text!r}"
        )
    weights = parse_weights("dev_mean", text, pair)

    def weighted(scores):
        total = sum(weights[name] * score for name, score in scores.items())
        return total / sum(weights[name] for name in scores)

    return weighted
