"""All MoE layers of a model, window after window."""

import collections
import dataclasses
import itertools

from moe_keras.monitoring.advice import is_balanced
from moe_keras.monitoring.gradients import GateGradients
from moe_keras.monitoring.statistics import routing_layers
from moe_keras.monitoring.verdicts import Judge, Thresholds
from moe_keras.monitoring.watch import LayerWatch
from moe_keras.monitoring.windows import WindowFile, measure


class RoutingRecorder:
    """Watches the MoE layers of a model from a training loop.

    Make it before the training step becomes a graph: a graph that is there
    already does not count. `RoutingMonitor` does all of this for `fit`.

    Args:
        model: A built Keras model. Its layers that have a `watch` get one,
            in place of an earlier recorder's.
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
        self.layers_by_name = _by_name(
            layer for layer in routing_layers(model) if hasattr(layer, "watch")
        )
        for layer in self.layers_by_name.values():
            layer.watch = LayerWatch(layer)
        self._gradients = GateGradients(self.layers_by_name.values())
        self._start(step=0)

    def begin(self, step):
        """Starts the first window after `step`.

        Windows in the file that are later are dropped: a run that resumes
        from a checkpoint goes over them again. Those before tell the judges
        how things stood.

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
        for layer in self.layers_by_name.values():
            layer.watch.reset()
        self._gradients.close()

    def add_gradients(self, gradients, variables, are_summed=False):
        """Takes in the gradients of a step, within the training graph.

        Args:
            gradients: List of tensors, or None where there is no gradient.
            variables: List of the Keras variables that they belong to.
            are_summed: bool. Whether the gradients are sums over all
                replicas, and not those of each.
        """
        self._gradients.add(gradients, variables, are_summed)

    def close(self, step):
        """Ends the window with `step` and begins the next.

        Returns:
            List of `RoutingWindow`, one for each layer; empty if no step
            was done since the last window.
        """
        steps, self._step, self.news = step - self._step, step, []
        if not steps:
            return []
        norms = self._gradients.close()
        windows = []
        for (name, layer), norm in zip(
            self.layers_by_name.items(), norms, strict=True
        ):
            window = measure(
                name,
                step,
                steps,
                **layer.watch.close()._asdict(),
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


def _by_name(layers):
    """Layers by name; by their path in the model where names are not unique.

    Where paths are not unique either, the later ones are numbered.
    """
    layers, by_name = list(layers), {}
    counts = collections.Counter(layer.name for layer in layers)
    for layer in layers:
        is_unique = counts[layer.name] == 1
        name = layer.name if is_unique else layer.path
        names = itertools.chain(
            [name], (f"{name}_{i}" for i in itertools.count(2))
        )
        by_name[next(name for name in names if name not in by_name)] = layer
    return by_name


def _line(window, before):
    verdict = window.verdict
    advice = f". Try: {verdict.advice}" if verdict.advice else ""
    return (
        f"routing at step {window.step}  {window.layer}: {before} -> "
        f"{verdict.level} ({verdict.reason}){advice}"
    )
