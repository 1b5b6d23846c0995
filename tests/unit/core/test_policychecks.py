"""Checks of policies: which statuses are told, and in which words."""

from typing import Any

import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.checkup import State
from sidecarpolicy.core.policychecks import PATIENCE_SECONDS, policies

JSON = dict[str, Any]
CREATED, NOW = "1970-01-01T00:16:40Z", 1000.0 + PATIENCE_SECONDS + 1
STRIPPED = {"reason": "StrippedByWebhook", "message": "something strips"}


def policy(*conditions: JSON, generation: int = 1, **status: Any) -> JSON:
    """A policy whose conditions are as they should be, but for these."""
    sound = {
        each: {"type": each, "status": "True"} for each in ("Accepted", "ClusterCapable", "Ready")
    }
    sound |= {each["type"]: each for each in conditions}
    meta = {"name": "logs", "namespace": "shop", "generation": 1, "creationTimestamp": CREATED}
    fields = {"observedGeneration": generation, "conditions": [*sound.values()], **status}
    return {"kind": "SidecarPolicy", "metadata": meta, "status": fields}


def condition(name: str, value: str, **fields: str) -> JSON:
    return {"type": name, "status": value, **fields}


@pytest.mark.parametrize(
    ("found", "reason", "message"),
    [
        pytest.param(
            policy(condition("Accepted", "False", reason="Invalid", message="no image")),
            Reason.INVALID, "Accepted is False: no image", id="that is invalid",
        ),
        pytest.param(
            policy(
                condition("Ready", "False", **STRIPPED),
                condition("ClusterCapable", "False", **STRIPPED),
            ),
            Reason.STRIPPED_BY_WEBHOOK, "ClusterCapable is False: something strips",
            id="that works nowhere, which its Ready repeats",
        ),
        pytest.param(
            policy(condition("Stalled", "True", reason="RolloutStopped", message="two failed")),
            Reason.ROLLOUT_STOPPED, "Stalled is True: two failed", id="that is stalled",
        ),
        pytest.param(
            policy(blockedNamespaces=[{"namespace": "shop", **STRIPPED}]),
            Reason.STRIPPED_BY_WEBHOOK, "blocked in namespace shop: something strips",
            id="that is blocked in a namespace",
        ),
        pytest.param(
            policy(workloads={"failed": 2}),
            Reason.WORKLOADS_FAILED, "workloads that failed their rollout: 2",
            id="whose workloads failed",
        ),
        pytest.param(
            policy(generation=-1), None, "the controller has not reported on its current spec",
            id="that nobody has looked at",
        ),
        pytest.param(
            policy(condition("Ready", "False", reason="OfTheFuture", message="new")),
            None, "Ready is False: new", id="with a reason of a later version",
        ),
    ],
)  # fmt: skip
def test_a_policy(found: JSON, reason: Reason | None, message: str) -> None:
    (checked,) = policies([policy(), found], NOW)
    assert checked.state is State.PROBLEM
    assert (checked.about, checked.reason) == ("SidecarPolicy shop/logs", reason)
    assert (checked.message, checked.details) == (message, ())
    assert checked.next_step.endswith("kubectl get sidecarpolicy logs -n shop -o yaml")


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(policy(), id="that is well"),
        pytest.param(policy(condition("Stalled", "False")), id="that is stalled no more"),
        pytest.param(policy(problems=[{"kind": "Job", "name": "x"}]), id="with remarks only"),
    ],
)
def test_a_policy_is_not_told(found: JSON) -> None:
    (checked,) = policies([found], NOW)
    assert (checked.state, checked.message) == (State.FINE, "1 policy, nothing wrong")


def test_a_policy_that_was_just_made_is_given_time() -> None:
    (checked,) = policies([policy(generation=-1)], NOW - 1)
    assert checked.state is State.FINE


def test_the_workloads_of_an_unhealthy_policy_are_named() -> None:
    ill = {"kind": "Deployment", "name": "web", "namespace": "shop", "reason": "Refused"}
    found = policy(workloads={"failed": 1}, problems=[{**ill, "message": "no"}])
    (checked,) = policies([found], NOW)
    assert checked.details == ("Deployment shop/web: Refused: no",)


def test_a_policy_of_the_cluster_has_no_namespace() -> None:
    found = policy(workloads={"failed": 1})
    del found["metadata"]["namespace"]
    (checked,) = policies([{**found, "kind": "ClusterSidecarPolicy"}], NOW)
    assert checked.about == "ClusterSidecarPolicy logs"
    assert checked.next_step.endswith("kubectl get clustersidecarpolicy logs -o yaml")


def test_no_policies_are_no_problem() -> None:
    assert [each.message for each in policies([], NOW)] == ["there are none"]
