"""Directions of translation that one model knows, such as `en-fr,fr-en`."""

from translation.text.languages import LanguagePair, parse_pair


class Directions(tuple):
    """Pairs of languages, in order."""

    __slots__ = ()

    def __str__(self):
        return ",".join(map(str, self))

    @property
    def is_one(self):
        return len(self) == 1

    @property
    def sources(self):
        return tuple(dict.fromkeys(pair.source for pair in self))

    @property
    def targets(self):
        return tuple(dict.fromkeys(pair.target for pair in self))


def parse_directions(text):
    if isinstance(text, LanguagePair):
        return Directions([text])
    return Directions(map(parse_pair, str(text).split(",")))
