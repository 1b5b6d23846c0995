"""Metrics of the controller, for Prometheus: Pods by what is wrong with their native sidecars."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.trouble import REASONS


class Metrics:
    """Counts in a registry of its own, when asked."""

    def __init__(self, reasons: Callable[[], Mapping[Reason, int]]) -> None:
        """`reasons` counts the Pods that something is wrong with by now."""
        self._registry = CollectorRegistry()
        self._reasons = reasons
        self._pods = Gauge(
            "sidecarpolicy_controller_problem_pods",
            "Pods that something is wrong with, by reason; an owner that gets no Pods is one.",
            ("reason",),
            registry=self._registry,
        )

    def text(self) -> bytes:
        """All metrics in Prometheus' text format; a reason that nothing suffers from is 0."""
        counted = self._reasons()
        for reason in REASONS:
            self._pods.labels(reason.value).set(counted.get(reason, 0))
        return generate_latest(self._registry)
