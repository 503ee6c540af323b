"""The directions that texts are translated in, as flags and columns ask."""

import collections

from translation.text.directions import Directions, parse_directions
from translation.text.languages import LanguagePair


class AskedDirections:
    """Says into which language each line goes, and refuses what cannot be.

    Languages are found whatever their letters' case, with hyphens or
    underscores.

    Args:
        pair: str, the directions of the model, as in its configuration.
        source: str or None. The language of lines that do not say it. None
            stands for any, or for the only one that goes with the target.
        target: str or None. The language that lines are translated into
            which do not say it. None stands for the only one of a model.
        in_column: bool. Whether lines say it, so that `target` may be None.
        zero_shot: bool. Whether directions are taken that the model was not
            trained in, if it knows both languages.
        tell: Function of one line of text, told of such directions.

    Attributes:
        source, target: str or None, as above, tags as the model has them.

    Raises:
        ValueError: if it is not said into which language, or the model does
            not translate so.

    Example:

    >>> asked = AskedDirections("en-fr,en-de", target="DE")
    >>> asked.source, asked.target, asked.of_column("en-fr")
    ('en', 'de', 'fr')
    >>> asked.of_column("it")
    Traceback (most recent call last):
    ValueError: The model does not know 'it'. It translates en-fr, en-de.
    """

    def __init__(
        self,
        pair,
        source=None,
        target=None,
        in_column=False,
        zero_shot=False,
        tell=None,
    ):
        self._pairs = tuple(parse_directions(pair))
        self._zero_shot = zero_shot
        self._tell = tell or (lambda line: None)
        self._untrained = collections.Counter()  # lines by direction
        self._targets = list(dict.fromkeys(x.target for x in self._pairs))
        known = [tag for pair in self._pairs for tag in pair]
        self._tags = {_plain(tag): tag for tag in known}
        self._known_pairs = {
            _plain(f"{source}-{target}"): LanguagePair(source, target)
            for source in self._tags.values()
            for target in self._tags.values()
        }
        if target is None and len(self._targets) == 1:
            (target,) = self._targets
        if target is None and not in_column:
            raise ValueError(
                "--target must say into which language, or --target_column "
                f"that the lines do. The model translates {self._names()}."
            )
        self.source = None if source is None else self._language(source)
        self.target = None if target is None else self._language(target)
        if self.target is not None:
            self._check(LanguagePair(self.source, self.target))
            self.source = self.source or self._only_source(self.target)

    @property
    def pair(self):
        """`LanguagePair` of lines that say nothing, None if it is not known."""
        if self.source is None or self.target is None:
            return None
        return LanguagePair(self.source, self.target)

    def of_column(self, text):
        """Reads what a line says.

        Args:
            text: str, a target as `fr`, or a direction as `en-fr`; blank for
                what goes for all lines.

        Returns:
            The tag of the target language.

        Raises:
            ValueError: if the model does not translate so.
        """
        plain = _plain(text)
        if not plain and self.target is None:
            raise ValueError(
                "The column of the language is empty, and there is no "
                f"--target. The model translates {self._names()}."
            )
        if not plain:
            pair = LanguagePair(self.source, self.target)
        elif plain in self._tags:
            pair = LanguagePair(self.source, self._tags[plain])
        elif plain in self._known_pairs:
            pair = self._known_pairs[plain]
        else:
            self._language(text)  # which refuses it
        self._check(pair)
        if pair in self._untrained:
            self._untrained[pair] += 1
        return pair.target

    def tell_untrained(self):
        """Tells how many columns asked for directions without training."""
        for pair, count in self._untrained.items():
            if count:
                lines = "line" if count == 1 else "lines"
                self._tell(f"Zero-shot {pair}: {count:,} {lines}.")

    def _language(self, text):
        found = self._tags.get(_plain(text))
        if found is None:
            raise ValueError(
                f"The model does not know {text.strip()!r}. {self._about()}"
            )
        return found

    def _check(self, pair):
        """Refuses a direction, whose source may be None, or tells of it."""
        if pair.target not in self._targets:
            raise ValueError(
                f"The model does not write {pair.target}. {self._about()}"
            )
        if pair.source is None or pair in self._pairs:
            return
        if not self._zero_shot:
            raise ValueError(
                f"The model was not trained from {pair.source} to "
                f"{pair.target}. {self._about()} --zero_shot takes directions "
                "between its languages without training."
            )
        if pair not in self._untrained:
            self._tell(
                f"Zero-shot {pair}: the model was not trained in this "
                "direction."
            )
            self._untrained[pair] = 0

    def _only_source(self, target):
        sources = {x.source for x in self._pairs if x.target == target}
        return sources.pop() if len(sources) == 1 else None

    def _about(self):
        return f"It translates {self._names()}."

    def _names(self):
        return ", ".join(map(str, self._pairs))


def asked_pairs(trained, pair=None, zero_shot=False):
    """Reads which directions of a model are asked for.

    Args:
        trained: str, the directions of the model.
        pair: str, see `parse_directions`; None for all of them.
        zero_shot: bool. Whether directions are taken that the model was not
            trained in, if it knows both languages.

    Returns:
        Two `Directions`: those that it was trained in, and others.

    Raises:
        ValueError: for directions that the model does not translate in.

    Example:

    >>> found = asked_pairs("en-fr,de:both", "en-fr,fr-de", zero_shot=True)
    >>> [str(directions) for directions in found]
    ['en-fr', 'fr-de']
    """
    wanted = parse_directions(trained if pair is None else pair)
    for source, target in wanted:
        AskedDirections(trained, source, target, zero_shot=zero_shot)
    known = set(parse_directions(trained))
    return (
        Directions(x for x in wanted if x in known),
        Directions(x for x in wanted if x not in known),
    )


def _plain(text):
    return text.strip().replace("_", "-").lower()
