"""What Prometheus reads at `/metrics`."""

import prometheus_client
from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST


class Metrics:
    """Counters of one server, in a registry of its own."""

    def __init__(self):
        self.registry = registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=registry)
        self.requests = Counter(
            "moe_serve_requests",
            "Requests answered, by route, signature and status code.",
            ("route", "signature", "code"),
            registry=registry,
        )
        self.seconds = Histogram(
            "moe_serve_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ("route", "signature"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.waiting = Gauge(
            "moe_serve_waiting_rows",
            "Rows in the queue.",
            registry=registry,
        )
        self.rows = Histogram(
            "moe_serve_call_rows",
            "Rows of a call of the model.",
            buckets=_ROWS,
            registry=registry,
        )
        self.requests_of_call = Histogram(
            "moe_serve_call_requests",
            "Requests that share a call of the model.",
            buckets=_ROWS,
            registry=registry,
        )
        self.call_seconds = Histogram(
            "moe_serve_call_seconds",
            "Time in a call of the model.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.tokens = Counter(
            "moe_serve_tokens",
            "Subwords of texts that came in and went out.",
            ("direction",),
            registry=registry,
        )
        self.uncounted = Counter(
            "moe_serve_uncounted_texts",
            "Texts whose subwords were not counted, under too much load.",
            registry=registry,
        )
        self.expert_tokens = Counter(
            "moe_serve_expert_tokens",
            "Tokens that chose an expert, of answers of `routing` and of a "
            "sample of the other requests.",
            ("layer", "expert"),
            registry=registry,
        )
        self.version = Gauge(
            "moe_serve_version",
            "Versions: 1 where one is available, 0 where it cannot be loaded "
            "or was let go.",
            ("version",),
            registry=registry,
        )
        self.broken_versions = Counter(
            "moe_serve_broken_versions",
            "Versions that could not be loaded.",
            registry=registry,
        )

    def text(self):
        """Returns all of it in the format of Prometheus, as bytes."""
        return prometheus_client.generate_latest(self.registry)

    def count_call(self, rows, requests, seconds):
        """Counts a call of the model."""
        self.rows.observe(rows)
        self.requests_of_call.observe(requests)
        self.call_seconds.observe(seconds)

    def count_version(self, version):
        """Counts a `Version` that has changed."""
        available = version.model is not None
        self.version.labels(version.number).set(int(available))
        if version.error:
            self.broken_versions.inc()
