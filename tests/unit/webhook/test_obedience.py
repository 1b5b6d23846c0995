"""The webhook obeys what a policy's status says: it cannot ask the API server itself."""

from typing import Any

import pytest

from sidecarpolicy.core.facts import policy_facts
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


def added(
    policy: JSON,
    obj: JSON,
    *,
    kind: str = "Deployment",
    old: JSON | None = None,
    server: str = "v1.36.3",
) -> int:
    """How many init containers there are more."""
    before = obj["spec"] if kind == "Pod" else obj["spec"]["template"]["spec"]
    view = memory(policy)
    view.judge_by(server)
    stored = admitted(obj, view, kind=kind, old=old)["spec"]
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


def universal(policy: JSON) -> JSON:
    command = {"name": "shipper", "image": "shipper:1", "command": ["ship"]}
    return {**policy, "spec": {**policy["spec"], "mode": "Universal", "sidecars": [command]}}


DROPS = condition("ClusterCapable", "ApiServerDropsField")
KEEPS = condition("ClusterCapable", "Capable", "True")
STRIPPED = condition("ClusterCapable", "StrippedByWebhook")


@pytest.mark.parametrize(
    ("policy", "server", "waits"),
    [
        pytest.param(saying(), "v1.31.0", True, id="nobody knows yet"),
        pytest.param(saying(), "", True, id="not even a version"),
        pytest.param(saying(), "v1.36.3", False, id="its version says so"),
        pytest.param(KEEPS, "v1.31.0", False, id="it keeps the field"),
        pytest.param(DROPS, "v1.31.0", False, id="it drops the field"),
        pytest.param(STRIPPED, "v1.36.3", True, id="a webhook strips it"),
    ],
)
def test_a_policy_in_mode_universal_waits_until_the_api_server_is_known(
    policy: JSON, server: str, waits: bool
) -> None:
    assert (added(universal(policy), deployment(), server=server) == 0) is waits


def test_what_the_api_server_does_decides_the_revision() -> None:
    revisions = {
        each.revision
        for status in (saying(), KEEPS, DROPS)
        if (each := policy_facts(universal(status)).desired)
    }
    assert len(revisions) == 2
    assert policy_facts(DROPS).desired == policy_facts(KEEPS).desired
