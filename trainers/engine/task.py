"""What the training loop is to train."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def _no_texts(batch):
    del batch
    return {}


@dataclasses.dataclass(frozen=True)
class Task:
    """What is trained, and how it is judged."""

    # A built Keras model. One that was made under the scope of a
    # `tf.distribute` strategy is trained by all its replicas.
    model: keras.Model
    # Function of (model, batch) that calls the model with `training=True` and
    # returns the sum of the loss over the tokens of the batch and their
    # number, and, if that is something else, the sum of their negative log
    # likelihoods, of which perplexity is made: float32 scalars.
    loss: Callable
    # Batches without end: a `tf.data.Dataset`, or an iterator that can be
    # saved (a `tf.data.Iterator` or `tf.train.experimental.PythonState`).
    batches: Any
    # Function that is called with the averaged weights in place and returns
    # a dict of floats; its entry `score` (higher is better) decides which
    # checkpoint is best, and of equal scores the lower `perplexity`, if there
    # is such an entry. Its argument is a function to be called now and then,
    # which raises when the run has to end.
    evaluate: Callable
    # The model that `evaluate` looks at: `model` itself, or one like it that
    # knows no strategy and gets the averaged weights before. Under several
    # workers the chief alone needs one.
    evaluated: Any = None
    # Whether batches have so few shapes that the step is worth compiling for
    # each of them.
    static_shapes: bool = False
    # `moe_keras.monitoring.Thresholds` of the verdicts on the routing, or None
    # for the defaults.
    thresholds: Any = None
    # What makes the run, and what `score` is measured on: dicts, field by
    # field. A checkpoint of another identity is refused; with another measure
    # the search for the best begins anew.
    identity: dict = dataclasses.field(default_factory=dict)
    measure: dict = dataclasses.field(default_factory=dict)
    # What the place in the batches belongs to, field by field: where it has
    # changed, a run that goes on begins with the first batch again.
    data: dict = dataclasses.field(default_factory=dict)
    # Function of a batch: a dict of lists of str, what it says to people.
    texts: Callable = _no_texts

    def savable_batches(self):
        """An iterator over the batches, whose place a checkpoint keeps.

        Raises:
            ValueError: if it is of a kind that forgets its place.
        """
        batches = iter(self.batches)
        kinds = (tf.data.Iterator, tf.train.experimental.PythonState)
        if not isinstance(batches, kinds):
            raise ValueError(
                "`batches` must be a tf.data.Dataset, or an iterator that is "
                "a tf.train.experimental.PythonState: otherwise a resumed run "
                "would not know its place in the data. "
                f"Received: {type(batches).__name__}"
            )
        return batches
