"""The training loop, for any model with a loss function.

A `Task` gives it a model, a loss, batches and an evaluation. The loop adds
checkpoints, averaging, progress and TensorBoard.

All that training depends on is in a checkpoint, the place in the data and the
states of all random generators included: a run that is killed at any moment
and started again ends with the weights of one that was left alone, bit for
bit (benchmarks/kill_resume.py).
"""

import math
import time

import keras
import tensorflow as tf

from moe_keras.monitoring import RoutingRecorder
from moe_keras.parallel.processes.workers import Workers
from moe_keras.parallel.replicas.weight import mark_optimizer
from moe_keras.placement.replicas import spread_random_states
from trainers.engine.bad_steps import BadSteps
from trainers.engine.checkpoints.best import BestScore
from trainers.engine.checkpoints.contents import copy_weights
from trainers.engine.checkpoints.recent import Checkpoints
from trainers.engine.interruption import Interrupted, Interruption
from trainers.engine.lazy_averaging import moving_average
from trainers.engine.loss_scale import LossScale
from trainers.engine.optimizer import OPTIMIZERS
from trainers.engine.progress import (
    Progress,
    format_metrics,
    format_parts,
)
from trainers.engine.schedules import Schedule
from trainers.engine.summaries import Summaries
from trainers.engine.train_step import TrainStep


class Loop:
    """Trains a model, evaluates it as it goes and leaves checkpoints.

    Several workers each have a loop of their own, and these do the same steps
    together; the chief's alone evaluates and writes.

    Args:
        task: `Task`.
        config: `LoopConfig`.
        model_dir: str. Checkpoints and TensorBoard logs go there.
        log: Function of one line of text.
        workers: `Workers`; by default this process is alone.

    Raises:
        ValueError: if the place in the batches could not be saved.
    """

    def __init__(self, task, config, model_dir, log=print, workers=None):
        self.task = task
        self.model = model = task.model
        self.config = config
        self.workers = workers or Workers()
        self._log = log
        self._strategy = model.distribute_strategy
        keeps = self.workers.is_chief
        with self._strategy.scope():
            self.optimizer = self._make_optimizer()
            self.routing = RoutingRecorder(
                model, model_dir if keeps else None, task.thresholds
            )
            self.average = moving_average(
                self.optimizer,
                [v.value for v in model.trainable_variables],
                config.average_decay,
            )
        scale = config.loss_scale
        self.loss_scale = LossScale(scale) if scale else None
        self.batches = task.source()
        self._train_step = TrainStep(
            model,
            task.loss,
            self.optimizer,
            config.clip_norm,
            config.accumulate_steps,
            task.static_shapes,
            on_gradients=self._before_update,
            loss_scale=self.loss_scale and self.loss_scale.factor,
            batch_spec=self.batches.spec,
            rows_of_replica=self.batches.rows_of_replica,
        )
        self.best = BestScore()
        self.bad_steps = BadSteps(
            model_dir, config.max_bad_steps, task.texts, log, keeps
        )
        self.step = _counter(0, tf.int64)
        self.evaluated = _counter(0, tf.int64)  # step of the last evaluation
        self.seconds = _counter(0.0, tf.float64)
        self.summaries = Summaries(model_dir if keeps else None)
        self.checkpoints = self._make_checkpoints(model_dir)
        self._is_saved = False

    def _make_checkpoints(self, model_dir):
        task, config = self.task, self.config
        return Checkpoints(
            model_dir,
            config.keep_checkpoints,
            config.keep_best,
            self.model,
            self.optimizer,
            task.identity,
            task.score_identity,
            task.batches_identity,
            self._log,
            average=self.average.state(),
            batches=self.batches.state,
            best=self.best,
            bad_steps=self.bad_steps.count,
            step=self.step,
            evaluated=self.evaluated,
            seconds=self.seconds,
            **({"loss_scale": self.loss_scale} if self.loss_scale else {}),
        )

    def _make_optimizer(self):
        config = self.config
        self.schedule = Schedule(
            config.schedule,
            config.learning_rate,
            config.warmup_steps,
            config.constant_steps,
            config.decay_from,
            config.final_rate,
        )
        optimizer = OPTIMIZERS[config.optimizer](
            self.schedule, beta_2=config.adam_beta_2
        )
        optimizer.build(self.model.trainable_variables)
        mark_optimizer(optimizer, self.model.trainable_variables)
        return optimizer

    def _before_update(self, gradients, variables):
        self.routing.add_gradients(gradients, variables, are_summed=True)
        self.average.before_step(self.optimizer, gradients)

    def resume(self):
        """Restores the last checkpoint, if there is one.

        Raises:
            CheckpointError: if none can be used.
        """
        name = self.checkpoints.find() if self.workers.is_chief else None
        name = self.workers.all_gather(name)[0]
        if name is None:
            return
        step, is_same_score = self.checkpoints.load(name)
        self._is_saved = True
        self._log(f"Resuming after step {step}.")
        if not is_same_score:
            self._log(
                "What the score depends on has changed: the search for the "
                "best begins anew. The best weights until now become "
                "best/step-N.earlier when there are better ones."
            )
            self._restart_best()
        self._give_up_lost_best()

    def _restart_best(self):
        self.best.restart()
        self.evaluated.assign(0)

    def _give_up_lost_best(self):
        """Falls back to the best weights that are whole, if some are damaged.

        Returns:
            bool. Whether none are left, and the search begins anew.
        """
        mine = -math.inf, math.inf
        if self.workers.is_chief:
            mine = self.checkpoints.best_score_left()
        left, perplexity = self.workers.all_gather(mine)[0]
        lost = float(self.best.score)
        if left >= lost:
            return False
        self._is_saved = False
        if left == -math.inf:
            self._log(
                f"The best weights, of score {lost:.2f}, are lost: the search "
                "for the best begins anew."
            )
            self._restart_best()
            return True
        self._log(
            f"The best weights, of score {lost:.2f}, are lost: the best that "
            f"are left have {left:.2f}."
        )
        self.best.set_best(left, perplexity)
        return False

    def run(self):
        """Trains until the steps, the minutes or the patience are used up.

        Raises:
            Interrupted: after SIGTERM or Ctrl-C; all is saved.
            TrainingError: after too many steps that are not finite.
            CheckpointError: if a checkpoint cannot be written.
        """
        if self.task.about_score:
            self._log(self.task.about_score)
        self.routing.begin(int(self.step))
        spread_random_states(self.model)
        # From the first moment on there is a checkpoint: a folder that has
        # best weights and none was robbed of it.
        self._save()
        try:
            with Interruption() as interruption:
                self._run(interruption)
        except Interrupted as interrupted:
            self._save()
            self.workers.all_gather(None)  # nobody leaves before it is saved
            self._log(
                f"{interrupted}: all is saved after step {int(self.step)}. "
                "Give the same command again to go on."
            )
            raise
        if self._is_out_of_patience():
            self._log(
                f"No better score in {self.config.patience} evaluations: "
                f"training ends after step {int(self.step)}."
            )

    def _run(self, interruption):
        progress = Progress(
            self.config,
            self._log,
            self.seconds,
            self.task.unit,
            self.task.shown,
        )
        while True:
            self._agree(interruption)
            if self._is_due(self.config.evaluate_every):
                if int(self.evaluated) != int(self.step):
                    self.evaluate(interruption.check)
            if self._is_due(self.config.save_every):
                self._save()
            if self._is_over():
                if self._give_up_lost_best():
                    self.evaluate(interruption.check)
                    self._save()
                return
            self._train(progress)

    def _agree(self, interruption):
        """Stops all workers at the same step if one has to stop.

        Raises:
            Interrupted: if a signal has come to any of them.
        """
        mine = [float(self.seconds), interruption.received]
        gathered = self.workers.all_gather(mine)
        self.seconds.assign(gathered[0][0])  # the chief's clock counts
        for _, received in gathered:
            if received is not None:
                raise Interrupted(received)

    def _train(self, progress):
        start = time.monotonic()
        step = int(self.step) + 1
        self.schedule.used.assign(self._fraction_used())
        self._is_saved = False
        result = self._finite_step(step)
        self.step.assign(step)
        if step % self.average.every == 0:
            self.average.update()
        self.seconds.assign_add(time.monotonic() - start)
        shown = progress.add(step, result)
        if shown:
            windows = self.routing.close(step)
            self.summaries.write_training(
                step, shown, self.learning_rate(), result.norm, windows
            )
            for line in self.routing.news:
                self._log(line)

    def _finite_step(self, step):
        """Trains on the next batch whose loss and gradient are finite."""
        while True:
            result, batches = self._train_step(self.batches)
            scale = self.loss_scale
            if scale and scale.was_too_large(result):
                self._log(
                    f"The gradient of step {step} is too large for float16: "
                    f"the loss scale falls to {float(scale.factor):g}."
                )
            elif not result.is_finite:
                self.bad_steps.add(step, result, batches)
            else:
                return result
            self.routing.begin(step - 1)  # NaN may be in its window

    def evaluate(self, check):
        """Evaluates the averaged weights; keeps them if they are the best.

        Args:
            check: Function that raises when the run has to end.
        """
        step = int(self.step)
        with self.average.swapped_in():
            metrics = self._evaluate(check)
            score = metrics["score"]
            perplexity = metrics.get("perplexity", math.inf)
            is_best = self.best.add(score, perplexity)
            with self.checkpoints.gathered(self.workers):
                if self.workers.is_chief:
                    self.checkpoints.save_best(step, score, is_best, perplexity)
        self.evaluated.assign(step)
        self._is_saved = False
        self.summaries.write_evaluation(step, metrics)
        shown = format_metrics(metrics)
        self._log(f"dev at step {step}  {shown}{'  (best)' * is_best}")
        for line in format_parts(metrics):
            self._log(f"  {line}")

    def _evaluate(self, check):
        """Evaluates on the chief; all workers get the metrics, or stop."""
        found = None
        evaluated = self.task.evaluated_model
        is_own = evaluated is not None and evaluated is not self.model
        if self.workers.count > 1 or is_own:
            copy_weights(self.model, evaluated)
        if self.workers.is_chief:
            try:
                found = {"metrics": self.task.evaluate(check)}
            except Interrupted as interrupted:
                found = {"interrupted": int(interrupted.signal)}
        found = self.workers.all_gather(found)[0]
        if "interrupted" in found:
            raise Interrupted(found["interrupted"])
        return found["metrics"]

    def learning_rate(self):
        """Reads the current learning rate."""
        return float(self.optimizer.learning_rate)

    def _save(self):
        if not self._is_saved:
            with self.checkpoints.gathered(self.workers):
                if self.workers.is_chief:
                    self.checkpoints.save(int(self.step))
            self._is_saved = True

    def _is_due(self, every):
        """Whether it is time for something that happens every so many steps."""
        step = int(self.step)
        return self._is_over() or (step and step % every == 0)

    def _is_over(self):
        return self._fraction_used() >= 1 or self._is_out_of_patience()

    def _fraction_used(self):
        """Fraction of the steps, or of the minutes, that is used up."""
        fraction = int(self.step) / self.config.steps
        if self.config.max_minutes:
            minutes = float(self.seconds) / 60
            fraction = max(fraction, minutes / self.config.max_minutes)
        return fraction

    def _is_out_of_patience(self):
        patience = self.config.patience
        return patience and int(self.best.evaluations_since) >= patience


def _counter(value, dtype):
    return tf.Variable(value, dtype=dtype, trainable=False)


def seed_everything(seed):
    """Seeds initial weights, dropout, gating noise and TensorFlow."""
    keras.utils.set_random_seed(seed)
