"""News: told of what was written and of how workloads stand, and of nothing twice."""

import json
from dataclasses import replace
from typing import Any

import pytest

from sidecarpolicy.api.names import ROLLOUT_ANNOTATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.facts import Ref, WorkloadFacts, workload_facts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.news import News, chronicle, news
from sidecarpolicy.core.plan import plan
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.standing import Attempt
from tests.support.builders import (
    deployment,
    policy,
    policy_object,
    sidecar,
    snapshot,
    template,
    workload,
)
from tests.support.plans import KEY, STOPPED, brought, injected, many, rolled

POLICY = policy()
assert POLICY.desired is not None
REVISION = POLICY.desired.revision
OPTS_OUT = template()
OPTS_OUT["metadata"]["annotations"] = {"sidecarpolicy.dev/inject": "false"}


def told(now: Snapshot, *, before: Snapshot | None = None) -> list[News]:
    was = chronicle(before, plan(before)) if before is not None else {}
    decided = plan(now)
    return list(news(now, decided, {}, before=was, after=chronicle(now, decided)))


def said(found: list[News]) -> list[tuple[str, Reason, str]]:
    return [(each.ref.name, each.reason, each.message) for each in found]


def of(*workloads: WorkloadFacts, **fields: Any) -> Snapshot:
    return snapshot(**{"policies": (POLICY,), "workloads": workloads, **fields})


def test_what_is_planned_is_no_news_before_it_is_written() -> None:
    assert told(of(workload())) == []


def test_a_first_revision_is_injected() -> None:
    (found,) = told(of(injected()), before=of(workload()))
    assert said([found]) == [
        ("web", Reason.INJECTED, f"revision {REVISION} of SidecarPolicy shop/log-shipper was added")
    ]
    assert found.normal
    assert found.author is not None
    assert found.author.ref == Ref("SidecarPolicy", "shop", "log-shipper")


def test_what_came_with_its_sidecars_was_injected_too() -> None:
    assert [each.reason for each in told(of(injected()))] == [Reason.INJECTED]


def test_an_unchanged_revision_is_no_news() -> None:
    assert told(of(injected()), before=of(injected())) == []


def test_another_revision_is_an_update() -> None:
    newer = injected(sidecars=[sidecar(image="newer")])
    found = told(of(newer), before=of(injected()))
    assert [each.reason for each in found] == [Reason.UPDATED]
    assert f"replaced revision {REVISION}" in found[0].message


def test_what_is_taken_out_is_reverted_also_when_the_policy_is_gone() -> None:
    (found,) = told(of(workload(), policies=()), before=of(injected()))
    assert said([found]) == [
        ("web", Reason.REVERTED, "what SidecarPolicy shop/log-shipper had added was taken out")
    ]
    assert found.author is None


def test_the_same_may_come_and_go_and_is_told_each_time() -> None:
    first = told(of(injected()), before=of(workload()))
    again = told(of(replace(injected(), generation=7)), before=of(workload()))
    assert first[0].topic != again[0].topic


def test_a_namesake_that_was_created_anew_is_no_update() -> None:
    other = replace(injected(), uid="another")
    (found,) = told(of(other), before=of(injected(sidecars=[sidecar(image="older")])))
    assert found.reason is Reason.INJECTED


def test_jobs_bring_their_sidecars_along_which_is_no_news() -> None:
    made = injected()
    job = replace(made, ref=replace(made.ref, kind="Job"))
    assert told(of(job)) == []


def daemon_set(entry: str) -> Snapshot:
    """One whose Pods have a revision, or were made anew without it."""
    made = template()
    made["metadata"]["annotations"] = {ROLLOUT_ANNOTATION: json.dumps({KEY: entry})}
    return of(workload_facts(deployment(pods=made), kind="DaemonSet"), policies=())


def test_a_revision_that_is_kept_out_of_a_daemon_sets_pods_was_taken_out() -> None:
    (found,) = told(daemon_set(f"!{REVISION}"), before=daemon_set(REVISION))
    assert found.reason is Reason.REVERTED
    assert told(daemon_set(f"!{REVISION}"), before=daemon_set(f"!{REVISION}")) == []


@pytest.mark.parametrize(
    ("now", "reason", "normal", "words"),
    [
        pytest.param(of(workload(pods=OPTS_OUT)), Reason.SKIPPED, True, "opts out", id="opted out"),
        pytest.param(
            of(workload(), policies=(policy(sidecars=[sidecar("web")]),)),
            Reason.CONFLICTED,
            False,
            "container 'web'",
            id="a name that is taken",
        ),
    ],
)
def test_how_a_workload_stands_is_told(
    now: Snapshot, reason: Reason, normal: bool, words: str
) -> None:
    (found,) = told(now)
    assert (found.reason, found.normal, found.lasting) == (reason, normal, True)
    assert words in found.message
    assert told(now)[0].topic == found.topic


def failed(**fields: Any) -> Snapshot:
    one = policy(**fields)
    start = of(*many(2), policies=(one,))
    first = rolled(start.workloads[0], of=plan(start), updatedReplicas=1, conditions=STOPPED)
    origins = brought(first.ref)
    return replace(start, workloads=(first, start.workloads[1]), origins=origins)


@pytest.mark.parametrize(
    ("most", "reason"), [(1, Reason.ROLLOUT_STOPPED), (2, Reason.ROLLOUT_FAILED)]
)
def test_a_workload_that_failed_says_whether_the_rollout_goes_on(most: int, reason: Reason) -> None:
    now = failed(rollout={"maxFailed": most, "maxConcurrent": 1, "onFailure": "Pause"})
    found = told(now, before=now)
    assert [(each.ref.name, each.reason, each.normal) for each in found] == [
        ("web-00", reason, False)
    ]


def test_what_came_of_an_attempt_is_told_and_not_what_was_planned() -> None:
    now = of(workload())
    decided = plan(now)
    (change,) = decided.changes
    idle = Attempt(change, idle=Finding(Reason.NO_CAPABLE_NODES, "none"))
    (found,) = news(now, decided, {change.ref: idle}, before={}, after={})
    assert (found.reason, found.message) == (
        Reason.SKIPPED,
        "SidecarPolicy shop/log-shipper leaves it alone: NoCapableNodes: none",
    )


def test_a_policy_hears_of_many_workloads_in_one_sentence() -> None:
    (found,) = told(of(injected()))
    assert found.summed_up(1).message == (
        f"revision {REVISION} was added to 1 workload: Deployment shop/web"
    )
    assert found.summed_up(12).message == (
        f"revision {REVISION} was added to 12 workloads: the latest Deployment shop/web"
    )


def test_each_policy_tells_of_its_own() -> None:
    agent = policy_object("agent", sidecars=[sidecar("agent")])
    two = (policy("agent", sidecars=agent["spec"]["sidecars"]), POLICY)
    start = of(workload(pods=OPTS_OUT), policies=two)
    keys = [each.topic[1] for each in told(start)]
    assert keys == ["SidecarPolicy/agent", KEY]
