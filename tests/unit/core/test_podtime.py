"""What the controller makes of workloads whose sidecars are left to their Pods."""

from dataclasses import replace
from typing import Any

import pytest

from sidecarpolicy.api.names import ROLLOUT_ANNOTATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.capability import NodeTally
from sidecarpolicy.core.facts import WorkloadFacts, workload_facts
from sidecarpolicy.core.marker import read_markers
from sidecarpolicy.core.plan import plan
from sidecarpolicy.core.podtime import MAX_MARKER
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.standing import State
from tests.support.builders import (
    deployment,
    pods_of,
    policy,
    sidecar,
    snapshot,
    template,
    workload,
)
from tests.support.plans import KEY, STOPPED, after, brought, changed, many, states

JSON = dict[str, Any]
AT_PODS: JSON = {"injectAt": "Pod"}
NEWER: JSON = {"sidecars": [sidecar("agent")]}
OWNER = {"apiVersion": "serving.knative.dev/v1", "kind": "Revision", "name": "r1"}
OWNED: JSON = {"metadata": {"ownerReferences": [{**OWNER, "controller": True}]}}


def view(*workloads: WorkloadFacts, **fields: Any) -> Snapshot:
    """A snapshot of workloads under one policy of Pod time."""
    return snapshot(policies=(policy(**{**AT_PODS, **fields}),), workloads=workloads)


def marked(**fields: Any) -> WorkloadFacts:
    """A Deployment that promises what a policy wants, and has rolled."""
    start = view(workload(), **fields)
    return after(plan(start), status={"observedGeneration": 2})


def promises(facts: WorkloadFacts) -> dict[str, list[str]]:
    """Names of the promised sidecars, by policy."""
    found = read_markers(pods_of(facts))
    return {key: [each["name"] for each in wish.sidecars] for key, wish in found.items()}


def test_a_template_gets_nothing_but_the_annotation() -> None:
    (change,) = plan(view(workload())).changes
    assert change.template["spec"] == template()["spec"]
    assert list(change.template["metadata"]["annotations"]) == [ROLLOUT_ANNOTATION]
    assert change.rehearsal != change.difference
    assert states(plan(view(workload()))) == {"web": (State.PENDING, None)}


def test_planning_the_result_of_a_plan_changes_nothing() -> None:
    decided = plan(view(marked()))
    assert decided.changes == ()
    assert states(decided) == {"web": (State.CURRENT, None)}


def test_a_marked_workload_is_current_only_when_its_owners_rollout_is_finished() -> None:
    rolling = after(plan(view(workload())), status={"observedGeneration": 1})
    assert states(plan(view(rolling))) == {"web": (State.UPDATING, None)}
    gave_up = {"observedGeneration": 2, "updatedReplicas": 1, "conditions": STOPPED}
    stuck = after(plan(view(workload())), status=gave_up)
    found = plan(replace(view(stuck), origins=brought(stuck.ref)))
    assert states(found) == {"web": (State.FAILED, Reason.ROLLOUT_FAILED)}
    (change,) = found.changes
    assert change.template == template()


def test_a_new_revision_changes_the_annotation_and_another_selector_does_not() -> None:
    (change,) = plan(view(marked(), **NEWER)).changes
    (wish,) = read_markers(change.template).values()
    assert [each["name"] for each in wish.sidecars] == ["agent"]
    assert plan(view(marked(), selector={"matchLabels": {"app": "web"}})).changes == ()


@pytest.mark.parametrize(
    "left",
    [
        view(marked(), selector={"matchLabels": {"app": "db"}}),
        snapshot(workloads=(marked(),), gone=frozenset({KEY})),
        replace(view(marked()), namespace_opted_out=True),
    ],
    ids=["is narrowed", "is gone", "meets an opt-out"],
)
def test_the_annotation_goes_when_its_policy(left: Snapshot) -> None:
    (change,) = plan(left).changes
    assert change.template == template()
    assert change.taken_out == {KEY}
    assert change.rehearsal == []


def test_the_annotation_stays_while_nobody_knows_what_became_of_its_policy() -> None:
    assert plan(snapshot(workloads=(marked(),))).changes == ()


@pytest.mark.parametrize(
    ("fields", "nodes", "reason"),
    [
        ({"paused": True}, NodeTally(1, 1), Reason.PAUSED),
        ({}, NodeTally(0, 2), Reason.NO_CAPABLE_NODES),
    ],
    ids=["the policy is paused", "no node is capable"],
)
def test_an_older_promise_is_held_while(fields: JSON, nodes: NodeTally, reason: Reason) -> None:
    held = replace(view(marked(), **NEWER, **fields), nodes=nodes)
    assert plan(held).changes == ()
    assert states(plan(held)) == {"web": (State.PENDING, reason)}


def test_workloads_are_marked_at_the_pace_of_the_policy() -> None:
    start = view(*many(20), rollout={"maxConcurrent": "10%"})
    assert len(changed(plan(start))) == 2
    gave_up = {"observedGeneration": 2, "updatedReplicas": 1, "conditions": STOPPED}
    failed = after(plan(view(workload())), status=gave_up)
    paused = view(failed, *many(3), rollout={"onFailure": "Pause"})
    stopped = replace(paused, origins=brought(failed.ref))
    assert plan(stopped).changes == ()
    assert states(plan(stopped))["web-00"] == (State.PENDING, Reason.ROLLOUT_STOPPED)


def test_overhead_is_that_of_the_pods_to_come() -> None:
    asks = {"sidecars": [sidecar(resources={"requests": {"cpu": "100m"}})]}
    (standing,) = plan(view(marked(**asks), **asks)).standings[KEY]
    assert standing.overhead is not None
    assert {name: str(each) for name, each in standing.overhead.requests.items()} == {"cpu": "100m"}
    assert standing.pods == 2


def test_going_from_the_template_to_the_pods_and_back_is_one_change_each() -> None:
    auto = snapshot(policies=(policy(),), workloads=(workload(),))
    injected = after(plan(auto), status={"observedGeneration": 2})
    (there,) = plan(view(injected)).changes
    assert there.template["spec"] == template()["spec"]
    assert list(read_markers(there.template)) == [KEY]
    back = snapshot(policies=(policy(),), workloads=(marked(),))
    (change,) = plan(back).changes
    assert change.template == pods_of(injected)
    assert states(plan(view(injected))) == {"web": (State.PENDING, None)}
    assert states(plan(back)) == {"web": (State.PENDING, None)}


def test_a_name_that_the_user_takes_later_is_a_conflict() -> None:
    theirs = pods_of(marked())
    theirs["spec"]["containers"].append({"name": "shipper", "image": "mine"})
    decided = plan(view(workload(pods=theirs)))
    assert states(decided) == {"web": (State.CONFLICTED, Reason.NAME_CONFLICT)}


def test_what_an_annotation_cannot_hold_is_a_conflict_and_changes_nothing() -> None:
    env = [{"name": "BLOB", "value": "x" * MAX_MARKER}]
    large = {"sidecars": [sidecar(env=env)]}
    for facts in (workload(), marked()):
        decided = plan(view(facts, **large))
        assert decided.changes == ()
        assert states(decided) == {"web": (State.CONFLICTED, Reason.MARKER_TOO_LARGE)}


def test_without_a_webhook_nothing_is_promised_and_what_is_promised_is_a_problem() -> None:
    without = replace(view(workload("new"), marked()), webhook=False)
    decided = plan(without)
    assert decided.changes == ()
    assert states(decided) == {
        "new": (State.PENDING, Reason.WEBHOOK_NOT_REGISTERED),
        "web": (State.CURRENT, Reason.WEBHOOK_NOT_REGISTERED),
    }


def test_a_controllers_workload_can_have_the_annotation_and_nothing_else() -> None:
    owned = workload(**OWNED)
    decided = plan(snapshot(policies=(policy(),), workloads=(owned,)))
    assert states(decided) == {"web": (State.SKIPPED, Reason.OWNED_BY_CONTROLLER)}
    (standing,) = decided.standings[KEY]
    assert standing.finding is not None
    assert "Revision.serving.knative.dev r1" in standing.finding.message
    assert "injectAt: Pod" in standing.finding.message
    (change,) = plan(view(owned)).changes
    assert change.owner == "Revision.serving.knative.dev r1"
    assert change.template["spec"] == template()["spec"]


def test_a_running_job_keeps_what_it_was_created_with() -> None:
    old = workload_facts(deployment("nightly", pods=pods_of(marked())), kind="Job")
    assert plan(view(old)).changes == ()
    assert states(plan(view(old))) == {"nightly": (State.CURRENT, None)}
    assert states(plan(view(old, **NEWER))) == {
        "nightly": (State.SKIPPED, Reason.IMMUTABLE_TEMPLATE)
    }


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "CronJob", "Job"])
def test_workloads_that_promise_something_are_known_by_their_template(kind: str) -> None:
    def facts(pods: JSON) -> WorkloadFacts:
        made = deployment(pods=pods)
        if kind == "CronJob":
            made["spec"] = {"jobTemplate": {"spec": made["spec"]}}
        return workload_facts(made, kind=kind)

    assert facts(pods_of(marked())).promising
    assert not facts(template()).promising


def test_a_daemon_sets_annotation_promises_nothing() -> None:
    pods = template()
    pods["metadata"]["annotations"] = {ROLLOUT_ANNOTATION: f'{{"{KEY}":"1f"}}'}
    assert not workload_facts(deployment(pods=pods), kind="DaemonSet").promising


GITOPS = {
    "manager": "argocd-controller",
    "operation": "Apply",
    "fieldsV1": {
        "f:spec": {
            "f:template": {
                "f:spec": {
                    "f:affinity": {
                        "f:nodeAffinity": {"f:requiredDuringSchedulingIgnoredDuringExecution": {}}
                    },
                    "f:nodeSelector": {},
                }
            }
        }
    },
}


def test_a_rule_that_has_no_place_is_left_to_the_pods_if_a_webhook_sees_them() -> None:
    owned = workload(metadata={"managedFields": [GITOPS]})
    both = snapshot(policies=(policy(),), workloads=(owned,))
    (change,) = plan(both).changes
    assert "affinity" not in change.template["spec"]
    assert "nodeSelector" not in change.template["spec"]
    assert [each["name"] for each in change.template["spec"]["initContainers"]] == ["shipper"]
    without = replace(both, webhook=False)
    assert states(plan(without)) == {"web": (State.SKIPPED, Reason.NODE_RULE_OWNED_BY_GITOPS)}
    injected = after(
        plan(both), metadata={"managedFields": [GITOPS]}, status={"observedGeneration": 2}
    )
    assert injected.promising
    assert plan(replace(both, workloads=(injected,))).changes == ()
    later = replace(both, workloads=(injected,), webhook=False)
    assert plan(later).changes == ()
    assert states(plan(later)) == {"web": (State.CURRENT, Reason.WEBHOOK_NOT_REGISTERED)}
