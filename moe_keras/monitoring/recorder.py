"""Records the routing of all MoE layers of a model, window by window."""

import dataclasses

from moe_keras.monitoring.advice import is_balanced
from moe_keras.monitoring.gradients import GateGradients
from moe_keras.monitoring.layers import by_name, observed_layers
from moe_keras.monitoring.verdicts import Judge, Thresholds
from moe_keras.monitoring.watch import LayerWatch
from moe_keras.monitoring.windows import WindowFile, make_window


class RoutingRecorder:
    """Watches the MoE layers of a model from a training loop.

    Make it before the training step is traced: earlier graphs do not count.
    `RoutingMonitor` does all of this for `fit`.

    Args:
        model: A built Keras model. Its MoE layers get a `LayerWatch` for an
            observer, in place of an earlier recorder's.
        folder: str or path of a folder for `routing.jsonl`, or None.
        thresholds: `Thresholds`, or None for the defaults.

    Attributes:
        layers_by_name: dict of the layers that are watched.
        verdicts: dict of the last `Verdict` of each layer, by name.
        news: list of lines, one for each layer whose verdict changed when
            the last window was closed.

    Example:

    >>> import keras, moe_keras
    >>> layer = moe_keras.SparseMoE(4, k=2, hidden_dim=8, name="moe")
    >>> model = keras.Sequential([keras.Input((3,)), layer])
    >>> recorder = RoutingRecorder(model)
    >>> recorder.begin(step=0)
    >>> _ = model(keras.ops.ones((6, 3)), training=True)
    >>> [window] = recorder.close(step=1)
    >>> window.layer, window.tokens, window.mean_k
    ('moe', 6.0, 2.0)
    """

    def __init__(self, model, folder=None, thresholds=None):
        self._thresholds = thresholds or Thresholds()
        self._file = WindowFile(folder) if folder is not None else None
        self.layers_by_name = by_name(observed_layers(model))
        self._watches = {
            name: _watch(layer) for name, layer in self.layers_by_name.items()
        }
        self._gradients = GateGradients(self.layers_by_name.values())
        self._start(step=0)

    def begin(self, step):
        """Start the first window after `step`.

        It drops later windows from the file, because a run that resumes from
        a checkpoint records them again. From earlier ones the verdicts go on.

        Args:
            step: int. Steps done so far.
        """
        self._start(step)
        if self._file is not None:
            for window in self._file.keep_until(step):
                if window.layer in self._judges:
                    self._judge(window)

    def _start(self, step):
        self._step = step
        self._judges = {
            name: Judge(self._thresholds, layer.gate, is_balanced(layer))
            for name, layer in self.layers_by_name.items()
        }
        self.verdicts, self.news = {}, []
        for watch in self._watches.values():
            watch.reset()
        self._gradients.close()

    def add_gradients(self, gradients, variables, are_summed=False):
        """Adds the gradients of a step, within the training graph.

        Args:
            gradients: List of tensors, or None where there is no gradient.
            variables: List of the Keras variables that they belong to.
            are_summed: bool. Whether the gradients are sums over all
                replicas, and not those of each.
        """
        self._gradients.add(gradients, variables, are_summed)

    def close(self, step):
        """End the window with `step` and begin the next.

        Returns:
            List of `RoutingWindow`, one for each layer; empty if no step
            was done since the last window.
        """
        steps, self._step, self.news = step - self._step, step, []
        if not steps:
            return []
        norms = self._gradients.close()
        windows = []
        for (name, watch), norm in zip(
            self._watches.items(), norms, strict=True
        ):
            window = make_window(
                name,
                step,
                steps,
                **watch.close()._asdict(),
                gate_gradient=norm,
            )
            before = self._judges[name].level
            window = self._judge(window)
            if window.verdict and window.verdict.level != before:
                self.news.append(_line(window, before))
            windows.append(window)
        if self._file is not None:
            self._file.append(windows)
        return windows

    def _judge(self, window):
        verdict = self._judges[window.layer].judge(window)
        if verdict is not None:
            self.verdicts[window.layer] = verdict
        return dataclasses.replace(window, verdict=verdict)


def _watch(layer):
    """A new watch of a layer; an earlier one is removed."""
    for observer in layer.observers:
        if isinstance(observer, LayerWatch):
            layer.observers.remove(observer)
    watch = LayerWatch(layer)
    layer.observers.add(watch)
    return watch


def _line(window, before):
    verdict = window.verdict
    advice = f". Try: {verdict.advice}" if verdict.advice else ""
    return (
        f"routing at step {window.step}  {window.layer}: {before} -> "
        f"{verdict.level} ({verdict.reason}){advice}"
    )
