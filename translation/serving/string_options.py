"""Options that a request brings for each of its strings.

A server cannot refuse a value without failing the whole request, so every
value means something: what is out of range stands for the default of the
export, or is cut to the limit. Each option has B entries, or 1 for all.

B: strings
"""

import tensorflow as tf

from translation.search.beam_options import SentenceOptions, same_for_all
from translation.search.sampling import Sampling

# Penalties beyond it are cut to it. They are below 2 in practice.
MAX_PENALTY = 10.0


def sentence_options(options, size, **wanted):
    """Reads the options of a search.

    Args:
        options: `BeamOptions` of the export, for what is not wanted.
        size: int32 scalar, B.
        **wanted: Tensors by names of `SentenceOptions`.

    Returns:
        `SentenceOptions`.

    Example:

    >>> from translation.search.beam_options import BeamOptions
    >>> width = tf.constant([3, 0, 99])
    >>> read = sentence_options(BeamOptions(beam_width=4), 3, beam_width=width)
    >>> read.beam_width.numpy().tolist()
    [3, 4, 4]
    """
    read = SentenceOptions(
        beam_width=_width,
        length_penalty=_penalty,
        coverage_penalty=_penalty,
        min_length=_not_negative,
        no_repeat_ngram_size=_not_negative,
    )._asdict()
    default = same_for_all(options, size)
    return default._replace(
        **{
            name: read[name](value, getattr(default, name))
            for name, value in wanted.items()
        }
    )


def sampling_options(default, temperature, top_k, top_p, seed):
    """Reads how to draw outputs.

    Args:
        default: `Sampling` of B strings, for what is not wanted.
        temperature, top_k, top_p, seed: Tensors.

    Returns:
        `Sampling`. The second seed is 0: what a string gets does not depend
        on its place in a request.

    Example:

    >>> default = Sampling([1.0, 1.0], [0, 0], [0.9, 0.9], [[1, 0], [1, 0]])
    >>> sampling = sampling_options(
    ...     default, tf.constant([-1.0, 0.5]), tf.constant([7]),
    ...     tf.constant([2.0, float("nan")]), tf.constant([3])
    ... )
    >>> [x.numpy().astype(float).round(1).tolist() for x in sampling]
    [[1.0, 0.5], [7.0, 7.0], [1.0, 0.9], [[3.0, 0.0], [3.0, 0.0]]]
    """
    size = tf.size(default.temperature)
    seed_B = tf.broadcast_to(tf.cast(seed, tf.int64), [size])
    share_B = tf.where(top_p > 0.0, tf.minimum(top_p, 1.0), default.top_p)
    return Sampling(
        _not_negative(temperature, default.temperature),
        _not_negative(top_k, default.top_k),
        share_B,
        tf.stack([seed_B, tf.zeros_like(seed_B)], axis=1),
    )


def _width(wanted, most_B):
    wanted_B = tf.minimum(wanted, most_B)
    return tf.where(wanted_B > 0, wanted_B, most_B)


def _penalty(wanted, default_B):
    return tf.minimum(_not_negative(wanted, default_B), MAX_PENALTY)


def _not_negative(wanted, default_B):
    wanted_B = tf.broadcast_to(wanted, tf.shape(default_B))
    return tf.where(wanted_B >= 0, wanted_B, default_B)  # not of NaN
