"""On the owner's next update: nothing that exists is touched, and one rollout brings it in."""

import copy
from dataclasses import replace
from typing import Any

import pytest

from sidecarpolicy.api.names import ROLLOUT_ANNOTATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.facts import policy_facts
from sidecarpolicy.core.plan import plan
from sidecarpolicy.core.standing import State
from tests.support.builders import (
    deployment,
    pods_of,
    policy,
    policy_object,
    sidecar,
    snapshot,
    workload,
)
from tests.support.plans import changed, injected, states
from tests.support.reviews import admitted, memory

JSON = dict[str, Any]
LATER: JSON = {"rollout": {"existing": "OnNextUpdate"}}
LEFT = (State.PENDING, Reason.ON_NEXT_UPDATE)
NEWER = [sidecar(image="newer")]


def edited(obj: JSON) -> JSON:
    made = copy.deepcopy(obj)
    made["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx:2"
    return made


def images(obj: JSON) -> list[str]:
    spec = obj["spec"]["template"]["spec"]
    return [each["image"] for each in (*spec.get("initContainers", ()), *spec["containers"])]


def daemon_set() -> JSON:
    return {**deployment("agent"), "kind": "DaemonSet"}


def daemons(of: JSON) -> JSON:
    return policy_object(targets=[{"kind": "DaemonSet"}], **of)


@pytest.mark.parametrize("one", [workload(), injected()], ids=["without parts", "with older ones"])
def test_what_exists_is_left_to_its_owner(one: Any) -> None:
    decided = plan(snapshot(policies=(policy(**LATER, sidecars=NEWER),), workloads=(one,)))
    assert changed(decided) == []
    assert states(decided) == {"web": LEFT}


def test_what_is_up_to_date_is_current() -> None:
    done = replace(injected(), rollout=workload().rollout)
    assert states(plan(snapshot(policies=(policy(**LATER),), workloads=(done,)))) == {
        "web": (State.CURRENT, None)
    }


def test_a_workload_that_rolls_by_itself_is_left_to_its_owner_as_well() -> None:
    rolling = workload(status={"updatedReplicas": 1}, metadata={"creationTimestamp": "2020"})
    decided = plan(snapshot(policies=(policy(**LATER),), workloads=(rolling,)))
    assert states(decided) == {"web": LEFT}


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"policies": (policy(**LATER, selector={"matchLabels": {"a": "b"}}),)},
                     id="no longer selected"),
        pytest.param({"policies": (policy(**LATER),), "namespace_opted_out": True}, id="opted out"),
        pytest.param({"gone": frozenset({"SidecarPolicy/log-shipper"})}, id="the policy is gone"),
    ],
)  # fmt: skip
def test_taking_back_waits_for_nobody(arguments: Any) -> None:
    decided = plan(snapshot(workloads=(injected(),), **arguments))
    assert [each.template for each in decided.changes] == [pods_of(workload())]


def test_a_new_workload_gets_its_parts_at_once() -> None:
    made = admitted(deployment(), memory(policy_object(**LATER)), kind="Deployment")
    assert images(made) == ["fluent/fluent-bit:3.2", "nginx"]


def test_the_owners_next_change_brings_the_first_revision_in() -> None:
    view = memory(policy_object(**LATER))
    result = admitted(edited(deployment()), view, kind="Deployment", old=deployment())
    assert images(result) == ["fluent/fluent-bit:3.2", "nginx:2"]


def test_the_owners_next_change_brings_a_newer_revision_in() -> None:
    view = memory(policy_object(**LATER))
    old = admitted(deployment(), view, kind="Deployment")
    view.policies.store(policy_facts(policy_object(**LATER, sidecars=NEWER)))
    assert images(admitted(edited(old), view, kind="Deployment", old=old)) == ["newer", "nginx:2"]


def test_a_replace_that_only_drops_our_parts_is_no_change_of_the_owners() -> None:
    view = memory(policy_object(**LATER))
    old = admitted(deployment(), view, kind="Deployment")
    view.policies.store(policy_facts(policy_object(**LATER, sidecars=NEWER)))
    assert admitted(deployment(), view, kind="Deployment", old=old) == old


def test_a_paused_policy_brings_nothing_in_with_an_owners_change() -> None:
    view = memory(policy_object(**LATER, paused=True))
    mine = edited(deployment())
    assert admitted(mine, view, kind="Deployment", old=deployment()) == mine


def test_the_owners_change_of_a_daemon_set_names_the_revision_that_its_pods_get() -> None:
    first, then = daemons(LATER), daemons({**LATER, "sidecars": NEWER})
    view = memory(first)
    old = admitted(daemon_set(), view, kind="DaemonSet")
    view.policies.store(policy_facts(then))
    result = admitted(edited(old), view, kind="DaemonSet", old=old)
    revision = policy_facts(then).desired
    assert revision is not None
    annotations = result["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {ROLLOUT_ANNOTATION: f'{{"{revision.key}":"{revision.revision}"}}'}


def test_a_replace_of_a_daemon_set_without_the_annotation_makes_nothing_roll() -> None:
    view = memory(daemons({}))
    old = admitted(daemon_set(), view, kind="DaemonSet")
    view.policies.store(policy_facts(daemons({"sidecars": NEWER})))
    assert admitted(daemon_set(), view, kind="DaemonSet", old=old) == old
