"""Reverts: what is taken out after a failure, what stays out, and until when."""

import json
from dataclasses import replace
from typing import Any

import pytest

from sidecarpolicy.api.names import HELD_ANNOTATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.held import Because, Hold, encode_holds
from sidecarpolicy.core.origin import Origin
from sidecarpolicy.core.plan import plan
from sidecarpolicy.core.standing import Attempt, State, report
from tests.support.builders import policy, sidecar, snapshot, template, workload
from tests.support.failing import (
    OTHER,
    PAUSE,
    failing,
    holds,
    injected,
    progressing,
    reverted,
    revision_of,
    seen,
)
from tests.support.plans import KEY, STOPPED, WEB, brought, changed, many, rolled, states, stored

JSON = dict[str, Any]


def test_what_failed_is_taken_out_and_kept_out_by_one_patch() -> None:
    start = failing(policy())
    (change,) = plan(start).changes
    assert change.failed == change.taken_out == {KEY}
    raw = reverted(policy())
    assert raw["spec"]["template"] == template()
    (hold,) = holds(raw)
    assert (hold.policy, hold.revision) == (KEY, revision_of(policy()))
    assert hold.reason is Because.ROLLOUT_FAILED


def test_what_was_seen_when_it_failed_is_kept_and_said() -> None:
    cause = {WEB: Origin(1.0, frozenset({KEY}), mixed=True, cause="shipper cannot be pulled")}
    start = replace(failing(policy()), origins=cause)
    (standing,) = plan(start).standings[KEY]
    assert standing.finding is not None
    for said in ("1 of 2 Pods updated", "shipper cannot be pulled", "its owner's own change"):
        assert said in standing.finding.message
    raw: JSON = stored(injected(policy()), plan(start).changes[0].patch)
    assert "shipper cannot be pulled" in holds(raw)[0].message


def test_a_hold_keeps_the_revision_out_and_counts_as_failed() -> None:
    start = seen(policy(), raw=reverted(policy()))
    decided = plan(start)
    assert decided.changes == ()
    (standing,) = decided.standings[KEY]
    assert standing.state is State.FAILED
    assert standing.finding is not None
    assert standing.finding.reason is Reason.ROLLOUT_FAILED
    assert "annotate deployment/web sidecarpolicy.dev/held-" in standing.finding.message
    others = replace(start, workloads=(*start.workloads, *many(2)))
    assert changed(plan(others)) == []


def test_a_command_that_somebody_has_to_run_stands_first() -> None:
    command = "kubectl -n shop delete pod db-0"
    start = seen(policy(), raw=reverted(policy()), to_delete={WEB: command})
    (standing,) = plan(start).standings[KEY]
    assert standing.finding is not None
    assert command in standing.finding.message[:120]


def test_a_new_revision_goes_in_and_ends_the_hold_with_the_same_patch() -> None:
    newer = policy(sidecars=[sidecar(image="newer")])
    raw = reverted(policy())
    (change,) = plan(seen(newer, raw=raw)).changes
    after: JSON = stored(raw, change.patch)
    assert holds(after) == ()
    assert HELD_ANNOTATION not in after["metadata"]["annotations"]
    assert after["spec"]["template"]["spec"]["initContainers"][0]["image"] == "newer"


def test_the_failed_revision_stays_out_when_the_policy_comes_back_to_it() -> None:
    assert plan(seen(policy(), raw=reverted(policy()))).changes == ()


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"policies": (), "gone": frozenset({KEY})}, id="is proved gone"),
        pytest.param({"namespace_opted_out": True}, id="meets an opt-out"),
        pytest.param(
            {"policies": (policy(selector={"matchLabels": {"app": "db"}}),)}, id="selects no more"
        ),
    ],
)
def test_a_hold_ends_without_a_rollout_when_its_policy(fields: Any) -> None:
    start = replace(seen(policy(), raw=reverted(policy())), **fields)
    (change,) = plan(start).changes
    assert change.difference == []
    assert change.policies == frozenset()
    after: JSON = stored(reverted(policy()), change.patch)
    assert HELD_ANNOTATION not in after["metadata"]["annotations"]


def test_a_hold_stays_while_its_policy_is_merely_missing_and_somebody_looks_for_it() -> None:
    decided = plan(seen(raw=reverted(policy())))
    assert decided.changes == ()
    assert decided.recorded.keys() == {KEY}


def test_a_hold_of_one_policy_leaves_the_parts_of_another_alone() -> None:
    tracer = policy("tracer", sidecars=[sidecar("tracer")])
    start = failing(policy(), tracer)
    raw: JSON = stored(injected(policy(), tracer, conditions=STOPPED), plan(start).changes[0].patch)
    inits = raw["spec"]["template"]["spec"]["initContainers"]
    assert [each["name"] for each in inits] == ["tracer"]
    settled = {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    raw["metadata"]["generation"] = 3
    rested = seen(policy(), tracer, raw={**raw, "status": settled})
    assert plan(rested).changes == ()
    assert states(plan(rested), OTHER) == {"web": (State.CURRENT, None)}


def test_a_policy_that_is_not_there_yet_waits_while_another_policys_rollout_is_stuck() -> None:
    tracer = policy("tracer", sidecars=[sidecar("tracer")])
    start = failing(policy(**PAUSE))
    decided = plan(replace(start, policies=(*start.policies, tracer)))
    assert decided.changes == ()
    assert states(decided, OTHER) == {"web": (State.PENDING, Reason.NOT_SETTLED)}


def test_the_failed_policy_itself_may_be_mended_while_it_is_stuck() -> None:
    newer = policy(sidecars=[sidecar(image="newer")], **PAUSE)
    start = failing(policy(**PAUSE))
    assert len(plan(replace(start, policies=(newer,))).changes) == 1


@pytest.mark.parametrize(
    "fields",
    [pytest.param(PAUSE, id="so its author wishes"), pytest.param({"paused": True}, id="paused")],
)
def test_what_failed_is_left_as_it_is_where(fields: JSON) -> None:
    start = failing(policy())
    decided = plan(replace(start, policies=(policy(**fields),)))
    assert decided.changes == ()
    assert states(decided) == {"web": (State.FAILED, Reason.ROLLOUT_FAILED)}


def test_a_failed_revision_is_taken_out_whoever_has_the_turn() -> None:
    one = policy(rollout={"maxConcurrent": 1, "maxFailed": 3})
    start = snapshot(policies=(one,), workloads=many(4))
    failed = rolled(start.workloads[0], of=plan(start), updatedReplicas=1, conditions=STOPPED)
    busy = {"metadata": {"name": "web-01"}}
    rolling = replace(failed, ref=replace(failed.ref, name=busy["metadata"]["name"]))
    rolling = replace(rolling, rollout=replace(rolling.rollout, deadline_exceeded=False))
    left = (failed, rolling, *start.workloads[2:])
    decided = plan(replace(start, workloads=left, origins=brought(failed.ref)))
    assert changed(decided) == ["web-00"]


def test_a_workload_that_failed_takes_no_place_and_the_others_go_on_up_to_the_limit() -> None:
    one = policy(rollout={"maxConcurrent": 1, "maxFailed": 2, "onFailure": "Pause"})
    late = progressing(100)
    start = snapshot(policies=(one,), workloads=many(3), now=9000.0)
    failed = rolled(start.workloads[0], of=plan(start), updatedReplicas=1, **late)
    left = (failed, *start.workloads[1:])
    decided = plan(replace(start, workloads=left, origins=brought(failed.ref)))
    assert changed(decided) == ["web-01"]


def test_a_revert_that_did_not_go_through_still_counts_as_failed() -> None:
    start = failing(policy())
    decided = plan(start)
    conflict = Attempt(decided.changes[0], failure=decided.standings[KEY][0].finding)
    (standing,) = report(KEY, decided.standings[KEY], {WEB: conflict})
    assert standing.state is State.FAILED


def test_what_was_current_stays_so_when_only_a_hold_is_written() -> None:
    tracer = policy("tracer", sidecars=[sidecar("tracer")])
    raw = injected(tracer, availableReplicas=2, updatedReplicas=2, replicas=2)
    raw["metadata"]["annotations"] = {
        HELD_ANNOTATION: encode_holds([Hold(KEY, "7f3a", Because.ROLLOUT_FAILED)])
    }
    decided = plan(seen(tracer, raw=raw, gone=frozenset({KEY})))
    (change,) = decided.changes
    (standing,) = report(OTHER, decided.standings[OTHER], {WEB: Attempt(change)})
    assert standing.state is State.CURRENT


def test_a_failed_revision_that_somebody_brought_back_is_taken_out_again() -> None:
    raw = injected(policy(), availableReplicas=2, updatedReplicas=2, replicas=2)
    hold = Hold(KEY, revision_of(policy()), Because.ROLLOUT_FAILED)
    raw["metadata"]["annotations"] = {HELD_ANNOTATION: encode_holds([hold])}
    (change,) = plan(seen(policy(), raw=raw)).changes
    after: JSON = stored(raw, change.patch)
    assert after["spec"]["template"] == template()
    assert holds(after) == (hold,)


def test_what_fails_without_the_revision_as_well_was_not_failed_by_it() -> None:
    raw = reverted(policy())
    raw["status"] |= {"updatedReplicas": 1, **progressing(1000)}
    start = seen(policy(), raw=raw, now=1100.0)
    assert plan(start).changes == ()
    assert plan(start).due == 1600.0
    (change,) = plan(replace(start, now=1600.0)).changes
    assert change.difference == []
    after = stored(raw, change.patch)
    assert holds(after) == ()
    after["metadata"]["creationTimestamp"] = "1970-01-01T00:00:00Z"
    younger = replace(policy(), created="1970-01-01T00:01:00Z")
    freed = seen(younger, raw=after, now=1700.0)
    decided = plan(replace(freed, workloads=(*freed.workloads, workload("api"))))
    assert states(decided)["web"] == (State.PENDING, Reason.NOT_SETTLED)
    assert changed(decided) == ["api"]


@pytest.mark.parametrize(
    "said",
    [
        progressing(100),
        progressing(700, reason="ProgressDeadlineExceeded"),
        progressing(720, reason="ProgressDeadlineExceeded"),  # in the very second of the change
    ],
)
def test_what_was_said_of_the_former_template_counts_for_nothing(said: JSON) -> None:
    ours = {"manager": "sidecarpolicy-operator", "time": "1970-01-01T00:12:00Z"}
    raw = injected(policy(), **said)
    raw["metadata"]["managedFields"] = [ours]
    start = seen(policy(), raw=raw, origins=brought(WEB), now=730.0)
    assert states(plan(start)) == {"web": (State.UPDATING, None)}
    assert plan(start).due == 1320.0
    freed = reverted(policy())
    freed["metadata"]["managedFields"] = [ours]
    freed["status"] |= {"updatedReplicas": 1, **said}
    assert plan(seen(policy(), raw=freed, now=730.0)).changes == ()


def test_the_hold_is_readable_for_people() -> None:
    raw = reverted(policy())
    (entry,) = json.loads(raw["metadata"]["annotations"][HELD_ANNOTATION])
    assert entry["reason"] == "RolloutFailed"
    assert entry["message"] == "1 of 2 Pods updated, 2 available"
