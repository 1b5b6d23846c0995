"""Metrics of the webhook, for Prometheus: what was asked, how it went, how old its memory is."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from sidecarpolicy.webhook.review import Reviewed

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
"""Seconds, up to the timeout of the webhook's configuration."""


class Metrics:
    """Counts reviews in a registry of its own."""

    def __init__(self, heard: Callable[[], float]) -> None:
        """`heard` is the monotonic time at which every watch was last known to be alive."""
        self._registry = CollectorRegistry()
        self._reviews = Counter(
            "sidecarpolicy_webhook_reviews",
            "Admission reviews by kind, operation and result.",
            ("kind", "operation", "result"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "sidecarpolicy_webhook_review_seconds",
            "Time to decide about a review, in seconds; without the network.",
            buckets=_BUCKETS,
            registry=self._registry,
        )
        Gauge(
            "sidecarpolicy_webhook_memory_age_seconds",
            "Seconds since the API server was last heard on the quietest watch.",
            registry=self._registry,
        ).set_function(lambda: time.monotonic() - heard())

    def observe(self, reviewed: Reviewed | None, seconds: float) -> None:
        """Takes in one review; None for what was no review at all."""
        self._seconds.observe(seconds)
        if reviewed is None:
            self._reviews.labels("", "", "bad").inc()
        else:
            self._reviews.labels(reviewed.kind, reviewed.operation, reviewed.result).inc()

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
