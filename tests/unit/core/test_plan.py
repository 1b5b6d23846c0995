"""The plan: who is changed, who is left alone, and how that reads."""

import json
from dataclasses import replace
from typing import Any

import jsonpatch
import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.capability import NodeTally
from sidecarpolicy.core.facts import (
    Ref,
    WorkloadFacts,
    workload_facts,
)
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.plan import Plan, plan
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.standing import (
    Attempt,
    Refusal,
    Standing,
    State,
    TemplateChange,
    report,
)
from tests.support.builders import (
    deployment,
    pods_of,
    policy,
    sidecar,
    snapshot,
    template,
    workload,
)
from tests.support.plans import (
    KEY,
    MESH,
    ON,
    WEB,
    after,
    cluster_policy,
    injected,
    rolled,
    states,
)


def test_a_selected_deployment_is_patched_under_the_guard_of_its_generation() -> None:
    decided = plan(snapshot(policies=(policy(),), workloads=(workload(),)))
    (change,) = decided.changes
    assert change.ref == WEB
    assert change.patch[:2] == [
        {"op": "test", "path": "/metadata/uid", "value": "uid-web"},
        {"op": "test", "path": "/metadata/generation", "value": 1},
    ]
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


def test_a_policy_that_no_longer_selects_takes_its_parts_back() -> None:
    elsewhere = policy(selector={"matchLabels": {"app": "db"}})
    decided = plan(snapshot(policies=(elsewhere,), workloads=(injected(),)))
    assert decided.standings[KEY] == (Standing(WEB, State.PENDING, leaving=True),)
    (change,) = decided.changes
    assert report(KEY, decided.standings[KEY], {WEB: Attempt(change)}) == ()


def test_opting_out_takes_the_parts_back_and_shows_as_skipped() -> None:
    decided = plan(
        snapshot(policies=(policy(),), workloads=(injected(),), namespace_opted_out=True)
    )
    assert len(decided.changes) == 1
    assert states(decided) == {"web": (State.SKIPPED, Reason.OPTED_OUT)}


def test_a_policy_that_is_merely_missing_keeps_its_parts_and_is_unaccounted_for() -> None:
    decided = plan(snapshot(workloads=(injected(),)))
    assert decided.changes == ()
    assert decided.recorded.keys() == {KEY}


def test_a_policy_that_is_proved_gone_gives_back_what_the_user_wrote() -> None:
    held = injected()
    decided = plan(snapshot(workloads=(held,), gone=frozenset({KEY})))
    (change,) = decided.changes
    raw = {"metadata": {"uid": "uid-web", "generation": 2}, "spec": {"template": pods_of(held)}}
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
    ],
)
def test_a_patched_deployment_is_as_far_as_its_rollout(status: Any, state: State) -> None:
    start = plan(snapshot(policies=(policy(),), workloads=(workload(),)))
    decided = plan(snapshot(policies=(policy(),), workloads=(after(start, status=status),)))
    assert states(decided)["web"][0] is state


def test_a_report_says_what_became_of_each_change() -> None:
    refused = Finding(Reason.REFUSED, "no")
    standings = [Standing(Ref("Deployment", "shop", name), State.PENDING) for name in "abcd"]
    changes = [TemplateChange(each.ref, [], frozenset({KEY})) for each in standings]
    attempts = {
        standings[0].ref: Attempt(changes[0]),
        standings[1].ref: Attempt(changes[1], failure=refused),
        standings[2].ref: Attempt(changes[2], gone=True),
    }
    assert report(KEY, standings, attempts) == (
        Standing(standings[0].ref, State.UPDATING),
        Standing(standings[1].ref, State.PENDING, refused),
        standings[3],
    )


@pytest.mark.parametrize("failure", [None, Finding(Reason.REFUSED, "no")])
def test_the_attempt_of_one_policy_says_nothing_of_another(failure: Finding | None) -> None:
    paused = Standing(WEB, State.PENDING, Finding(Reason.PAUSED, "paused"))
    change = TemplateChange(WEB, [], frozenset({"SidecarPolicy/other"}))
    attempts = {WEB: Attempt(change, failure=failure)}
    assert report(KEY, [paused], attempts) == (paused,)


def stripped(facts: WorkloadFacts) -> WorkloadFacts:
    """The workload with its record, but without its sidecar."""
    pods = pods_of(facts)
    del pods["spec"]["initContainers"]
    return replace(facts, template=json.dumps(pods).encode())


def test_a_record_alone_does_not_make_a_workload_current() -> None:
    decided = plan(snapshot(policies=(policy(paused=True),), workloads=(stripped(injected()),)))
    assert states(decided) == {"web": (State.PENDING, Reason.PAUSED)}


def test_a_proof_of_absence_is_void_for_a_policy_that_exists() -> None:
    decided = plan(
        snapshot(policies=(policy(paused=True),), workloads=(injected(),), gone=frozenset({KEY}))
    )
    assert decided.changes == ()


@pytest.mark.parametrize("operator", ["Exists", "DoesNotExist"])
def test_a_selector_on_our_own_label_does_not_undo_its_own_effect(operator: str) -> None:
    ours = {"key": "sidecarpolicy.dev/injected", "operator": operator}
    odd = policy(selector={"matchExpressions": [ours]})
    first = plan(snapshot(policies=(odd,), workloads=(workload(),)))
    if first.changes:
        again = plan(snapshot(policies=(odd,), workloads=(after(first),)))
        assert again.changes == ()


def test_a_paused_policy_takes_nothing_back_unless_somebody_opts_out() -> None:
    elsewhere = policy(paused=True, selector={"matchLabels": {"app": "db"}})
    start = snapshot(policies=(elsewhere,), workloads=(injected(),))
    decided = plan(start)
    assert decided.changes == ()
    (standing,) = decided.standings[KEY]
    assert standing.finding is not None
    assert standing.finding.reason is Reason.PAUSED
    assert len(plan(replace(start, namespace_opted_out=True)).changes) == 1


def test_a_cluster_policy_selects_namespaces_by_their_labels() -> None:
    here = snapshot(policies=(cluster_policy(),), workloads=(workload(),), namespace_labels=ON)
    assert states(plan(here), MESH) == {"web": (State.PENDING, None)}
    elsewhere = replace(here, namespace_labels={"mesh": "off"})
    assert plan(elsewhere) == Plan((), {MESH: ()})


def test_a_namespace_that_is_no_longer_selected_gets_its_templates_back() -> None:
    here = snapshot(policies=(cluster_policy(),), workloads=(workload(),), namespace_labels=ON)
    held = after(plan(here))
    (change,) = plan(replace(here, workloads=(held,), namespace_labels={})).changes
    assert change.template == template()


def test_cluster_policies_come_before_those_of_the_namespace() -> None:
    ours, theirs = cluster_policy(), policy("a-mesh", sidecars=[sidecar(image="other")])
    decided = plan(snapshot(policies=(ours, theirs), workloads=(workload(),), namespace_labels=ON))
    assert states(decided, MESH) == {"web": (State.PENDING, None)}
    assert states(decided, theirs.key) == {"web": (State.CONFLICTED, Reason.NAME_CONFLICT)}


def test_a_refused_policy_is_held_and_the_others_go_on() -> None:
    bad, good = policy("bad"), policy("good", sidecars=[sidecar("agent")])
    no = Finding(Reason.REFUSED, "no")
    assert bad.desired is not None
    refusal = Refusal(bad.desired.revision, 1, no)
    start = snapshot(policies=(bad, good), workloads=(workload(),))
    decided = plan(replace(start, refused={(WEB, bad.key): refusal}))
    (change,) = decided.changes
    assert change.policies == {good.key}
    assert decided.standings[bad.key] == (Standing(WEB, State.PENDING, no),)


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(Refusal("another", 1, Finding(Reason.REFUSED, "no")), id="of another wish"),
        pytest.param(Refusal("same", 7, Finding(Reason.REFUSED, "no")), id="of another template"),
    ],
)
def test_a_refusal_is_void(refusal: Refusal) -> None:
    asked = policy()
    assert asked.desired is not None
    if refusal.revision == "same":
        refusal = replace(refusal, revision=asked.desired.revision)
    start = snapshot(policies=(asked,), workloads=(workload(),))
    assert len(plan(replace(start, refused={(WEB, asked.key): refusal})).changes) == 1


def test_an_empty_namespace_needs_nothing() -> None:
    assert plan(Snapshot("shop")) == Plan((), {})


def test_the_template_is_kept_as_it_was_sent() -> None:
    raw = deployment(pods=template(xFuture={"a": None}))
    assert json.loads(workload_facts(raw, kind="Deployment").template) == raw["spec"]["template"]


OLD, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z"
ROLLING = {"status": {"updatedReplicas": 1, "availableReplicas": 1}}


def aged(created: str, **fields: Any) -> WorkloadFacts:
    return workload(metadata={"creationTimestamp": created}, **fields)


def written_at(created: str) -> Any:
    return replace(policy(), created=created)


@pytest.mark.parametrize(
    ("created", "changes", "finding"),
    [
        pytest.param(OLD, ROLLING, Reason.NOT_SETTLED, id="an older one that rolls"),
        pytest.param(LATER, ROLLING, None, id="one that came along with the policy"),
        pytest.param(OLD, {}, None, id="an older one at rest"),
    ],
)
def test_what_rolls_by_itself_is_waited_for(
    created: str, changes: Any, finding: Reason | None
) -> None:
    decided = plan(snapshot(policies=(written_at(LATER),), workloads=(aged(created, **changes),)))
    assert states(decided) == {"web": (State.PENDING, finding)}
    assert bool(decided.changes) is (finding is None)


def test_what_rolls_with_our_parts_can_still_be_mended() -> None:
    facts = replace(injected(), created=OLD)
    rolling = replace(facts, rollout=replace(facts.rollout, finished=False))
    newer = replace(policy(sidecars=[sidecar(image="x:2")]), created=LATER)
    decided = plan(snapshot(policies=(newer,), workloads=(rolling,)))
    assert len(decided.changes) == 1


def test_no_other_policy_joins_a_rollout_and_both_begin_one_together() -> None:
    mesh, shipper = cluster_policy(sidecars=[sidecar("proxy")]), written_at(LATER)
    first = snapshot(policies=(mesh,), workloads=(aged(OLD),), namespace_labels=ON)
    carrying = replace(rolled(aged(OLD), of=plan(first), updatedReplicas=0), created=OLD)
    decided = plan(replace(first, policies=(mesh, shipper), workloads=(carrying,)))
    assert decided.changes == ()
    assert states(decided) == {"web": (State.PENDING, Reason.NOT_SETTLED)}
    (change,) = plan(replace(first, policies=(mesh, shipper))).changes
    assert change.policies == {mesh.key, shipper.key}


@pytest.mark.parametrize("reason", [Reason.NO_FEASIBLE_NODE, Reason.WOULD_BREAK_AUTOSCALING])
def test_a_workload_that_sidecars_would_harm_is_skipped(reason: Reason) -> None:
    chosen = policy()
    assert chosen.desired is not None
    harm = Refusal(chosen.desired.revision, 1, Finding(reason, "it would do harm"))
    decided = plan(
        snapshot(policies=(chosen,), workloads=(workload(),), refused={(WEB, KEY): harm})
    )
    assert states(decided) == {"web": (State.SKIPPED, reason)}
    assert decided.changes == ()
