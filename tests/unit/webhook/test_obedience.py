"""The webhook obeys what a policy's status says: it cannot ask the API server itself."""

from typing import Any

import pytest

from tests.support.admission import names, pod
from tests.support.builders import policy_object
from tests.support.cluster import deployment
from tests.support.reviews import admitted, memory

JSON = dict[str, Any]
EVERY = [{"kind": kind} for kind in ("Deployment", "Pod")]


def saying(**status: Any) -> JSON:
    return {**policy_object(targets=EVERY), "status": status}


def blocking(*namespaces: str) -> JSON:
    entry = {"reason": "Refused", "message": "no"}
    return saying(blockedNamespaces=[{**entry, "namespace": each} for each in namespaces])


def condition(type_: str, reason: str, value: str = "False") -> JSON:
    return saying(
        conditions=[{"type": type_, "status": value, "reason": reason, "message": "because"}]
    )


def added(policy: JSON, obj: JSON, *, kind: str = "Deployment", old: JSON | None = None) -> int:
    """How many init containers there are more."""
    before = obj["spec"] if kind == "Pod" else obj["spec"]["template"]["spec"]
    stored = admitted(obj, memory(policy), kind=kind, old=old)["spec"]
    after = stored if kind == "Pod" else stored["template"]["spec"]
    return len(names(after)) - len(names(before))


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(blocking("shop"), id="in this namespace"),
        pytest.param(blocking(*(f"n{n}" for n in range(100))), id="in more than can be listed"),
        pytest.param(condition("Accepted", "Invalid"), id="because it is malformed"),
        pytest.param(condition("ClusterCapable", "ApiServerDropsField"), id="by the API server"),
        pytest.param(condition("ClusterCapable", "StrippedByWebhook"), id="by webhooks"),
    ],
)
def test_a_policy_that_is_blocked_adds_nothing(policy: JSON) -> None:
    assert added(policy, deployment()) == 0
    assert added(policy, pod(), kind="Pod") == 0
    changed = deployment(pod={"hostNetwork": True})
    assert added(policy, changed, old=deployment()) == 0


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(saying(), id="says nothing"),
        pytest.param(blocking("bank"), id="is blocked elsewhere"),
        pytest.param(condition("ClusterCapable", "Capable", "True"), id="is fine"),
        pytest.param(
            condition("ClusterCapable", "NoCapableNodes"), id="had no nodes, which we see better"
        ),
        pytest.param(condition("Ready", "Refused"), id="is blocked in other namespaces"),
    ],
)
def test_a_policy_adds_its_sidecars_that(policy: JSON) -> None:
    assert added(policy, deployment()) == 1


def test_a_change_of_a_workload_that_was_refused_passes_and_others_get_their_sidecars() -> None:
    refusal = {"kind": "Deployment", "namespace": "shop", "name": "web", "message": "no"}
    told = saying(problems=[{**refusal, "reason": "Refused"}])
    changed = deployment(pod={"hostNetwork": True})
    assert added(told, changed, old=deployment()) == 0
    assert added(told, deployment("other")) == 1
    other = saying(problems=[{**refusal, "reason": "NotSettled"}])
    assert added(other, changed, old=deployment()) == 1
