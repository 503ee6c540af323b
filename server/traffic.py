"""Counts subwords, and the load of experts, beside the requests.

It runs in a thread of its own, after the answers: counting costs no request
its time. Texts are counted and forgotten.
"""

import concurrent.futures
import logging
import random

import numpy as np

_LOG = logging.getLogger(__name__)

# Inputs that hold texts; others, such as a language, are options.
_TEXTS = ("inputs", "sources", "targets")
_ROUTING, _TOKENIZE = "routing", "tokenize"
_MOST_PENDING = 100  # requests; more are left out
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
        self._pending = 0

    def count(self, model, signature, columns, outputs):
        """Counts a request and its answer, some time later.

        Args:
            model: `SavedModel`.
            signature: str.
            columns: dict of arrays, the inputs.
            outputs: dict of arrays.
        """
        texts = [columns[name] for name in _TEXTS if name in columns]
        if _TOKENIZE not in model.signatures or not texts:
            return
        if self._pending >= _MOST_PENDING:
            self._metrics.uncounted.inc(sum(x.size for x in texts))
            return
        self._pending += 1
        self._thread.submit(self._work, model, signature, texts, outputs)

    def close(self):
        self._thread.shutdown(cancel_futures=True)

    def _work(self, model, signature, texts, outputs):
        try:
            self._count_tokens(model, "in", texts)
            self._count_tokens(model, "out", [outputs.get("outputs")])
            if signature == _ROUTING:
                self._count_experts(outputs)
            elif _ROUTING in model.signatures and self._is_sampled():
                some = texts[0].ravel()[:_MOST_SAMPLED]
                self._count_experts(model.call(_ROUTING, {"inputs": some}))
        # Counting must not end the thread; what failed is no request.
        except Exception as error:
            _LOG.error("Counting failed: %s", type(error).__name__)
        finally:
            self._pending -= 1

    def _is_sampled(self):
        return self._draw.random() < self._sample and self._is_idle()

    def _count_tokens(self, model, direction, arrays):
        for array in arrays:
            if array is None or array.dtype != object or not array.size:
                continue
            found = model.call(_TOKENIZE, {"inputs": array.ravel()})
            tokens = self._metrics.tokens.labels(direction)
            tokens.inc(int(found["lengths"].sum()))

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
