"""Metrics of the controller, for Prometheus (docs/metrics.md): what there is, as counted when
asked, and what was done, as it happened.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from sidecarpolicy.api.names import CLUSTER_KIND, KIND
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.cluster.outcome import Outcome
from sidecarpolicy.cluster.resources import written
from sidecarpolicy.core.capability import Verdict
from sidecarpolicy.core.standing import State
from sidecarpolicy.core.trouble import REASONS

_PREFIX = "sidecarpolicy_controller"
_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0)
"""Seconds: from a look at one namespace to a wave of writes that a slow server takes."""


@dataclass(frozen=True)
class Sources:
    """Where to ask what there is."""

    leads: Callable[[], bool]
    heard: Callable[[], float]
    """The monotonic time at which every watch was last known to be alive."""
    workloads: Callable[[], Mapping[tuple[str, State], int]]
    """By kind of policy and state."""
    nodes: Callable[[], Mapping[Verdict, int]]
    queues: Callable[[], Mapping[str, int]]
    reasons: Callable[[], Mapping[Reason, int]]
    """Pods by what is wrong with them."""


class Metrics:
    """Counts in a registry of its own."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._registry = CollectorRegistry()
        self._leader = self._gauge("leader", "1 where this process writes, 0 where it stands by.")
        self._age = self._gauge(
            "watch_age_seconds",
            "Seconds since the API server was last heard on the quietest watch.",
        )
        self._workloads = self._gauge(
            "workloads",
            "Selected workloads by kind of policy and state, as in the policies' statuses; 0 on a "
            "standby.",
            "policy_kind",
            "state",
        )
        self._nodes = self._gauge(
            "nodes", "Nodes by what their kubelets do with native sidecars.", "verdict"
        )
        self._queue = self._gauge("queue_depth", "What waits for its turn, by queue.", "queue")
        self._pods = self._gauge(
            "problem_pods",
            "Pods that something is wrong with, by reason; an owner that gets no Pods is one.",
            "reason",
        )
        self._writes = Counter(
            f"{_PREFIX}_writes",
            "Requests that write, by resource and result; without dry runs and the Lease.",
            ("resource", "result"),
            registry=self._registry,
        )
        self._passes = Histogram(
            f"{_PREFIX}_reconcile_seconds",
            "Duration of a pass over one namespace, its writes included, in seconds.",
            buckets=_BUCKETS,
            registry=self._registry,
        )

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{_PREFIX}_{name}", text, labels, registry=self._registry)

    def wrote(self, path: str, outcome: Outcome) -> None:
        """Takes in how a request that writes ended."""
        self._writes.labels(written(path), outcome.result.value).inc()

    def passed(self, seconds: float) -> None:
        """Takes in how long a pass over a namespace took."""
        self._passes.observe(seconds)

    @property
    def watch_age(self) -> float:
        """Seconds since the quietest watch was heard."""
        return time.monotonic() - self._sources.heard()

    def text(self) -> bytes:
        """All metrics in Prometheus' text format; what there is none of is 0."""
        self._leader.set(self._sources.leads())
        self._age.set(self.watch_age)
        workloads, nodes = self._sources.workloads(), self._sources.nodes()
        for kind in (KIND, CLUSTER_KIND):
            for state in State:
                self._workloads.labels(kind, state.value).set(workloads.get((kind, state), 0))
        for verdict in Verdict:
            self._nodes.labels(verdict.value).set(nodes.get(verdict, 0))
        for queue, depth in self._sources.queues().items():
            self._queue.labels(queue).set(depth)
        reasons = self._sources.reasons()
        for reason in REASONS:
            self._pods.labels(reason.value).set(reasons.get(reason, 0))
        return generate_latest(self._registry)
