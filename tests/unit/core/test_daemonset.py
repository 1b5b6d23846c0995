"""DaemonSets: one annotation a revision, and Jobs: nothing at all."""

import json
from typing import Any

import pytest

from sidecarpolicy.api.names import ROLLOUT_ANNOTATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core import daemonset
from sidecarpolicy.core.facts import WorkloadFacts, workload_facts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.held import read_holds
from sidecarpolicy.core.origin import Origin
from sidecarpolicy.core.plan import plan
from sidecarpolicy.core.standing import Attempt, State, report
from tests.support.builders import deployment, pods_of, policy, sidecar, snapshot, template
from tests.support.plans import stored

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


def failed() -> WorkloadFacts:
    """A DaemonSet that does not get further with our revision."""
    status = {"desiredNumberScheduled": 3, "updatedNumberScheduled": 1, "numberAvailable": 2}
    return workload_facts(deployment(pods=marked(), status=status), kind="DaemonSet")


def reverting() -> Any:
    """The DaemonSet as it is stored after its rollout failed."""
    ours = policy(targets=TARGETS)
    origins = {failed().ref: Origin(1.0, frozenset({KEY}))}
    start = snapshot(policies=(ours,), workloads=(failed(),), origins=origins, now=9_000.0)
    (change,) = plan(start).changes
    assert change.taken_out == change.policies == {KEY}
    return stored(deployment(pods=marked()), change.patch)


def test_pods_of_a_daemon_set_are_told_by_its_template_what_failed_and_stays_out() -> None:
    raw = reverting()
    ours = policy(targets=TARGETS)
    assert ours.desired is not None
    said = json.loads(raw["spec"]["template"]["metadata"]["annotations"][ROLLOUT_ANNOTATION])
    assert said[KEY] == f"!{ours.desired.revision}"
    held = workload_facts(raw, kind="DaemonSet")
    decided = plan(snapshot(policies=(ours,), workloads=(held,)))
    assert decided.changes == ()
    assert [each.state for each in decided.standings[KEY]] == [State.FAILED]


def test_what_stays_out_of_a_daemon_set_goes_with_its_policy_or_makes_way_for_its_next() -> None:
    held = workload_facts(reverting(), kind="DaemonSet")
    (change,) = plan(snapshot(workloads=(held,), gone=frozenset({KEY}))).changes
    assert change.template == template()
    newer = policy(targets=TARGETS, sidecars=[sidecar(image="newer")])
    (change,) = plan(snapshot(policies=(newer,), workloads=(held,))).changes
    assert read_holds(stored(reverting(), change.patch)["metadata"]) == ()
    assert newer.desired is not None
    assert daemonset.revisions(change.template) == {KEY: newer.desired.revision}


def test_a_hold_that_somebody_took_away_lets_the_revision_in_again() -> None:
    raw = reverting()
    del raw["metadata"]["annotations"]
    again = workload_facts(raw, kind="DaemonSet")
    (change,) = plan(snapshot(policies=(policy(targets=TARGETS),), workloads=(again,))).changes
    assert change.template == marked()


@pytest.mark.parametrize("idle", [{KEY: 2.0}, {}], ids=["a Pod of it lacks them", "none does"])
def test_a_daemon_set_whose_pods_are_all_new_has_failed_where(idle: Any) -> None:
    status = {"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 2}
    last = workload_facts(deployment(pods=marked(), status=status), kind="DaemonSet")
    start = snapshot(
        policies=(policy(targets=TARGETS),),
        workloads=(last,),
        origins={last.ref: Origin(1.0, frozenset({KEY}))},
        idle={last.ref: idle},
        now=602.0,
    )
    state = State.FAILED if idle else State.UPDATING
    assert [each.state for each in plan(start).standings[KEY]] == [state]
