"""DaemonSets: one annotation a revision, and Jobs: nothing at all."""

from typing import Any

import pytest

from sidecarpolicy.api.names import ROLLOUT_ANNOTATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.facts import WorkloadFacts, workload_facts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.plan import plan
from sidecarpolicy.core.standing import Attempt, State, report
from tests.support.builders import deployment, pods_of, policy, sidecar, snapshot, template

KEY = "SidecarPolicy/log-shipper"
TARGETS = [{"kind": "DaemonSet"}, {"kind": "Job"}]


def daemons(*, pods: Any = None, **changes: Any) -> WorkloadFacts:
    """A DaemonSet whose Pods are all up to date."""
    done = {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}
    return workload_facts(deployment(pods=pods, status=done, **changes), kind="DaemonSet")


def job(*, created: str = "2026-01-02T00:00:00Z", pods: Any = None) -> WorkloadFacts:
    raw = deployment("nightly", pods=pods, metadata={"creationTimestamp": created})
    return workload_facts(raw, kind="Job")


def marked(**fields: Any) -> Any:
    """The DaemonSet's template after the plan."""
    (change,) = plan(
        snapshot(policies=(policy(targets=TARGETS, **fields),), workloads=(daemons(),))
    ).changes
    return change.template


def test_a_daemon_set_gets_an_annotation_and_no_sidecar() -> None:
    made = marked()
    assert list(made["metadata"]["annotations"]) == [ROLLOUT_ANNOTATION]
    assert made["spec"] == template()["spec"]


def test_a_marked_daemon_set_is_current_until_the_revision_changes() -> None:
    held = daemons(pods=marked())
    ours = policy(targets=TARGETS)
    decided = plan(snapshot(policies=(ours,), workloads=(held,)))
    assert decided.changes == ()
    assert [each.state for each in decided.standings[KEY]] == [State.CURRENT]
    newer = policy(targets=TARGETS, sidecars=[sidecar(image="newer")])
    (change,) = plan(snapshot(policies=(newer,), workloads=(held,))).changes
    assert change.template != pods_of(held)


@pytest.mark.parametrize("gone", [False, True], ids=["that moved on", "that is gone"])
def test_a_policy_takes_its_mark_back(gone: bool) -> None:
    held = daemons(pods=marked())
    elsewhere = policy(targets=TARGETS, selector={"matchLabels": {"app": "db"}})
    found = plan(
        snapshot(
            policies=() if gone else (elsewhere,),
            workloads=(held,),
            gone=frozenset({KEY} if gone else ()),
        )
    )
    (change,) = found.changes
    assert change.template == template()
    assert found.recorded.keys() == {KEY}


def test_a_paused_policy_makes_no_daemon_roll() -> None:
    decided = plan(
        snapshot(policies=(policy(targets=TARGETS, paused=True),), workloads=(daemons(),))
    )
    assert decided.changes == ()


def test_a_daemon_set_that_would_roll_for_nothing_is_skipped() -> None:
    start = snapshot(policies=(policy(targets=TARGETS),), workloads=(daemons(),))
    decided = plan(start)
    (change,) = decided.changes
    why = Finding(Reason.NO_CAPABLE_NODES, "none")
    (standing,) = report(KEY, decided.standings[KEY], {change.ref: Attempt(change, idle=why)})
    assert (standing.state, standing.finding) == (State.SKIPPED, why)


def test_an_annotation_that_is_not_ours_is_none() -> None:
    odd = template()
    odd["metadata"]["annotations"] = {ROLLOUT_ANNOTATION: "[1]"}
    assert plan(snapshot(workloads=(daemons(pods=odd),))).recorded.keys() == frozenset()


@pytest.mark.parametrize(
    ("created", "reason"),
    [
        ("2026-01-01T00:00:00Z", Reason.IMMUTABLE_TEMPLATE),
        ("2026-01-03T00:00:00Z", Reason.MISSED_ADMISSION),
    ],
    ids=["is older than the policy", "missed the webhook"],
)
def test_a_job_without_its_sidecar_is_skipped_because_it(created: str, reason: Reason) -> None:
    raw = policy(targets=TARGETS)
    ours = type(raw)(**{**raw.__dict__, "created": "2026-01-02T00:00:00Z"})
    decided = plan(snapshot(policies=(ours,), workloads=(job(created=created),)))
    assert decided.changes == ()
    (standing,) = decided.standings[KEY]
    assert (standing.state, standing.finding and standing.finding.reason) == (
        State.SKIPPED,
        reason,
    )


def test_a_job_with_its_sidecar_is_current_whatever_becomes_of_the_policy() -> None:
    start = snapshot(
        policies=(policy(),), workloads=(workload_facts(deployment(), kind="Deployment"),)
    )
    (change,) = plan(start).changes
    with_sidecar = job(pods=change.template)
    labels = {"matchLabels": {"app": "web"}}
    ours = policy(targets=TARGETS, selector=labels)
    decided = plan(snapshot(policies=(ours,), workloads=(with_sidecar,)))
    assert [each.state for each in decided.standings[KEY]] == [State.CURRENT]
    newer = policy(targets=TARGETS, sidecars=[sidecar(image="newer")])
    (standing,) = plan(snapshot(policies=(newer,), workloads=(with_sidecar,))).standings[KEY]
    assert standing.finding is not None
    assert "an older revision" in standing.finding.message
    elsewhere = policy(targets=TARGETS, selector={"matchLabels": {"app": "db"}})
    assert plan(snapshot(policies=(elsewhere,), workloads=(with_sidecar,))).standings[KEY] == ()
    for policies, gone in (
        ((), frozenset({KEY})),
        ((policy(targets=[{"kind": "Pod"}]),), frozenset()),
    ):
        left = snapshot(policies=policies, workloads=(with_sidecar,), gone=gone)
        assert plan(left).changes == ()


def test_a_job_that_ended_is_over() -> None:
    ended = deployment("nightly", status={"conditions": [{"type": "Failed", "status": "True"}]})
    assert workload_facts(ended, kind="Job").over
    assert not job().over
