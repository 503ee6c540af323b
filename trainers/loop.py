"""The training loop, for any model that can say its loss.

It knows nothing of translation: a task hands it a model, a loss function,
batches and an evaluation. Checkpoints, averaging, progress and TensorBoard
come from here.
"""

import dataclasses
import math
import time

import keras
import tensorflow as tf

from moe_keras.monitoring import RoutingRecorder
from trainers.averaging import MovingAverage
from trainers.checkpoints import Checkpoints
from trainers.optimizer import FusedAdam
from trainers.progress import Progress
from trainers.schedules import InverseSquareRoot
from trainers.summaries import Summaries


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to try."""


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """How long, how fast and how carefully to train."""

    steps: int = 1000  # updates of the weights
    max_minutes: float = 0.0  # of training, evaluation apart; 0: no limit
    learning_rate: float = 1e-3  # Adam, at its peak
    warmup_steps: int = 100  # linear growth of the rate
    constant_steps: int = 10_000_000  # steps at the peak, then 1/sqrt(step)
    adam_beta_2: float = 0.98  # decay of Adam's second moment
    clip_norm: float = 5.0  # global norm of the gradient is cut to this
    average_decay: float = 0.999  # moving average used to evaluate; 0: none
    evaluate_every: int = 500  # steps between evaluations on the dev set
    save_every: int = 500  # steps between checkpoints
    log_every: int = 50  # steps between lines of progress
    keep_checkpoints: int = 3  # last checkpoints kept, beside the best
    seed: int = 1  # of initial weights, dropout and gating noise

    def __post_init__(self):
        for name in (
            "steps",
            "learning_rate",
            "warmup_steps",
            "clip_norm",
            "evaluate_every",
            "save_every",
            "log_every",
            "keep_checkpoints",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"`{name}` must be above zero. "
                    f"Received: {getattr(self, name)}"
                )
        if not 0 <= self.average_decay < 1:
            raise ValueError(
                "`average_decay` must be at least 0 and below 1. "
                f"Received: {self.average_decay}"
            )


class Loop:
    """Trains a model, evaluates it as it goes and leaves checkpoints.

    Args:
        model: A built Keras model.
        loss: Function of (model, batch) that calls the model with
            `training=True` and returns the sum of the loss over the tokens
            of the batch and their number, two float32 scalars.
        config: `LoopConfig`.
        model_dir: str. Checkpoints and TensorBoard logs go there.
        log: Function of one line of text.
        static_shapes: bool. Whether batches have so few shapes that the step
            is worth compiling for each of them.
        thresholds: `moe_keras.monitoring.Thresholds` of the verdicts on the
            routing, or None for the defaults.
    """

    def __init__(
        self,
        model,
        loss,
        config,
        model_dir,
        log=print,
        static_shapes=False,
        thresholds=None,
    ):
        self.model = model
        self.config = config
        self._loss = loss
        self._log = log
        self.optimizer = FusedAdam(
            InverseSquareRoot(
                config.learning_rate,
                config.warmup_steps,
                config.constant_steps,
            ),
            beta_2=config.adam_beta_2,
        )
        self.optimizer.build(model.trainable_variables)
        self.average = MovingAverage(
            [v.value for v in model.trainable_variables], config.average_decay
        )
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self.summaries = Summaries(model_dir)
        self.routing = RoutingRecorder(model, model_dir, thresholds)
        self.checkpoints = Checkpoints(
            model_dir,
            config.keep_checkpoints,
            model=model,
            optimizer=self.optimizer,
            average=self.average,
            step=self.step,
            seconds=self.seconds,
        )
        self._train_step = tf.function(
            self._train_step_eagerly, reduce_retracing=not static_shapes
        )

    def run(self, batches, evaluate):
        """Trains until the steps or the minutes are used up.

        Args:
            batches: Iterable of batches, endless.
            evaluate: Function without arguments, called with the averaged
                weights in place, that returns a dict of floats; its entry
                `score` (higher is better) decides which checkpoint is best.

        Raises:
            TrainingError: when the loss is not a finite number.
        """
        progress = Progress(self.config, self._log, self.seconds)
        self.routing.begin(int(self.step))
        batches = iter(batches)
        while not self._is_over():
            start = time.monotonic()
            loss, tokens, norm = self._train_step(next(batches))
            self.step.assign_add(1)
            step = int(self.step)
            if step % self.average.every == 0:
                self.average.update()
            self.seconds.assign_add(time.monotonic() - start)
            self._check_finite(float(loss), float(norm), step)
            figures = progress.add(step, float(loss), float(tokens))
            if figures:
                windows = self.routing.close(step)
                self.summaries.write_training(
                    step, figures, self.learning_rate(), norm, windows
                )
                for line in self.routing.news:
                    self._log(line)
            if step % self.config.evaluate_every == 0:
                self.evaluate(evaluate)
            if step % self.config.save_every == 0:
                self.checkpoints.save(step)
        self.checkpoints.save(int(self.step))
        if int(self.step) % self.config.evaluate_every:
            self.evaluate(evaluate)

    def evaluate(self, evaluate):
        """Evaluates the averaged weights; keeps them if they are the best."""
        step = int(self.step)
        with self.average.swapped_in():
            metrics = evaluate()
            is_best = self.checkpoints.save_if_best(step, metrics["score"])
        self.summaries.write_evaluation(step, metrics)
        shown = "  ".join(f"{k} {v:.2f}" for k, v in metrics.items())
        self._log(f"dev at step {step}  {shown}{'  (best)' * is_best}")

    def learning_rate(self):
        """The rate of the next step."""
        return float(self.optimizer.learning_rate)

    def _is_over(self):
        minutes = self.config.max_minutes
        late = minutes and float(self.seconds) >= 60 * minutes
        return late or int(self.step) >= self.config.steps

    def _train_step_eagerly(self, batch):
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            loss_sum, tokens = self._loss(self.model, batch)
            loss = loss_sum / tf.maximum(tokens, 1.0)
            total = tf.add_n([loss, *self.model.losses])
        gradients = tape.gradient(total, variables)
        # Rows of an embedding may come twice: sum them before the norm.
        gradients = [tf.convert_to_tensor(g) for g in gradients]
        self.routing.add_gradients(gradients, variables)
        gradients, norm = tf.clip_by_global_norm(
            gradients, self.config.clip_norm
        )
        self.optimizer.apply(gradients, variables)
        return loss, tokens, norm

    def _check_finite(self, loss, norm, step):
        if math.isfinite(loss) and math.isfinite(norm):
            return
        raise TrainingError(
            f"The loss of step {step} is {loss}, its gradient norm {norm}. "
            "Try a lower learning_rate or clip_norm; the checkpoints before "
            "it are kept, and training resumes from the last of them."
        )


def seed_everything(seed):
    """Seeds initial weights, dropout, gating noise and TensorFlow."""
    keras.utils.set_random_seed(seed)
