"""Failure: what counts as failed, and who is blamed."""

from dataclasses import replace
from typing import Any

import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.facts import WorkloadFacts, workload_facts
from sidecarpolicy.core.failure import in_question
from sidecarpolicy.core.origin import Origin
from sidecarpolicy.core.plan import plan
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.standing import State
from tests.support.builders import policy, sidecar, snapshot, workload
from tests.support.failing import OTHER, PAUSE, failing, injected, progressing, seen
from tests.support.plans import KEY, STOPPED, WEB, brought, changed, states

JSON = dict[str, Any]


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
