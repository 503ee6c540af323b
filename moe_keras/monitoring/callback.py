"""Watches the routing from `fit`."""

import os

import keras
import tensorflow as tf

from moe_keras.monitoring.layers import routing_layers
from moe_keras.monitoring.recorder import RoutingRecorder
from moe_keras.monitoring.tensorboard import RoutingSummaries
from moe_keras.monitoring.windows import WindowFile


class RoutingMonitor(keras.callbacks.Callback):
    """Keras callback that says when the routing of a model goes wrong.

    It gives a verdict on each MoE layer after each window of training steps:
    healthy, drifting, collapsing or collapsed. Windows may span epochs. It
    logs a line when a verdict changes. docs/monitoring.md tells what it
    watches and how to read it.

    It reads the gradients of gates where the optimizer gets them, by wrapping
    the optimizer's `apply`, once and for good. Where gradients do not go
    through `apply` (a `train_step` of your own that assigns the weights
    itself), `gate_gradient` is None. One monitor watches a model at a time,
    the last one that the model was fitted with.

    A step is a batch, also where the optimizer accumulates the gradients of
    several. Where a model has no weights yet, its first step builds it and is
    not counted.

    Args:
        model_dir: str or path, or None to write no file. The folder for
            `routing.jsonl`, which `python -m moe_keras.report` reads, and
            `logs/routing` for TensorBoard. It keeps the windows there that
            end before the steps that the optimizer has done.
        every: int. Training steps of a window.
        thresholds: `moe_keras.monitoring.Thresholds`, or None.
        log: Function of one line of text.

    Attributes:
        verdicts: dict of the last `Verdict` of each layer, by name.
        windows: list of every `RoutingWindow` so far.

    Example:

    >>> import numpy as np, moe_keras
    >>> layer = moe_keras.SparseMoE(4, k=2, hidden_dim=8, name="moe")
    >>> model = keras.Sequential([keras.Input((3,)), layer])
    >>> model.compile("adam", "mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 3))
    >>> monitor = RoutingMonitor(every=2)
    >>> _ = model.fit(x, x, batch_size=16, verbose=0, callbacks=[monitor])
    >>> monitor.verdicts["moe"].level, len(monitor.windows)
    ('healthy', 2)
    """

    def __init__(self, model_dir=None, every=100, thresholds=None, log=print):
        super().__init__()
        if every < 1:
            raise ValueError(
                "`every` must be at least 1 training step. "
                f"Received: every={every}"
            )
        self._model_dir = model_dir
        self._every = every
        self._thresholds = thresholds
        self._log = log
        self._recorder = self._writer = None
        self._summaries = RoutingSummaries()
        self._step = self._closed = self._step_of_epoch = 0
        self._windows = []

    @property
    def verdicts(self):
        return {} if self._recorder is None else self._recorder.verdicts

    @property
    def windows(self):
        if self._model_dir is not None:
            return WindowFile(self._model_dir).read()
        return self._windows

    def on_train_begin(self, logs=None):
        optimizer = _innermost(self.model.optimizer)
        watched_by = getattr(optimizer.apply, "recorder", None)
        if self._recorder is not None and watched_by is self._recorder:
            return  # a second `fit` goes on with the first
        self._step = self._closed = max(self._step, _steps_done(optimizer))
        self._recorder = None
        layers = routing_layers(self.model)
        if self.model.built and all(layer.built for layer in layers):
            self._watch(optimizer)

    def _watch(self, optimizer):
        with self.model.distribute_strategy.scope():
            self._recorder = RoutingRecorder(
                self.model, self._model_dir, self._thresholds
            )
        self._recorder.begin(self._step)
        if self._model_dir is not None:
            self._writer = tf.summary.create_file_writer(
                os.path.join(self._model_dir, "logs", "routing")
            )
        for line in _decay_warnings(optimizer, self._recorder.layers_by_name):
            self._log(line)
        _wrap_apply(optimizer, self.model, self._recorder)
        # A graph of an earlier `fit` knows nothing of the watch.
        self.model.make_train_function(force=True)

    def on_epoch_begin(self, epoch, logs=None):
        self._step_of_epoch = 0

    def on_train_batch_end(self, batch, logs=None):
        # `batch` leaps where one call runs several steps.
        self._step += batch + 1 - self._step_of_epoch
        self._step_of_epoch = batch + 1
        if self._recorder is None:  # this step has built the model
            self._watch(_innermost(self.model.optimizer))
        elif self._step - self._closed >= self._every:
            self._close()

    def on_train_end(self, logs=None):
        if self._recorder is not None:
            self._close()

    def _close(self):
        self._closed = self._step
        windows = self._recorder.close(self._step)
        if self._model_dir is None:
            self._windows += windows
        for line in self._recorder.news:
            self._log(line)
        if self._writer is not None:
            with self._writer.as_default():
                self._summaries.write(windows)
            self._writer.flush()


def _innermost(optimizer):
    """Returns the optimizer within one that scales the loss, if any."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _steps_done(optimizer):
    """Counts the batches so far, also within accumulated updates."""
    updates = optimizer.iterations
    return int(tf.convert_to_tensor(getattr(optimizer, "_iterations", updates)))


def _decay_warnings(optimizer, layers_by_name):
    """Warns of weights of gates that the optimizer's weight decay spoils."""
    if not optimizer.weight_decay:
        return
    for name, layer in layers_by_name.items():
        for weight in layer.gate.trainable_variables:
            is_spoilt = weight.name in getattr(layer.gate, "no_decay", ())
            if is_spoilt and optimizer._use_weight_decay(weight.value):
                yield (
                    f"weight decay spoils {weight.name} of {name}: call "
                    "optimizer.exclude_from_weight_decay("
                    f'var_names=["{weight.name}"]) before training'
                )


def _wrap_apply(optimizer, model, recorder):
    apply = getattr(optimizer.apply, "unwatched", optimizer.apply)

    def watched(gradients, trainable_variables=None):
        gradients = list(gradients)
        variables = trainable_variables
        if variables is None:
            variables = model.trainable_variables
        recorder.add_gradients(gradients, list(variables))
        return apply(gradients, trainable_variables)

    watched.unwatched, watched.recorder = apply, recorder
    optimizer.apply = watched
