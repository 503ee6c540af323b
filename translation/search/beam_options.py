"""Options of a search, and the score that ranks its results.

Equation 14 of GNMT (Wu et al. 2016, arXiv:1609.08144, section 7):

    score(Y, X) = log P(Y | X) / lp(Y) + cp(X, Y)
    lp(Y) = ((5 + |Y|) / (5 + 1)) ** length_penalty, |Y| counts eos
    cp(X, Y) = coverage_penalty * sum_i log(min(sum_j p_ij, 1))

p_ij is the attention of output step j on source position i.

B: sentences    S: source length
"""

import dataclasses
from typing import Any, NamedTuple

import tensorflow as tf

# Attention sums below this count as this: log(0) would rule a sentence out.
COVERAGE_FLOOR = 1e-6


@dataclasses.dataclass(frozen=True)
class BeamOptions:
    """Options of a search; the penalties are alpha and beta of equation 14.

    Example:

    >>> BeamOptions(beam_width=4, num_translations=5)
    Traceback (most recent call last):
    ...
    ValueError: `num_translations` must be between 1 and `beam_width`, which \
can be made wider. Received: num_translations=5, beam_width=4
    """

    beam_width: int = 5  # hypotheses kept at a time for each sentence
    num_translations: int = 1  # how many of them are returned, best first
    length_penalty: float = 0.8  # alpha: 0 prefers short, 1 the best mean
    coverage_penalty: float = 0.2  # beta: above 0, no source word left out
    max_length_ratio: float = 2.0  # an output has at most ratio * source ...
    max_length_extra: int = 10  # ... + extra tokens, eos counted in both
    min_length: int = 0  # an output has at least so many, eos counted
    no_repeat_ngram_size: int = 0  # no n-gram of this size twice; 0: any
    prune: float | None = None  # drop what is so much worse: GNMT took 3
    early_stop: bool = True  # stop when nothing can win; changes no result
    sampling: bool = False  # draw outputs at random instead of searching
    temperature: float = 1.0  # of sampling: below 1 less random, 0 not at all
    top_k: int = 0  # of sampling: so many most probable tokens; 0: all
    top_p: float = 1.0  # of sampling: the most probable tokens of this fraction
    sampling_seed: int = 0  # of sampling: another one gives other outputs

    def __post_init__(self):
        if self.beam_width < 1:
            raise ValueError(
                "`beam_width` must be at least 1. "
                f"Received: beam_width={self.beam_width}"
            )
        if self.num_translations < 1 or (
            self.num_translations > self.beam_width and not self.sampling
        ):
            raise ValueError(
                "`num_translations` must be between 1 and `beam_width`, which "
                "can be made wider. Received: num_translations="
                f"{self.num_translations}, beam_width={self.beam_width}"
            )
        for name in (
            "length_penalty",
            "coverage_penalty",
            "max_length_ratio",
            "max_length_extra",
            "min_length",
            "no_repeat_ngram_size",
            "temperature",
            "top_k",
        ):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(
                    f"`{name}` must be zero or more. "
                    f"Received: {name}={getattr(self, name)}"
                )
        if self.prune is not None and not self.prune > 0:
            raise ValueError(
                "`prune` must be above zero; None for no pruning. "
                f"Received: prune={self.prune}"
            )

        if not 0 < self.top_p <= 1:
            raise ValueError(
                "`top_p` must be above 0 and at most 1, which leaves all "
                f"tokens. Received: top_p={self.top_p}"
            )
        self._check_sampling()

    def _check_sampling(self):
        """Refuses options that would have no effect."""
        fields = {field.name: field for field in dataclasses.fields(self)}
        for name in ("temperature", "top_k", "top_p", "sampling_seed"):
            value = getattr(self, name)
            if not self.sampling and value != fields[name].default:
                raise ValueError(
                    f"`{name}` is for sampling: set `sampling` to True, or "
                    f"leave it out. Received: {name}={value}"
                )

    def searching(self, **changes):
        """The same options without sampling, and with other changes.

        >>> options = BeamOptions(sampling=True, top_k=9, min_length=3)
        >>> options.searching() == BeamOptions(min_length=3)
        True
        """
        names = ("sampling", "temperature", "top_k", "top_p", "sampling_seed")
        defaults = {
            field.name: field.default
            for field in dataclasses.fields(self)
            if field.name in names
        }
        return dataclasses.replace(self, **defaults, **changes)

    @property
    def has_constraints(self):
        """Whether they forbid outputs. Eos alone is an output of length 1."""
        return self.min_length > 1 or self.no_repeat_ngram_size > 0

    def max_lengths(self, source_lengths):
        """Longest output, eos included, for sources `(B,)` int32.

        >>> BeamOptions().max_lengths(tf.constant([3, 8])).numpy().tolist()
        [16, 26]
        """
        length = tf.cast(source_lengths, tf.float32) * self.max_length_ratio
        longest = tf.cast(length, tf.int32) + int(self.max_length_extra)
        return tf.maximum(longest, 1)


class SentenceOptions(NamedTuple):
    """Options that may differ between the sentences of a batch."""

    beam_width: Any  # (B,) int32, from 1 to `BeamOptions.beam_width`
    length_penalty: Any  # (B,) float32
    coverage_penalty: Any  # (B,) float32
    min_length: Any  # (B,) int32
    no_repeat_ngram_size: Any  # (B,) int32


def same_for_all(options, size):
    """`SentenceOptions` that give `size` sentences the same options.

    >>> same_for_all(BeamOptions(beam_width=3), 2).beam_width.numpy().tolist()
    [3, 3]
    """
    return SentenceOptions(
        tf.fill([size], options.beam_width),
        tf.fill([size], tf.constant(options.length_penalty, tf.float32)),
        tf.fill([size], tf.constant(options.coverage_penalty, tf.float32)),
        tf.fill([size], options.min_length),
        tf.fill([size], options.no_repeat_ngram_size),
    )


def length_penalty(length, alpha):
    """lp of equation 14: `((5 + length) / 6) ** alpha`, float32.

    >>> length_penalty([1, 7], alpha=1.0).numpy().tolist()
    [1.0, 2.0]
    """
    return ((5.0 + tf.cast(length, tf.float32)) / 6.0) ** alpha


def coverage_penalty(coverage, source_mask, beta):
    """cp of equation 14 over real source positions.

    Args:
        coverage: Tensor `(..., S)`: attention each position received.
        source_mask: Tensor broadcastable to it, false or 0 on padding.
        beta: float, or Tensor broadcastable to `(...)`.

    Returns:
        Tensor `(...)`, never above 0.

    >>> mask = tf.constant([True, True, False])
    >>> cp = coverage_penalty(tf.constant([0.5, 3.0, 0.0]), mask, beta=1.0)
    >>> round(float(cp), 4)  # log(0.5) + log(1)
    -0.6931
    """
    seen = tf.math.log(tf.clip_by_value(coverage, COVERAGE_FLOOR, 1.0))
    seen = tf.where(tf.cast(source_mask, tf.bool), seen, 0.0)
    return beta * tf.reduce_sum(seen, axis=-1)
