"""What TensorBoard shows of a run."""

import os

import tensorflow as tf

from moe_keras import monitoring


class Summaries:
    """Writes curves and histograms to `MODEL_DIR/logs`.

    Args:
        model_dir: str or path.
    """

    def __init__(self, model_dir):
        logs = os.path.join(model_dir, "logs")
        self._training = tf.summary.create_file_writer(f"{logs}/train")
        self._evaluation = tf.summary.create_file_writer(f"{logs}/dev")

    def write_training(self, step, figures, learning_rate, norm, model):
        """Writes a window of training and the routing of its MoE layers.

        The routing statistics are reset: each window shows its own.
        """
        with self._training.as_default(step=step):
            for name, value in figures.items():
                tf.summary.scalar(name, value)
            tf.summary.scalar("learning_rate", learning_rate)
            tf.summary.scalar("gradient_norm", norm)
            for layer in monitoring.routing_layers(model):
                write_routing(layer.name, layer.routing_statistics())
        self.begin_window(model)
        self._training.flush()

    @staticmethod
    def begin_window(model):
        """Forgets what the MoE layers have counted so far.

        Evaluation counts as well: it must not mix with training.
        """
        for layer in monitoring.routing_layers(model):
            layer.reset_routing_statistics()

    def write_evaluation(self, step, metrics):
        """Writes the figures of an evaluation."""
        with self._evaluation.as_default(step=step):
            for name, value in metrics.items():
                tf.summary.scalar(name, value)
        self._evaluation.flush()


def write_routing(name, statistics):
    """Writes one MoE layer's importance and load under the layer's name."""
    for field in (
        "cv_importance",
        "cv_load",
        "max_over_mean_load",
        "idle_share",
    ):
        tf.summary.scalar(f"{name}/{field}", getattr(statistics, field))
    tf.summary.histogram(f"{name}/importance", statistics.importance)
    tf.summary.histogram(f"{name}/load", statistics.load)
