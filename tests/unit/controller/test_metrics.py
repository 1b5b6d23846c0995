"""The controller's metrics: what there is has a value, also while there is none of it."""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.cluster.outcome import Outcome, Result
from sidecarpolicy.cluster.resources import (
    CLUSTER_POLICIES,
    DEPLOYMENTS,
    EVENTS,
    NAMESPACES,
    NODES,
    POLICIES,
    Resource,
    written,
)
from sidecarpolicy.controller.metrics import Metrics, Sources
from sidecarpolicy.core.capability import Verdict
from sidecarpolicy.core.standing import State
from sidecarpolicy.core.trouble import REASONS

NAME = "sidecarpolicy_controller"


def metrics(**sources: Any) -> Metrics:
    nothing: Mapping[Any, int] = {}
    given = {
        "leads": lambda: True,
        "heard": time.monotonic,
        **dict.fromkeys(("workloads", "nodes", "queues", "reasons"), lambda: nothing),
    }
    return Metrics(Sources(**{**given, **sources}))


def values(found: Metrics, name: str) -> dict[str, float]:
    """The samples of one metric by their labels."""
    lines = (line.rpartition(" ") for line in found.text().decode().splitlines())
    return {
        sample.removeprefix(f"{NAME}_{name}"): float(value)
        for sample, _, value in lines
        if sample.partition("{")[0] == f"{NAME}_{name}"
    }


def test_each_reason_is_counted_when_asked() -> None:
    counted: Counter[Reason] = Counter()
    found = metrics(reasons=lambda: counted)
    counted[Reason.CRASH_LOOPING] = 3
    assert values(found, "problem_pods")['{reason="CrashLooping"}'] == 3
    counted.clear()
    zeros = {f'{{reason="{reason}"}}': 0.0 for reason in REASONS}
    assert values(found, "problem_pods") == zeros


def test_workloads_are_counted_by_kind_of_policy_and_state() -> None:
    found = metrics(workloads=lambda: {("SidecarPolicy", State.CURRENT): 7})
    samples = values(found, "workloads")
    assert samples['{policy_kind="SidecarPolicy",state="current"}'] == 7
    assert samples['{policy_kind="ClusterSidecarPolicy",state="failed"}'] == 0
    assert len(samples) == 2 * len(State)


def test_nodes_are_counted_by_verdict_and_queues_by_what_waits() -> None:
    found = metrics(nodes=lambda: {Verdict.REJECTS: 2}, queues=lambda: {"namespaces": 5})
    assert values(found, "nodes") == {
        '{verdict="true"}': 0, '{verdict="false"}': 0,
        '{verdict="rejects"}': 2, '{verdict="unknown"}': 0,
    }  # fmt: skip
    assert values(found, "queue_depth") == {'{queue="namespaces"}': 5}


def test_writes_are_counted_by_resource_and_result() -> None:
    found = metrics()
    path = DEPLOYMENTS.path(namespace="shop", name="web")
    found.wrote(path, Outcome(Result.CONFLICT))
    found.wrote(path, Outcome(Result.CONFLICT))
    found.wrote(NODES.path(name="n"), Outcome(Result.DONE))
    assert values(found, "writes_total") == {
        '{resource="deployments",result="conflict"}': 2,
        '{resource="nodes",result="done"}': 1,
    }


def test_who_leads_and_how_old_what_it_knows_is() -> None:
    found = metrics(leads=lambda: False, heard=lambda: time.monotonic() - 40)
    assert values(found, "leader") == {"": 0}
    assert 39 < values(found, "watch_age_seconds")[""] < 60


def test_a_pass_is_counted_in_the_bucket_of_its_duration() -> None:
    found = metrics()
    found.passed(0.3)
    buckets = values(found, "reconcile_seconds_bucket")
    assert (buckets['{le="0.1"}'], buckets['{le="0.5"}'], buckets['{le="+Inf"}']) == (0, 1, 1)


@pytest.mark.parametrize(
    ("resource", "namespace", "name", "subresource", "expected"),
    [
        (DEPLOYMENTS, "shop", "web", "", "deployments"),
        (EVENTS, "shop", None, "", "events"),
        (NODES, None, "n", "", "nodes"),
        (NAMESPACES, None, "shop", "", "namespaces"),
        (POLICIES, "shop", "logs", "/status", "sidecarpolicies/status"),
        (CLUSTER_POLICIES, None, "logs", "/status", "clustersidecarpolicies/status"),
    ],
    ids=str,
)
def test_a_resource_is_named_as_rbac_does(
    resource: Resource, namespace: str | None, name: str | None, subresource: str, expected: str
) -> None:
    assert written(resource.path(namespace=namespace, name=name) + subresource) == expected
