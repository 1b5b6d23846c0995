"""Recall: a plan with it is the plan without it, whatever changed since the one before."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.autoscaling import Autoscaler
from sidecarpolicy.core.capability import NodeTally
from sidecarpolicy.core.facts import Ref, WorkloadFacts, policy_facts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.held import Because, Hold
from sidecarpolicy.core.origin import Origin
from sidecarpolicy.core.plan import plan
from sidecarpolicy.core.progress import Progress
from sidecarpolicy.core.recall import OF_PACE, OF_ROLLOUTS, Recall
from sidecarpolicy.core.snapshot import Elsewhere, Snapshot
from sidecarpolicy.core.standing import Refusal
from tests.support.builders import policy, policy_object, sidecar, snapshot, template, workload
from tests.support.plans import KEY, ON, WEB, cluster_policy, injected, many

OUT = {"metadata": {"annotations": {"sidecarpolicy.dev/inject": "false"}}}
DESIRED = policy().desired
assert DESIRED is not None
REVISION = DESIRED.revision
BLOCK = Finding(Reason.REFUSED, "no")
HOLD = Hold(KEY, REVISION, Because.ROLLOUT_FAILED)
FAILING = replace(injected().rollout, finished=False, deadline_exceeded=True)


def policies(**fields: Any) -> tuple[Any, ...]:
    return (cluster_policy(sidecars=[sidecar("mesh")]), policy(**fields))


WORLD = snapshot(
    policies=policies(), workloads=(*many(8), injected()), namespace_labels=ON, revert_share="1"
)


def with_web(**changes: Any) -> Callable[[Snapshot], Snapshot]:
    """Changes the one workload that has its sidecars."""

    def change(world: Snapshot) -> Snapshot:
        others = tuple(each for each in world.workloads if each.ref != WEB)
        return replace(world, workloads=(*others, replace(injected(), **changes)))

    return change


def setting(**changes: Any) -> Callable[[Snapshot], Snapshot]:
    return lambda world: replace(world, **changes)


def told(world: Snapshot) -> Snapshot:
    """The same policies with other statuses."""
    made = policy_object() | {"status": {"problems": [{"kind": "x", "name": "y", "reason": "z"}]}}
    return replace(world, policies=(world.policies[0], policy_facts(made)))


def dropping(world: Snapshot) -> Snapshot:
    """The API server drops the field, as the policy's status says now."""
    condition = {
        "type": "ClusterCapable",
        "status": "False",
        "reason": "ApiServerDropsField",
        "message": "dropped",
    }
    made = policy_object(mode="Universal", sidecars=[sidecar(command=["run"])], generation=6)
    status = {"conditions": [condition]} if world.policies[-1].universal else {}
    return replace(world, policies=(world.policies[0], policy_facts(made | {"status": status})))


CHANGES = [
    dropping,
    dropping,
    setting(nodes=NodeTally(0, 4, 4)),
    setting(policies=policies(sidecars=[sidecar("courier")], generation=2)),
    setting(policies=policies(paused=True, generation=3)),
    setting(policies=policies(rollout={"maxConcurrent": 3}, generation=4)),
    setting(policies=policies(selector={"matchLabels": {"app": "none"}}, generation=5)),
    setting(policies=policies()[:1]),
    setting(policies=policies()[:1], gone=frozenset({KEY})),
    setting(policies=policies(), gone=frozenset()),
    told,
    setting(workloads=many(3)),
    setting(workloads=(*many(8), injected())),
    with_web(rollout=FAILING),
    with_web(rollout=replace(FAILING, deadline_exceeded=False)),
    with_web(owner="Knative web"),
    setting(workloads=(workload("web-00", pods={**template(), **OUT}), *many(4))),
    setting(nodes=NodeTally(0, 3)),
    setting(nodes=NodeTally(0, 4)),
    setting(nodes=NodeTally(2, 5)),
    setting(excluded=True),
    setting(excluded=False),
    setting(namespace_opted_out=True),
    setting(namespace_opted_out=False),
    setting(namespace_labels={}),
    setting(namespace_labels=ON),
    setting(blocked={KEY: BLOCK}),
    setting(blocked={}),
    setting(webhook=False),
    setting(webhook=True),
    setting(refused={(many(1)[0].ref, KEY): Refusal("no-such", 1, BLOCK)}),
    setting(refused={(Ref("Deployment", "other", "web-00"), KEY): Refusal("r", 1, BLOCK)}),
    setting(refused={}),
    setting(elsewhere={KEY: Elsewhere(matched=50, rolling=4)}),
    setting(elsewhere={KEY: Elsewhere(failed=9)}),
    setting(elsewhere={}),
    setting(resting=frozenset(each.ref for each in many(2))),
    setting(taken_out={WEB: frozenset({KEY})}),
    setting(revert_share="50%"),
    setting(fought={WEB: (replace(HOLD, reason=Because.FIGHT),)}),
    setting(fought={}),
    setting(idle={WEB: {KEY: 1.0}}),
    setting(now=1e12),
    setting(now=1e13),
    setting(origins={WEB: Origin(0.0, policies=frozenset({KEY}))}),
    setting(to_delete={WEB: "kubectl delete pod web-0"}),
    with_web(holds=(HOLD,)),
    with_web(progress=Progress("3")),
    setting(autoscalers=(Autoscaler("web", "Deployment", "web", ("cpu",)),)),
    setting(creating=True),
    setting(creating=False),
    setting(obedient=True),
    setting(obedient=False),
]


@given(st.lists(st.sampled_from(CHANGES), max_size=12))
def test_a_plan_with_recall_is_the_plan_without(
    changes: list[Callable[[Snapshot], Snapshot]],
) -> None:
    recall, world = Recall(), WORLD
    assert plan(world, recall) == plan(world)
    for change in changes:
        world = change(world)
        assert plan(world, recall) == plan(world)


def test_a_refusal_of_the_current_revision_is_seen() -> None:
    recall, ref = Recall(), many(1)[0].ref
    plan(WORLD, recall)
    refused = {(ref, KEY): Refusal(REVISION, 1, BLOCK)}
    world = replace(WORLD, refused=refused)
    decided = plan(world, recall)
    assert decided == plan(world)
    (found,) = (e for e in decided.standings[KEY] if e.ref == ref)
    assert found.finding == BLOCK


def test_only_what_changed_is_decided_about() -> None:
    ready = tuple(made(name) for name in ("a", "b", "c"))
    world, recall = snapshot(policies=(policy(),), workloads=ready), Recall()
    plan(world, recall)
    assert recall.decided == 3
    plan(replace(world, nodes=NodeTally(7, 9)), recall)
    assert recall.decided == 3
    changed = replace(ready[1], generation=9)
    plan(replace(world, workloads=(ready[0], changed, ready[2])), recall)
    assert recall.decided == 4


def test_what_waits_for_its_turn_is_not_decided_about_again() -> None:
    world = snapshot(policies=(policy(),), workloads=many(10))
    recall = Recall()
    assert len(plan(world, recall).changes) == 1
    before = recall.decided
    assert len(plan(world, recall).changes) == 1
    assert recall.decided == before + 1  # the patch of the one whose turn it is


def made(name: str) -> WorkloadFacts:
    """One that has its sidecars."""
    return replace(injected(), ref=replace(WEB, name=name))


def test_what_a_snapshot_says_of_turns_only_is_part_of_it() -> None:
    assert {each.name for each in fields(Snapshot)} >= OF_PACE | OF_ROLLOUTS


def test_a_sidecar_that_does_not_stay_and_one_that_stays_at_last_are_seen() -> None:
    done = replace(injected(), progress=Progress("2", seen="1970-01-01T00:01:40Z", arrived=True))
    stays = snapshot(policies=(policy(),), workloads=(done,), now=200.0)
    ends, recall = replace(stays, idle={WEB: {KEY: 90.0}}), Recall()
    for world in (stays, ends, stays):
        assert plan(world, recall) == plan(world)
    assert plan(ends) != plan(stays)
