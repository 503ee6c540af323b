"""The task that the training loop gets: model, loss, batches, evaluation."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from trainers.engine.batches import SharedBatches


def _means(means):
    return means


def _no_texts(batch):
    del batch
    return {}


@dataclasses.dataclass(frozen=True)
class Task:
    """All that the engine is told of a model and its training.

    Example, of a straight line:

    >>> import tensorflow as tf
    >>> from trainers.engine.loop import Loop
    >>> from trainers.engine.config.loop_config import LoopConfig
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> def loss(model, batch):
    ...     error = model(batch, training=True) - 2.0 * batch
    ...     return tf.reduce_sum(error**2), tf.constant(4.0)
    >>> def evaluate(check):
    ...     return {"score": -abs(float(model(tf.ones((1, 1)))[0, 0]) - 2.0)}
    >>> batches = tf.data.Dataset.from_tensors(tf.ones((4, 1))).repeat()
    >>> import tempfile
    >>> config = LoopConfig(steps=2, evaluate_every=2, warmup_steps=1)
    >>> task = Task(model, loss, batches, evaluate, unit="examples")
    >>> loop = Loop(task, config, tempfile.mkdtemp(), log=lambda line: None)
    >>> loop.run()
    >>> int(loop.step)
    2
    """

    # A built Keras model. One that was made under the scope of a
    # `tf.distribute` strategy is trained by all its replicas.
    model: keras.Model
    # Function of (model, batch) that calls the model with `training=True` and
    # returns the sum of the loss over the examples of the batch and their
    # number, float32 scalars; and, if there is more to be shown, a dict of
    # further sums by name. An example is what the loss is a mean over: a row,
    # or a token.
    loss: Callable
    # Batches without end: a `tf.data.Dataset`, or an iterator that can be
    # saved (a `tf.data.Iterator` or `tf.train.experimental.PythonState`), or
    # something like `SharedBatches`.
    batches: Any
    # Function that is called with the averaged weights in place and returns
    # a dict of floats; its entry `score` (higher is better) decides which
    # checkpoint is best, and of equal scores the lower `perplexity`, if there
    # is such an entry. Its argument is a function to be called now and then,
    # which raises when the run has to end. None for a worker that is not the
    # chief.
    evaluate: Callable | None
    # A line that says what the score is, for the log.
    about_score: str = ""
    # The model that `evaluate` looks at: None or `model` if it is that, or one
    # like it that knows no strategy and gets the averaged weights before.
    # Under several workers the chief alone needs one.
    evaluated_model: keras.Model | None = None
    # Plural of what an example is, for the log: tokens, rows, images.
    unit: str = "tokens"
    # Function of the means for one example, a dict with `loss` and what
    # `loss` returned beside it: the dict of floats that is shown.
    shown: Callable = _means
    # Whether batches have so few shapes that the step is worth compiling for
    # each of them.
    static_shapes: bool = False
    # `moe_keras.monitoring.Thresholds` of the verdicts on the routing, or None
    # for the defaults.
    thresholds: Any = None
    # What makes the run, what the score depends on besides the weights, and
    # what the place in the batches belongs to: dicts, field by field. Where
    # the first has changed a checkpoint is refused, with another
    # `score_identity` the search for the best begins anew, and with another
    # `batches_identity` the batches do.
    identity: dict = dataclasses.field(default_factory=dict)
    score_identity: dict = dataclasses.field(default_factory=dict)
    batches_identity: dict = dataclasses.field(default_factory=dict)
    # Function of a batch: a dict of lists of str, what it says to people. It
    # goes beside a batch whose loss is not finite.
    texts: Callable = _no_texts

    def source(self):
        """Makes the iterator that the loop reads; see `SharedBatches`.

        Raises:
            ValueError: if they forget their place.
        """
        if hasattr(self.batches, "rows_of_replica"):
            return self.batches
        return SharedBatches(self.batches)
