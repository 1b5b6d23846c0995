"""Pace: who has a turn, who waits, and what stops."""

from dataclasses import replace
from typing import Any

import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.pace import share
from sidecarpolicy.core.plan import change_of, plan
from sidecarpolicy.core.snapshot import Elsewhere
from sidecarpolicy.core.standing import (
    Standing,
    State,
)
from tests.support.builders import (
    policy,
    sidecar,
    snapshot,
    workload,
)
from tests.support.plans import (
    KEY,
    MESH,
    ON,
    STOPPED,
    brought,
    changed,
    cluster_policy,
    injected,
    many,
    rolled,
    states,
)


def reverting(*finished: bool, share: str = "10%", bystanders: int = 0) -> int:
    """How many of many injected workloads are reverted at once; by who has finished rolling.

    `bystanders` are workloads that roll because of a revert.
    """
    held = injected()
    plain = workload(status={"updatedReplicas": 1})
    rolling = tuple(
        replace(plain, ref=replace(plain.ref, name=f"other-{number}"))
        for number in range(bystanders)
    )
    workloads = tuple(
        replace(
            held,
            ref=replace(held.ref, name=f"web-{number:03}"),
            rollout=replace(held.rollout, finished=done),
        )
        for number, done in enumerate(finished)
    )
    gone = frozenset({KEY})
    taken_out = {each.ref: gone for each in rolling}
    found = plan(
        snapshot(workloads=workloads + rolling, gone=gone, revert_share=share, taken_out=taken_out)
    )
    return len(found.changes)


def test_what_a_deleted_policy_left_is_taken_back_a_few_workloads_at_a_time() -> None:
    assert reverting(*[True] * 40) == 4
    assert reverting(*[True] * 3) == 1
    assert reverting(*[True] * 40, share="25") == 25


def test_workloads_that_roll_already_take_up_the_places_of_reverts() -> None:
    assert reverting(*[True] * 38, bystanders=2) == 2
    assert reverting(*[True] * 30, bystanders=10) == 0


def test_a_workload_whose_rollout_is_stuck_is_reverted_at_once() -> None:
    assert reverting(*[True] * 30, *[False] * 10) == 10
    assert reverting(False, bystanders=10) == 1


def test_unrelated_trouble_keeps_no_revert_waiting() -> None:
    stuck = tuple(
        replace(each, ref=replace(each.ref, name=f"stuck-{each.ref.name}"))
        for each in many(10, status={"updatedReplicas": 1})
    )
    found = plan(snapshot(workloads=(injected(), *stuck), gone=frozenset({KEY})))
    assert changed(found) == ["web"]


def test_what_rests_takes_no_place() -> None:
    one = policy(rollout={"maxConcurrent": 1})
    start = snapshot(policies=(one,), workloads=many(2))
    resting = frozenset({start.workloads[0].ref})
    assert changed(plan(replace(start, resting=resting))) == ["web-00", "web-01"]


@pytest.mark.parametrize(
    ("revision", "reason", "said"),
    [
        pytest.param("", "Refused", Reason.REFUSED, id="tried"),
        pytest.param("older", "Refused", None, id="tried with another revision"),
        pytest.param("", "NoFeasibleNode", None, id="found by looking, which is done anew"),
    ],
)
def test_what_was_refused_is_still_said_while_it_waits_for_another_try(
    revision: str, reason: str, said: Reason | None
) -> None:
    one = policy(rollout={"maxConcurrent": 1})
    assert one.desired is not None
    problem = {"kind": "Deployment", "namespace": "shop", "name": "web-01", "reason": reason}
    status = {
        "revision": revision or one.desired.revision,
        "problems": [{**problem, "message": "volume not found"}],
    }
    found = plan(snapshot(policies=(replace(one, status=status),), workloads=many(2)))
    assert changed(found) == ["web-00"]
    assert states(found)["web-01"] == (State.PENDING, said)


def test_taking_out_is_paced_too() -> None:
    one = policy(rollout={"maxConcurrent": 1}, selector={"matchLabels": {"app": "db"}})
    held = injected()
    start = snapshot(
        policies=(one,),
        workloads=tuple(
            replace(held, ref=replace(held.ref, name=f"web-{number}")) for number in range(3)
        ),
    )
    assert changed(plan(start)) == ["web-0"]
    free = workload("web-0", status={"updatedReplicas": 1})
    then = replace(
        start,
        workloads=(free, *start.workloads[1:]),
        taken_out={free.ref: frozenset({KEY})},
    )
    assert changed(plan(then)) == []


def test_a_workload_that_waits_for_its_owner_holds_no_place() -> None:
    one = policy(rollout={"maxConcurrent": 1})
    start = snapshot(policies=(one,), workloads=many(2))
    first = plan(start)
    assert changed(first) == ["web-00"]
    waiting = rolled(start.workloads[0], of=first, updatedReplicas=0)
    waiting = replace(waiting, rollout=replace(waiting.rollout, waits_for="its owner"))
    then = plan(replace(start, workloads=(waiting, start.workloads[1])))
    assert changed(then) == ["web-01"]
    assert states(then)["web-00"] == (State.UPDATING, Reason.WAITING_FOR_OWNER)


def test_a_paused_deployment_is_patched_however_far_its_own_rollout_is() -> None:
    paused = workload(spec={"paused": True}, status={"updatedReplicas": 1})
    start = snapshot(policies=(policy(),), workloads=(paused,))
    assert changed(plan(start)) == ["web"]


def test_a_share_is_never_less_than_one() -> None:
    assert [share("10%", 5), share("50%", 5), share("3", 5)] == [1, 2, 3]


def test_only_so_many_workloads_roll_at_one_time() -> None:
    start = snapshot(policies=(policy(rollout={"maxConcurrent": 2}),), workloads=many(4))
    first = plan(start)
    assert changed(first) == ["web-00", "web-01"]
    rolling, done = (
        rolled(start.workloads[0], of=first, updatedReplicas=1),
        rolled(start.workloads[1], of=first),
    )
    then = plan(replace(start, workloads=(rolling, done, *start.workloads[2:])))
    assert changed(then) == ["web-02"]
    assert then.standings[KEY][-1] == Standing(start.workloads[3].ref, State.PENDING)


def test_a_rollout_stops_when_too_many_workloads_failed_and_a_new_revision_goes_on() -> None:
    slow = {"maxConcurrent": 1, "onFailure": "Pause"}
    start = snapshot(policies=(policy(rollout=slow),), workloads=many(3))
    failed = rolled(start.workloads[0], of=plan(start), updatedReplicas=1, conditions=STOPPED)
    left = (failed, *start.workloads[1:])
    then = replace(start, workloads=left, origins=brought(failed.ref))
    stopped = plan(then)
    assert changed(stopped) == []
    assert set(states(stopped).values()) == {
        (State.FAILED, Reason.ROLLOUT_FAILED),
        (State.PENDING, Reason.ROLLOUT_STOPPED),
    }
    more = policy(rollout={**slow, "maxFailed": 2})
    assert changed(plan(replace(then, policies=(more,)))) == ["web-01"]
    mended = policy(rollout=slow, sidecars=[sidecar(image="mended")])
    assert changed(plan(replace(then, policies=(mended,)))) == ["web-00"]


def test_a_policy_that_waits_keeps_no_other_from_its_turn() -> None:
    slow = policy("slow", rollout={"maxConcurrent": 1})
    quick = policy("quick", sidecars=[sidecar("agent")], rollout={"maxConcurrent": "100%"})
    decided = plan(snapshot(policies=(quick, slow), workloads=many(2)))
    assert [(each.ref.name, set(each.policies)) for each in decided.changes] == [
        ("web-00", {quick.key, slow.key}),
        ("web-01", {quick.key}),
    ]


def test_a_workload_that_rolls_as_it_is_takes_no_place() -> None:
    fresh = workload("fresh", status={"updatedReplicas": 1})
    one = policy(rollout={"maxConcurrent": 1})
    decided = plan(snapshot(policies=(one,), workloads=(*many(2), fresh)))
    assert changed(decided) == ["fresh", "web-00"]


@pytest.mark.parametrize(
    "no_longer_wanted",
    [
        pytest.param({"namespace_labels": {}}, id="no longer selected"),
        pytest.param({"namespace_opted_out": True}, id="opted out"),
    ],
)
def test_a_rollout_that_stopped_is_still_taken_out_where_it_is(no_longer_wanted: Any) -> None:
    start = snapshot(policies=(cluster_policy(),), workloads=many(1), namespace_labels=ON)
    held = (rolled(many(1)[0], of=plan(start)),)
    failing = {MESH: Elsewhere(matched=1, failed=1)}
    decided = plan(replace(start, workloads=held, elsewhere=failing, **no_longer_wanted))
    assert changed(decided) == ["web-00"]


def test_a_rollout_that_stopped_does_not_reach_workloads_that_roll_for_another_reason() -> None:
    one = cluster_policy()
    rolling = workload("fresh", status={"updatedReplicas": 1})
    start = snapshot(policies=(one,), workloads=(rolling,), namespace_labels=ON)
    decided = plan(replace(start, elsewhere={MESH: Elsewhere(matched=1, failed=1)}))
    assert changed(decided) == []
    assert states(decided, MESH) == {"fresh": (State.PENDING, Reason.ROLLOUT_STOPPED)}


@pytest.mark.parametrize(
    ("elsewhere", "expected"),
    [
        pytest.param(Elsewhere(matched=18), ["web-00", "web-01"], id="others count for the share"),
        pytest.param(Elsewhere(matched=18, rolling=1), ["web-00"], id="some roll there"),
        pytest.param(Elsewhere(matched=18, rolling=2), [], id="as many as may roll there"),
        pytest.param(Elsewhere(matched=18, failed=1), [], id="one failed there"),
    ],
)
def test_the_pace_of_a_cluster_policy_is_that_of_all_namespaces(
    elsewhere: Elsewhere, expected: list[str]
) -> None:
    start = snapshot(policies=(cluster_policy(),), workloads=many(2), namespace_labels=ON)
    assert changed(plan(replace(start, elsewhere={MESH: elsewhere}))) == expected


def test_a_refused_change_is_looked_into_whatever_rolls_in_other_namespaces() -> None:
    busy = {MESH: Elsewhere(matched=1, rolling=1)}
    start = snapshot(policies=(cluster_policy(),), workloads=many(30), namespace_labels=ON)
    first = plan(replace(start, elsewhere=busy)).changes[0]
    assert change_of(replace(start, elsewhere=busy), first.ref, {}) == first
