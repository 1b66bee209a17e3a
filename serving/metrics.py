"""The server's figures in Prometheus's text format, named as TF Serving names them; times in microseconds."""
from __future__ import annotations

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

prometheus_client.disable_created_metrics()
#: TF Serving's buckets of request latency: 10 * 1.8^k.
BUCKETS = tuple(10 * 1.8 ** power for power in range(33))
PATH = "/monitoring/prometheus/metrics"


class Metrics:
    """Counts and times. The label `model_version`, of the version that answered, is this server's own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        of_request = ["model_name", "model_version", "API", "entrypoint"]
        self._count = Counter(":tensorflow:serving:request_count", "The total number of requests.",
                              [*of_request, "status"],
                              registry=self.registry)
        self._latency = Histogram(":tensorflow:serving:request_latency", "Distribution of wall time (in microseconds) "
                                                                         "for requests.",
                                  of_request, buckets=BUCKETS, registry=self.registry)
        self._batch_size = Histogram(":tensorflow:serving:batching_session:batch_size", "Rows of the batches that ran, "
                                                                                        "padding with them.",
                                     buckets=[2 ** power for power in range(14)], registry=self.registry)
        self._padding = Histogram(":tensorflow:serving:batching_session:padding_size", "Rows that pad a batch.",
                                  buckets=[0, *(2 ** power for power in range(14))], registry=self.registry)
        self._queuing = Histogram(":tensorflow:serving:batching_session:queuing_latency",
                                  "Microseconds that a batch's oldest request waited.", buckets=BUCKETS,
                                  registry=self.registry)
        self.waiting = Gauge(":tensorflow:serving:batching_session:queue_size", "Requests that wait for a batch.",
                             registry=self.registry)
        self.under_way = Gauge(":tensorflow:serving:requests_under_way", "Requests in flight.", registry=self.registry)

    def request(self, model: str, version: str, call: str, entry: str, status: str, seconds: float) -> None:
        """Count a request that has ended.

        Args:
            call: Predict, Classify, …
            entry: GRPC or REST.
            status: gRPC's name of its code.
        """
        self._count.labels(model, version, call, entry, status).inc()
        self._latency.labels(model, version, call, entry).observe(seconds * 1e6)

    def batch(self, rows: int, padding: int, seconds: float) -> None:
        """Count a batch that starts."""
        self._batch_size.observe(rows)
        self._padding.observe(padding)
        self._queuing.observe(seconds * 1e6)

    def page(self) -> bytes:
        """Return everything, as Prometheus reads it. TF Serving's counter has no `_total`."""
        return prometheus_client.generate_latest(self.registry).replace(b":request_count_total", b":request_count")
