"""Overviews: what `status` says of policies and their workloads."""

from dataclasses import replace
from typing import Any

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.facts import policy_facts
from sidecarpolicy.core.overview import Overview, overviews
from sidecarpolicy.core.standing import State
from tests.support.builders import policy_object, snapshot, template, workload
from tests.support.plans import injected

NOW = 1e9


def look(*workloads: Any, generation: int = 1, **status: Any) -> Overview:
    """The overview of one policy whose status is about generation 1."""
    ready = {"type": "Ready", "status": "True"}
    raw = policy_object(generation=generation)
    raw["kind"] = "SidecarPolicy"
    raw["status"] = {"observedGeneration": 1, "conditions": [ready, *ACCEPTED], **status}
    policy = policy_facts(raw)
    (found,) = overviews(
        [(raw, policy)], [snapshot(policies=(policy,), workloads=workloads)], now=NOW
    )
    return found


ACCEPTED = [{"type": each, "status": "True"} for each in ("Accepted", "ClusterCapable")]


def problem(reason: str) -> dict[str, str]:
    where = {"kind": "Deployment", "namespace": "shop", "name": "web"}
    return {**where, "reason": reason, "message": "said"}


def states(found: Overview) -> list[tuple[State, Reason | None]]:
    return [(e.state, e.finding.reason if e.finding else None) for e in found.standings or ()]


def test_a_workload_that_has_its_sidecars_is_current_and_all_is_well() -> None:
    found = look(injected())
    assert (states(found), found.well) == ([(State.CURRENT, None)], True)


def test_one_that_waits_for_its_turn_is_no_trouble() -> None:
    found = look(workload())
    assert (states(found), found.well) == ([(State.PENDING, None)], True)


def test_what_only_a_try_shows_is_taken_from_the_status() -> None:
    assert states(look(workload(), problems=[problem("Refused")])) == [
        (State.PENDING, Reason.REFUSED)
    ]
    assert states(look(workload(), problems=[problem("NoFeasibleNode")])) == [
        (State.SKIPPED, Reason.NO_FEASIBLE_NODE)
    ]


def test_a_status_of_an_older_spec_says_nothing_of_workloads() -> None:
    found = look(workload(), generation=2, problems=[problem("Refused")])
    assert states(found) == [(State.PENDING, None)]
    assert [each.message for each in found.faults] == [
        "the controller has not reported on its current spec"
    ]


def test_a_reason_of_a_newer_version_is_left_out() -> None:
    assert states(look(workload(), problems=[problem("Unheard")])) == [(State.PENDING, None)]


def test_a_policy_that_does_not_work_is_trouble_in_the_controllers_words() -> None:
    broken = {"type": "Accepted", "status": "False", "reason": "Invalid", "message": "bad"}
    found = look(conditions=[broken])
    assert not found.well
    assert found.faults[0].message == "Accepted is False: bad"


def test_the_worst_workloads_come_first() -> None:
    found = look(injected(), workload("a-web"))
    assert [state for state, _ in states(found)] == [State.PENDING, State.CURRENT]


def test_without_workloads_nothing_is_claimed_of_them() -> None:
    raw = policy_object()
    (found,) = overviews([(raw | {"kind": "SidecarPolicy"}, policy_facts(raw))], None, now=0)
    assert found.standings is None


def test_a_failed_rollout_is_trouble() -> None:
    made = injected()
    stopped = replace(made, rollout=replace(made.rollout, finished=False, deadline_exceeded=True))
    found = look(stopped, problems=[problem("RolloutFailed")])
    assert (states(found), found.well) == ([(State.FAILED, Reason.ROLLOUT_FAILED)], False)


def test_a_conflict_is_trouble() -> None:
    own = {"containers": [{"name": "shipper", "image": "own:1"}]}
    conflicting = workload(pods={**template(), "spec": own})
    assert not look(conflicting).well
