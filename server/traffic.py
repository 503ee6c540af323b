"""Counts subwords, and the load of experts, beside the requests.

It runs in a thread of its own, after the answers, and counts the texts of many
requests with one call of the model: counting costs a request next to nothing
of its time. Texts are counted and forgotten.
"""

import concurrent.futures
import logging
import random
import threading
import time

import numpy as np

_LOG = logging.getLogger(__name__)

# Inputs that hold texts; others, such as a language, are options.
_TEXTS = ("inputs", "sources", "targets")
_ROUTING, _TOKENIZE = "routing", "tokenize"
_PAUSE = 0.2  # seconds in which texts gather
_MOST_PENDING = 5000  # texts; more are left out
_MOST_SAMPLED = 8  # texts of one request


class Traffic:
    """Counts what passes.

    Args:
        metrics: `Metrics`.
        sample: float. Share of the requests whose texts are sent through
            `routing` as well, while nothing else is running.
        is_idle: Function that says whether nothing else is.
    """

    def __init__(self, metrics, sample, is_idle):
        self._metrics = metrics
        self._sample = sample
        self._is_idle = is_idle
        self._draw = random.Random()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "count")
        self._lock = threading.Lock()
        self._pending = []  # model, direction and texts
        self._pending_texts = 0

    def count(self, model, signature, columns, outputs):
        """Counts a request and its answer, some time later.

        Args:
            model: `SavedModel`.
            signature: str.
            columns: dict of arrays, the inputs.
            outputs: dict of arrays.
        """
        came = [columns[name] for name in _TEXTS if name in columns]
        if came and _TOKENIZE in model.signatures:
            for texts in came:
                self._gather(model, "in", texts)
            if "outputs" in outputs:
                self._gather(model, "out", outputs["outputs"])
        if signature == _ROUTING:
            self._count_experts(outputs)
        elif came and self._is_sampled(model):
            options = {k: x for k, x in columns.items() if k not in _TEXTS}
            some = {"inputs": came[0].ravel()} | options
            some = {k: x[:_MOST_SAMPLED] for k, x in some.items()}
            self._thread.submit(self._route, model, some)

    def close(self):
        self._thread.shutdown(cancel_futures=True)

    def _gather(self, model, direction, texts):
        if texts.dtype != object or not texts.size:
            return
        with self._lock:
            if self._pending_texts + texts.size > _MOST_PENDING:
                self._metrics.uncounted.inc(texts.size)
                return
            if not self._pending:
                self._thread.submit(self._count_gathered)
            self._pending.append((model, direction, texts.ravel()))
            self._pending_texts += texts.size

    def _count_gathered(self):
        time.sleep(_PAUSE)
        with self._lock:
            pending, self._pending = self._pending, []
            self._pending_texts = 0
        groups = {}
        for model, direction, texts in pending:
            groups.setdefault((id(model), direction), (model, []))[1].append(
                texts
            )
        for (_, direction), (model, texts) in groups.items():
            texts = np.concatenate(texts)
            found = _call(model, _TOKENIZE, {"inputs": texts})
            if found is None:
                self._metrics.uncounted.inc(len(texts))
                continue
            tokens = self._metrics.tokens.labels(direction)
            tokens.inc(int(found["lengths"].sum()))

    def _is_sampled(self, model):
        is_drawn = self._draw.random() < self._sample
        return is_drawn and _ROUTING in model.signatures and self._is_idle()

    def _route(self, model, inputs):
        found = _call(model, _ROUTING, inputs)
        if found is not None:
            self._count_experts(found)

    def _count_experts(self, outputs):
        """Counts what `routing` says: see docs/serving.md."""
        for side in ("source", "target"):
            experts_BXMK = outputs.get(f"{side}_experts")
            if experts_BXMK is None or not len(experts_BXMK):
                continue
            layers = outputs[f"{side}_layers"][0]
            for place, layer in enumerate(layers):
                chosen = experts_BXMK[:, :, place]
                numbers, counts = np.unique(
                    chosen[chosen >= 0], return_counts=True
                )
                for expert, count in zip(numbers, counts, strict=True):
                    self._metrics.expert_tokens.labels(
                        layer.decode(), int(expert)
                    ).inc(int(count))


def _call(model, signature, inputs):
    """The outputs for texts, or None after an error, which is logged.

    Of options, a signature gets those that it has.
    """
    try:
        columns = model.signatures[signature].filled(inputs)
        return model.call(signature, columns)
    # No request waits for it, and counting has to go on.
    except Exception as error:
        _LOG.error("Counting by %s failed: %s", signature, type(error).__name__)
        return None
