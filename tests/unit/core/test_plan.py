"""The plan: who is changed, who is left alone, and how that reads."""

import json
from typing import Any

import jsonpatch
import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.capability import NodeTally
from sidecarpolicy.core.facts import Ref, WorkloadFacts, workload_facts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.plan import Attempt, Plan, Snapshot, Standing, State, plan, report
from tests.support.builders import (
    deployment,
    pods_of,
    policy,
    sidecar,
    snapshot,
    template,
    workload,
)

KEY = "SidecarPolicy/log-shipper"
WEB = Ref("Deployment", "shop", "web")


def states(decided: Plan, key: str = KEY) -> dict[str, tuple[State, Reason | None]]:
    return {
        each.ref.name: (each.state, each.finding.reason if each.finding else None)
        for each in decided.standings[key]
    }


def after(decided: Plan, **changes: Any) -> WorkloadFacts:
    """The workload as the API server would return it: patched, its generation raised."""
    (change,) = decided.changes
    raw = deployment(**changes)
    patched: Any = jsonpatch.apply_patch(raw, change.patch)
    patched["metadata"]["generation"] += 1
    return workload_facts(patched, kind="Deployment")


def test_a_selected_deployment_is_patched_under_the_guard_of_its_generation() -> None:
    decided = plan(snapshot(policies=(policy(),), workloads=(workload(),)))
    (change,) = decided.changes
    assert change.ref == WEB
    assert change.patch[0] == {"op": "test", "path": "/metadata/generation", "value": 1}
    assert states(decided) == {"web": (State.PENDING, None)}


def test_planning_the_result_of_a_plan_changes_nothing() -> None:
    start = snapshot(policies=(policy(),), workloads=(workload(),))
    again = plan(snapshot(policies=(policy(),), workloads=(after(plan(start)),)))
    assert again.changes == ()
    assert states(again) == {"web": (State.UPDATING, None)}


@pytest.mark.parametrize(
    ("fields", "pods"),
    [
        pytest.param(
            {"selector": {"matchLabels": {"logs": "shipped"}}}, template(), id="its labels"
        ),
        pytest.param(
            {"targets": [{"kind": "Deployment", "name": "api"}]}, template(), id="its name"
        ),
    ],
)
def test_a_deployment_is_not_matched_because_of(fields: Any, pods: Any) -> None:
    decided = plan(snapshot(policies=(policy(**fields),), workloads=(workload(pods=pods),)))
    assert decided == Plan((), {KEY: ()})


def injected(**fields: Any) -> WorkloadFacts:
    start = snapshot(policies=(policy(**fields),), workloads=(workload(),))
    return after(plan(start))


def test_a_policy_that_no_longer_selects_takes_its_parts_back() -> None:
    elsewhere = policy(selector={"matchLabels": {"app": "db"}})
    decided = plan(snapshot(policies=(elsewhere,), workloads=(injected(),)))
    assert len(decided.changes) == 1
    assert decided.standings[KEY] == ()


def test_opting_out_takes_the_parts_back_and_shows_as_skipped() -> None:
    decided = plan(
        snapshot(policies=(policy(),), workloads=(injected(),), namespace_opted_out=True)
    )
    assert len(decided.changes) == 1
    assert states(decided) == {"web": (State.SKIPPED, Reason.OPTED_OUT)}


def test_a_policy_that_is_merely_missing_keeps_its_parts_and_is_unaccounted_for() -> None:
    decided = plan(snapshot(workloads=(injected(),)))
    assert decided.changes == ()
    assert decided.unaccounted == {KEY}


def test_a_policy_that_is_proved_gone_gives_back_what_the_user_wrote() -> None:
    held = injected()
    decided = plan(snapshot(workloads=(held,), gone=frozenset({KEY})))
    (change,) = decided.changes
    raw = {"metadata": {"generation": 2}, "spec": {"template": pods_of(held)}}
    assert jsonpatch.apply_patch(raw, change.patch)["spec"]["template"] == template()


@pytest.mark.parametrize(
    ("fields", "nodes", "reason"),
    [
        pytest.param({}, NodeTally(0, 3), Reason.NO_CAPABLE_NODES, id="no node is capable"),
        pytest.param({"paused": True}, NodeTally(1, 1), Reason.PAUSED, id="it is paused"),
    ],
)
def test_a_policy_changes_nothing_while(fields: Any, nodes: NodeTally, reason: Reason) -> None:
    decided = plan(snapshot(policies=(policy(**fields),), workloads=(workload(),), nodes=nodes))
    assert decided.changes == ()
    assert states(decided) == {"web": (State.PENDING, reason)}


@pytest.mark.parametrize(
    ("fields", "nodes"),
    [
        pytest.param({}, NodeTally(0, 0), id="there are no nodes yet"),
        pytest.param({"nodeRule": "None"}, NodeTally(0, 3), id="the policy wants no node rule"),
    ],
)
def test_no_capable_node_is_no_obstacle_where(fields: Any, nodes: NodeTally) -> None:
    decided = plan(snapshot(policies=(policy(**fields),), workloads=(workload(),), nodes=nodes))
    assert len(decided.changes) == 1


def test_parts_stay_when_the_last_capable_node_goes() -> None:
    decided = plan(snapshot(policies=(policy(),), workloads=(injected(),), nodes=NodeTally(0, 2)))
    assert decided.changes == ()


def test_nothing_in_an_excluded_namespace_is_ever_touched() -> None:
    decided = plan(
        snapshot(policies=(policy(),), workloads=(workload(), injected()), excluded=True)
    )
    assert decided == Plan((), {KEY: ()})


def test_an_unreadable_policy_holds_its_parts() -> None:
    broken = policy(nodeRule="Sometimes")
    assert broken.invalid.startswith("spec.nodeRule")
    decided = plan(snapshot(policies=(broken,), workloads=(injected(),)))
    assert decided.changes == ()


def test_a_workload_of_another_controller_is_skipped_and_its_owner_named() -> None:
    owners = [{"kind": "Rollout", "name": "canary", "controller": True}]
    decided = plan(
        snapshot(policies=(policy(),), workloads=(workload(metadata={"ownerReferences": owners}),))
    )
    assert decided.changes == ()
    (standing,) = decided.standings[KEY]
    assert standing.finding is not None
    assert standing.finding.reason is Reason.OWNED_BY_CONTROLLER
    assert "Rollout canary" in standing.finding.message


def test_a_name_clash_shows_as_conflicted() -> None:
    clash = policy(sidecars=[sidecar("web")])
    decided = plan(snapshot(policies=(clash,), workloads=(workload(),)))
    assert decided.changes == ()
    assert states(decided) == {"web": (State.CONFLICTED, Reason.NAME_CONFLICT)}


@pytest.mark.parametrize(
    ("status", "state"),
    [
        pytest.param({"observedGeneration": 2}, State.CURRENT, id="all Pods are updated"),
        pytest.param({}, State.UPDATING, id="its controller has not seen the change"),
        pytest.param(
            {"observedGeneration": 2, "updatedReplicas": 1}, State.UPDATING, id="one Pod is old"
        ),
        pytest.param(
            {"observedGeneration": 2, "replicas": 3}, State.UPDATING, id="old Pods still run"
        ),
        pytest.param(
            {"observedGeneration": 2, "availableReplicas": 1}, State.UPDATING, id="one is not ready"
        ),
        pytest.param(
            {
                "observedGeneration": 2,
                "updatedReplicas": 1,
                "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}],
            },
            State.FAILED,
            id="the deadline passed",
        ),
    ],
)
def test_a_patched_deployment_is_as_far_as_its_rollout(status: Any, state: State) -> None:
    start = plan(snapshot(policies=(policy(),), workloads=(workload(),)))
    decided = plan(snapshot(policies=(policy(),), workloads=(after(start, status=status),)))
    assert states(decided)["web"][0] is state


def test_a_report_says_what_became_of_each_change() -> None:
    refused = Finding(Reason.REFUSED, "no")
    standings = [Standing(Ref("Deployment", "shop", name), State.PENDING) for name in "abcd"]
    attempts = {
        standings[0].ref: Attempt(),
        standings[1].ref: Attempt(failure=refused),
        standings[2].ref: Attempt(gone=True),
    }
    assert report(standings, attempts) == (
        Standing(standings[0].ref, State.UPDATING),
        Standing(standings[1].ref, State.PENDING, refused),
        standings[3],
    )


def test_an_empty_namespace_needs_nothing() -> None:
    assert plan(Snapshot("shop")) == Plan((), {})


def test_the_template_is_kept_as_it_was_sent() -> None:
    raw = deployment(pods=template(xFuture={"a": None}))
    assert json.loads(workload_facts(raw, kind="Deployment").template) == raw["spec"]["template"]
