"""Failure: what counts as failed, who is blamed, what is taken out and what stays out."""

import json
from dataclasses import replace
from typing import Any

import pytest

from sidecarpolicy.api.names import HELD_ANNOTATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.facts import PolicyFacts, WorkloadFacts, workload_facts
from sidecarpolicy.core.failure import in_question
from sidecarpolicy.core.held import Because, Hold, encode_holds, read_holds
from sidecarpolicy.core.origin import Origin
from sidecarpolicy.core.plan import Plan, plan
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.standing import Attempt, State, report
from tests.support.builders import deployment, policy, sidecar, snapshot, template, workload
from tests.support.plans import KEY, STOPPED, WEB, brought, changed, many, rolled, states, stored

JSON = dict[str, Any]
PAUSE: JSON = {"rollout": {"onFailure": "Pause"}}
ONE_OF_TWO: JSON = {"observedGeneration": 2, "updatedReplicas": 1}
OTHER = "SidecarPolicy/tracer"


def progressing(since: float, *, reason: str = "ReplicaSetUpdated") -> JSON:
    """A Deployment's status that got further last `since` seconds after 1970 began."""
    minutes, seconds = divmod(int(since), 60)
    at = f"1970-01-01T00:{minutes:02}:{seconds:02}Z"
    return {"conditions": [{"type": "Progressing", "reason": reason, "lastUpdateTime": at}]}


def revision_of(one: PolicyFacts) -> str:
    assert one.desired is not None
    return one.desired.revision


def patched(decided: Plan, **status: Any) -> JSON:
    """A Deployment after a plan's only patch."""
    (change,) = decided.changes
    raw: JSON = stored(deployment(status=status), change.patch)
    raw["metadata"]["generation"] += 1
    return raw


def injected(*policies: PolicyFacts, **status: Any) -> JSON:
    """A Deployment with the parts of policies, its rollout as the status says."""
    decided = plan(snapshot(policies=policies, workloads=(workload(),)))
    return patched(decided, **{**ONE_OF_TWO, **status})


def facts(raw: JSON) -> WorkloadFacts:
    return workload_facts(raw, kind="Deployment")


def seen(*policies: PolicyFacts, raw: JSON, **fields: Any) -> Snapshot:
    return snapshot(policies=policies, workloads=(facts(raw),), **fields)


def failing(*policies: PolicyFacts, by: str = KEY, **fields: Any) -> Snapshot:
    """A Deployment whose rollout, with policies' current revisions, its controller gave up."""
    raw = injected(*policies, conditions=STOPPED)
    return seen(*policies, raw=raw, origins=brought(WEB, by=by), **fields)


def reverted(*policies: PolicyFacts) -> JSON:
    """A Deployment after what its failed rollout brought was taken out, and it came to rest."""
    start = failing(*policies)
    (change,) = plan(start).changes
    raw: JSON = stored(injected(*policies, conditions=STOPPED), change.patch)
    raw["metadata"]["generation"] += 1
    settled = {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    return {**raw, "status": settled}


def holds(raw: JSON) -> tuple[Hold, ...]:
    return read_holds(raw["metadata"])


@pytest.mark.parametrize(
    ("status", "now", "state"),
    [
        pytest.param({"conditions": STOPPED}, 0.0, State.FAILED, id="its own controller gave up"),
        pytest.param(progressing(100), 700.0, State.FAILED, id="the policy's deadline is over"),
        pytest.param(progressing(100), 699.0, State.UPDATING, id="there is time left"),
    ],
)
def test_a_rollout_has_failed_or_not_where(status: JSON, now: float, state: State) -> None:
    start = seen(policy(**PAUSE), raw=injected(policy(), **status), origins=brought(WEB), now=now)
    assert states(plan(start))["web"][0] == state


ARRIVED = progressing(100, reason="NewReplicaSetAvailable")


@pytest.mark.parametrize(
    ("idle", "now", "fields", "state"),
    [
        pytest.param({}, 750.0, {}, State.UPDATING, id="nothing of ours lacks"),
        pytest.param({OTHER: 100.0}, 750.0, {}, State.UPDATING, id="another policy's lacks"),
        pytest.param({KEY: 90.0}, 750.0, {}, State.FAILED, id="a Pod's sidecar does not run"),
        pytest.param({KEY: 300.0}, 750.0, {}, State.UPDATING, id="its Pod is too young to say"),
        pytest.param({KEY: 300.0}, 900.0, {}, State.FAILED, id="its Pod is old enough"),
        pytest.param({KEY: 90.0}, 1900.0, {}, State.UPDATING, id="it happens a good while later"),
        pytest.param({KEY: 90.0}, 1900.0, PAUSE, State.FAILED, id="nothing else would tell of it"),
    ],
)
def test_a_rollout_that_arrived_for_a_moment_has_failed_or_not_where(
    idle: Any, now: float, fields: JSON, state: State
) -> None:
    raw = injected(policy(), **ARRIVED, updatedReplicas=2, availableReplicas=0)
    start = seen(policy(**fields), raw=raw, idle={WEB: idle}, origins=brought(WEB), now=now)
    assert states(plan(start))["web"][0] == state
    asked = in_question(replace(start, origins={}))
    assert bool(asked) == (state is State.FAILED)


def crashing(**fields: Any) -> Snapshot:
    """A Deployment that is done for its controller, while a sidecar ends again and again."""
    raw = injected(policy(), **ARRIVED, updatedReplicas=2, availableReplicas=2)
    return seen(policy(**fields), raw=raw, idle={WEB: {KEY: 90.0}}, origins=brought(WEB), now=200.0)


def test_what_ends_again_and_again_is_not_current_and_holds_its_place() -> None:
    start = crashing(rollout={"maxConcurrent": 1})
    start = replace(start, workloads=(*start.workloads, workload("api")))
    decided = plan(start)
    assert states(decided)["web"] == (State.UPDATING, None)
    assert changed(decided) == []
    assert decided.due == 700.0
    failed = plan(replace(start, now=700.0))
    assert states(failed)["web"] == (State.FAILED, Reason.ROLLOUT_FAILED)
    assert changed(failed) == ["web"]


def test_what_begins_to_end_a_good_while_after_the_rollout_stays_current() -> None:
    start = replace(crashing(), now=9000.0)
    assert states(plan(start)) == {"web": (State.CURRENT, None)}
    assert in_question(start) == ()


def test_the_deadline_of_one_that_arrived_is_that_of_its_pod() -> None:
    raw = injected(policy(), **ARRIVED, updatedReplicas=2, availableReplicas=0)
    start = seen(policy(), raw=raw, idle={WEB: {KEY: 300.0}}, now=500.0)
    assert plan(start).due == 900.0
    assert plan(replace(start, idle={})).due is None


def test_the_next_deadline_is_told_so_that_somebody_wakes_up() -> None:
    start = seen(policy(), raw=injected(policy(), **progressing(100)), now=200.0)
    assert plan(start).due == 700.0
    shorter = policy(rollout={"progressDeadlineSeconds": 300})
    assert plan(replace(start, policies=(shorter,))).due == 400.0
    assert plan(replace(start, now=900.0)).due is None


def test_more_is_asked_only_about_what_is_late() -> None:
    start = seen(policy(), raw=injected(policy(), **progressing(100)), now=200.0)
    assert in_question(start) == ()
    assert in_question(replace(start, now=700.0)) == start.workloads
    newer = policy(sidecars=[sidecar(image="newer")])
    assert in_question(replace(start, policies=(newer,), now=700.0)) == ()


def stateful(*, updated: str = "db-2") -> WorkloadFacts:
    raw = injected(policy())
    raw["status"] = {
        "observedGeneration": 2, "readyReplicas": 1, "updatedReplicas": 1,
        "currentRevision": "db-1", "updateRevision": updated,
    }  # fmt: skip
    return workload_facts(raw, kind="StatefulSet")


def test_a_stateful_set_is_asked_about_at_once_and_late_by_its_revision() -> None:
    one = stateful()
    start = snapshot(policies=(policy(**PAUSE),), workloads=(one,), now=500.0)
    assert in_question(start) == (one,)
    known = replace(start, origins={one.ref: Origin(100.0, frozenset({KEY}))})
    assert plan(known).due == 700.0
    late = plan(replace(known, now=700.0))
    assert states(late) == {"web": (State.FAILED, Reason.ROLLOUT_FAILED)}
    arrived = replace(start, workloads=(stateful(updated="db-1"),))
    assert in_question(arrived) == ()
    assert in_question(replace(arrived, idle={one.ref: {KEY: 1.0}})) == arrived.workloads


def split(*, at: str) -> WorkloadFacts:
    """A StatefulSet whose owner lowered its partition then."""
    raw = injected(policy())
    raw["spec"] |= {"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}}
    lowered = {"manager": "kubectl", "time": at, "fieldsV1": {"f:spec": {"f:updateStrategy": {}}}}
    raw["metadata"]["managedFields"] = [lowered]
    raw["status"] = {
        "observedGeneration": 2, "readyReplicas": 1, "updatedReplicas": 0,
        "currentRevision": "db-1", "updateRevision": "db-2",
    }  # fmt: skip
    return workload_facts(raw, kind="StatefulSet")


@pytest.mark.parametrize(
    ("at", "state"),
    [
        pytest.param("1970-01-01T00:10:00Z", State.UPDATING, id="it was let go a moment ago"),
        pytest.param("1970-01-01T00:00:00Z", State.FAILED, id="it was let go long ago"),
    ],
)
def test_a_rollout_that_its_owner_held_up_is_not_late_when_it_goes_on(
    at: str, state: State
) -> None:
    one = split(at=at)
    origins = {one.ref: Origin(1.0, frozenset({KEY}))}
    start = snapshot(policies=(policy(**PAUSE),), workloads=(one,), now=700.0, origins=origins)
    assert states(plan(start))["web"][0] is state


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"updateStrategy": {"type": "OnDelete"}}, id="by hand, a Pod starts"),
        pytest.param(
            {"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
            id="below a partition",
        ),
    ],
)
def test_what_only_its_owner_can_let_roll_never_fails_by_waiting(changes: JSON) -> None:
    raw = injected(policy())
    raw["spec"] |= {"replicas": 1, **changes}
    raw["status"] = {
        "observedGeneration": 2, "readyReplicas": 0, "updatedReplicas": 1,
        "currentRevision": "db-1", "updateRevision": "db-2",
    }  # fmt: skip
    one = workload_facts(raw, kind="StatefulSet")
    origins = {one.ref: Origin(1.0, frozenset({KEY}))}
    start = snapshot(policies=(policy(),), workloads=(one,), now=90_000.0, origins=origins)
    assert states(plan(start))["web"][0] is State.UPDATING
    assert plan(start).due is None


@pytest.mark.parametrize(
    ("origins", "expected"),
    [
        pytest.param(
            {WEB: Origin(1.0, mixed=True)},
            (State.PENDING, Reason.PROGRESS_DEADLINE_EXCEEDED),
            id="because of its owner's change",
        ),
        pytest.param(
            brought(WEB, by=OTHER),
            (State.PENDING, Reason.PROGRESS_DEADLINE_EXCEEDED),
            id="because of another policy",
        ),
        pytest.param(
            {WEB: Origin(1.0, first=True)},
            (State.PENDING, Reason.PROGRESS_DEADLINE_EXCEEDED),
            id="and never worked before",
        ),
        pytest.param({}, (State.UPDATING, Reason.API_UNAVAILABLE), id="and nobody knows why yet"),
    ],
)
def test_nothing_is_taken_out_nor_stopped_where_a_rollout_failed(
    origins: Any, expected: tuple[State, Reason]
) -> None:
    start = replace(failing(policy()), origins=origins)
    decided = plan(start)
    assert decided.changes == ()
    assert states(decided) == {"web": expected}
    others = replace(start, workloads=(*start.workloads, workload("api")))
    assert changed(plan(others)) == (["api"] if origins else [])


def test_of_two_policies_that_came_together_only_the_one_whose_sidecar_failed_is_blamed() -> None:
    both = Origin(1.0, frozenset({KEY, OTHER}), cause="other ends again and again")
    innocent = both.blaming(frozenset({OTHER, "SidecarPolicy/old"}))
    decided = plan(replace(failing(policy()), origins={WEB: innocent}))
    assert decided.changes == ()
    (standing,) = decided.standings[KEY]
    assert standing.finding is not None
    assert standing.state is State.PENDING
    assert "another policy (other ends again and again)" in standing.finding.message
    for seen_to_fail in ({KEY}, {KEY, OTHER}, {"SidecarPolicy/old"}, set[str]()):
        guilty = both.blaming(frozenset(seen_to_fail))
        (change,) = plan(replace(failing(policy()), origins={WEB: guilty})).changes
        assert change.failed == {KEY}


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
