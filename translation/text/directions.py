"""The directions that one model translates in, such as `en-fr,fr-en`."""

from translation.text.languages import LanguagePair, parse_pair, parse_tag

_BOTH = ":both"


class Directions(tuple):
    """Distinct pairs of languages, in the order in which they were named.

    Example:

    >>> directions = parse_directions("en-fr,de:both")
    >>> str(directions), directions.targets
    ('en-fr,fr-en,en-de,de-en', ('fr', 'en', 'de'))
    """

    __slots__ = ()

    def __str__(self):
        return ",".join(map(str, self))

    @property
    def is_one(self):
        """Whether there is a single direction."""
        return len(self) == 1

    @property
    def sources(self):
        """Tuple of the source languages, each once."""
        return tuple(dict.fromkeys(pair.source for pair in self))

    @property
    def targets(self):
        """Tuple of the target languages, each once."""
        return tuple(dict.fromkeys(pair.target for pair in self))

    @property
    def languages(self):
        """Tuple of all languages, each once."""
        return tuple(dict.fromkeys(tag for pair in self for tag in pair))

    @property
    def target_tokens(self):
        """Tuple of the languages that need a token in front of the source.

        All target languages if there are several, and none for a single one.
        """
        return self.targets if len(self.targets) > 1 else ()


def parse_directions(text):
    """Reads the directions of a model.

    Args:
        text: str, `LanguagePair` or `Directions`. Pairs with commas between,
            such as `en-fr,fr-en,en-de`. A tag alone has the source of the
            pair before it: `en-fr,de` is en-fr,en-de. `:both` adds the
            opposite direction: behind the last one of all, else of the one
            before it. A region behind a tag alone is in upper case or behind
            an underscore: `en-fr,pt-BR` or `en-fr,pt_br`.

    Returns:
        `Directions`.

    Raises:
        ValueError: if `text` is anything else, or names a direction twice.

    Example:

    >>> str(parse_directions("en-fr,de,es:both"))
    'en-fr,fr-en,en-de,de-en,en-es,es-en'
    >>> str(parse_directions("en-fr:both,de"))
    'en-fr,fr-en,en-de'
    >>> parse_directions("en-pt-br")[0].target
    'pt-BR'
    """
    if isinstance(text, Directions):
        return text
    if isinstance(text, LanguagePair):
        return Directions([text])
    entries = [entry.strip() for entry in str(text).split(",")]
    all_both = len(entries) > 1 and entries[-1].endswith(_BOTH)
    named, found = [], []
    for entry in entries:
        pair = _read(entry.removesuffix(_BOTH), named, text)
        if pair in named:
            raise ValueError(
                f"`pair` must name each direction once; {pair} is there "
                f"twice. Received: pair={str(text)!r}"
            )
        named.append(pair)
        found.append(pair)
        if all_both or entry.endswith(_BOTH):
            found.append(LanguagePair(pair.target, pair.source))
    return Directions(dict.fromkeys(found))


def _read(entry, before, text):
    """Reads one entry: a pair, or a tag that shares the source before it."""
    if not before:
        return parse_pair(entry)
    try:
        return parse_pair(entry)
    except ValueError as error:
        tag = parse_tag(entry)
        if tag is None:
            raise ValueError(
                f"{str(error).partition(' Received:')[0]} In a list, it may "
                "also be a tag alone, which has the source of the pair before "
                f"it. Received: {entry!r} in pair={str(text)!r}"
            ) from error
        return LanguagePair(before[-1].source, tag)
