"""What TensorBoard shows of a run."""

import os

import tensorflow as tf

from moe_keras.monitoring import RoutingSummaries


class Summaries:
    """Writes curves and histograms to `MODEL_DIR/logs`.

    Args:
        model_dir: str or path; None to write nothing.
    """

    def __init__(self, model_dir):
        self._training = self._evaluation = tf.summary.create_noop_writer()
        if model_dir is not None:
            logs = os.path.join(model_dir, "logs")
            self._training = tf.summary.create_file_writer(f"{logs}/train")
            self._evaluation = tf.summary.create_file_writer(f"{logs}/dev")
        self._routing = RoutingSummaries()

    def write_training(self, step, metrics, learning_rate, norm, windows):
        """Writes a window of training and the routing of its MoE layers.

        Args:
            step: int. Last step of the window.
            metrics: dict of floats, what `Progress` shows.
            learning_rate: float.
            norm: Scalar tensor. Norm of the last gradient.
            windows: List of `RoutingWindow`, one for each MoE layer.
        """
        with self._training.as_default(step=step):
            for name, value in metrics.items():
                tf.summary.scalar(name, value)
            tf.summary.scalar("learning_rate", learning_rate)
            tf.summary.scalar("gradient_norm", norm)
            self._routing.write(windows)
        self._training.flush()

    def write_evaluation(self, step, metrics):
        """Writes the metrics of an evaluation."""
        with self._evaluation.as_default(step=step):
            for name, value in metrics.items():
                tf.summary.scalar(name, value)
        self._evaluation.flush()
