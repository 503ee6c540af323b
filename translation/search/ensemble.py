"""Several models that translate as one.

N: hypotheses    S: source length    V: vocabulary    M: models
"""

import contextlib
import math

import keras
import tensorflow as tf

from moe_keras import monitoring

MEANS = ("probabilities", "log_probabilities")


def keras_models(translator):
    """Lists the Keras models of a translation model.

    Args:
        translator: A translation model, see `translate.py`.

    Returns:
        List: the model itself, the members of an ensemble, or nothing for a
        model that is no Keras model.

    Example:

    >>> keras_models(Ensemble([keras.Sequential([], name="one"), object()]))
    [<Sequential name=one, built=False>]
    """
    if isinstance(translator, Ensemble):
        return [
            m for member in translator.members for m in keras_models(member)
        ]
    return [translator] if isinstance(translator, keras.Model) else []


@contextlib.contextmanager
def uncounted(translator):
    """Context manager: count nothing of what a translation model computes.

    It is `moe_keras.monitoring.uncounted` for all of its `keras_models`.

    Args:
        translator: A translation model.

    Example:

    >>> with uncounted(Ensemble([keras.Sequential([]), object()])):
    ...     pass
    """
    with contextlib.ExitStack() as stack:
        for model in keras_models(translator):
            stack.enter_context(monitoring.uncounted(model))
        yield


class Ensemble:
    """The mean of several models at each step of a search.

    It is a translation model like its members (see `translate.py`). Its
    memory and its state are the lists of theirs, so whatever translates,
    scores or exports one model does so with several. Each costs its own time.

    Args:
        members: Sequence of translation models with one vocabulary.
        mean: str. What is averaged: `"probabilities"`, so that one member
            that is sure can lift a token, or `"log_probabilities"`, so that
            one member can rule a token out.
        names: Sequence of str, names of the members on a card, or None.

    Raises:
        ValueError: if there is no member, or no such mean.

    Example, two models that know nothing of the source:

    >>> class Sure:
    ...     def __init__(self, *probabilities):
    ...         self.log_probs = tf.math.log([probabilities])
    ...     def encode(self, source_ids):
    ...         return (), tf.zeros(tf.shape(source_ids))
    ...     def step(self, ids, state, memory):
    ...         return tf.repeat(self.log_probs, tf.size(ids), 0), state
    ...     def alignment(self, state):
    ...         return state
    >>> ensemble = Ensemble([Sure(0.9, 0.1), Sure(0.1, 0.9)])
    >>> memory, state = ensemble.encode(tf.constant([[5, 2]]))
    >>> log_probs, state = ensemble.step(tf.constant([1]), state, memory)
    >>> tf.exp(log_probs).numpy().round(3).tolist()
    [[0.5, 0.5]]
    """

    def __init__(self, members, mean="probabilities", names=None):
        if not members:
            raise ValueError("`members` must hold a model. Received none.")
        if mean not in MEANS:
            raise ValueError(
                f"`mean` must be one of {', '.join(MEANS)}. Received: {mean!r}"
            )
        self.members = tuple(members)
        self.mean = mean
        self.names = None if names is None else list(names)

    def encode(self, source_ids):
        """Encodes the sources `(B, S)` with each member."""
        read = [member.encode(source_ids) for member in self.members]
        memories, states = zip(*read, strict=True)
        return list(memories), list(states)

    def step(self, ids, state, memory):
        """Averages the members' scores of the next token.

        Args:
            ids, state, memory: As of a translation model; the last two are
                lists with an entry for each member.

        Returns:
            `(scores, state)`: `(N, V)` float32 and the list of new states.
            A mean of probabilities gives log probabilities. A mean of log
            probabilities does not sum to 1: take it as logits.

        Raises:
            ValueError: if the members differ in the size of the vocabulary.
        """
        stepped = [
            member.step(ids, *own)
            for member, *own in zip(self.members, state, memory, strict=True)
        ]
        scores, states = zip(*stepped, strict=True)
        sizes = {score.shape[-1] for score in scores}
        if len(sizes) > 1:
            raise ValueError(
                "`members` must have one vocabulary. Received models with "
                f"{' and '.join(map(str, sorted(sizes)))} subwords"
            )
        log_probs_MNV = tf.stack(
            [tf.nn.log_softmax(tf.cast(x, tf.float32)) for x in scores]
        )
        if self.mean == "probabilities":
            total_NV = tf.reduce_logsumexp(log_probs_MNV, axis=0)
            return total_NV - math.log(len(scores)), list(states)
        return tf.reduce_mean(log_probs_MNV, axis=0), list(states)

    def alignment(self, state):
        """Averages the members' attention `(N, S)` in the last step."""
        alignments = [
            tf.cast(member.alignment(own), tf.float32)
            for member, own in zip(self.members, state, strict=True)
        ]
        return tf.add_n(alignments) / len(alignments)
