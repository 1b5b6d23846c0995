"""`status` as people and programs see it; what it reads is an integration test."""

from dataclasses import replace

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.cli.status import Status
from sidecarpolicy.cli.status_view import as_data, as_text
from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.overview import Overview
from sidecarpolicy.core.standing import Standing, State
from tests.support.builders import policy

READY = {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}
POLICY = replace(policy(), status=READY)
WEB = Standing(Ref("Deployment", "shop", "web"), State.CURRENT, pods=2)
DB = Standing(
    Ref("StatefulSet", "shop", "db"), State.SKIPPED, Finding(Reason.OPTED_OUT, "it opts out")
)
OVERVIEW = Overview(POLICY, (), (DB, WEB))


def shown(status: Status, *, wide: bool = False) -> list[str]:
    return [" ".join(line.split()) for line in as_text(status, wide=wide, width=None).splitlines()]


def test_each_policy_has_a_table_of_its_workloads() -> None:
    assert shown(Status((OVERVIEW,), ())) == [
        "SidecarPolicy shop/log-shipper: Ready True, 1 current, 1 skipped",
        "STATE WORKLOAD REASON MESSAGE",
        "skipped StatefulSet shop/db OptedOut it opts out",
        "current Deployment shop/web - -",
        "",
    ]


def test_wide_counts_the_pods_too() -> None:
    assert shown(Status((OVERVIEW,), ()), wide=True)[3] == "current Deployment shop/web 2 - -"


def test_what_could_not_be_read_is_said() -> None:
    unknown = replace(OVERVIEW, standings=None)
    found = Status((unknown,), ("deployments: no right",))
    assert shown(found) == [
        "SidecarPolicy shop/log-shipper: Ready True, workloads not known",
        "",
        "Could not read deployments: no right",
    ]
    assert not found.well


def test_what_leaves_is_told_from_what_waits() -> None:
    leaving = replace(WEB, state=State.PENDING, leaving=True)
    found = Status((replace(OVERVIEW, standings=(leaving,)),), ())
    assert shown(found)[2] == "leaving Deployment shop/web - -"


def test_a_status_of_an_older_spec_does_not_count_as_ready() -> None:
    older = replace(OVERVIEW, policy=replace(POLICY, generation=2), standings=())
    assert shown(Status((older,), ()))[0] == (
        "SidecarPolicy shop/log-shipper: Ready Unknown, no workloads"
    )


def test_without_policies_it_says_so() -> None:
    assert shown(Status((), ())) == ["There are no policies"]


def test_programs_get_every_workload_with_its_state() -> None:
    (found,) = as_data(Status((OVERVIEW,), ()))["policies"]
    assert (found["kind"], found["namespace"], found["ready"]) == ("SidecarPolicy", "shop", "True")
    assert found["counts"]["skipped"] == 1
    assert found["workloads"][0] == {
        "kind": "StatefulSet",
        "namespace": "shop",
        "name": "db",
        "state": "skipped",
        "leaving": False,
        "pods": 0,
        "reason": "OptedOut",
        "message": "it opts out",
    }


def requesting(before: dict[str, str], after: dict[str, str]) -> Overview:
    overhead = {"perPod": {}, "total": {}, "requests": {"before": before, "after": after}}
    return replace(OVERVIEW, policy=replace(POLICY, status={**READY, "overhead": overhead}))


def test_what_all_pods_request_is_shown_without_and_with_the_policy() -> None:
    more = requesting({"cpu": "2"}, {"cpu": "2500m", "memory": "64Mi"})
    assert shown(Status((more,), ()))[1] == (
        "Its Pods together request cpu 2 → 2500m, memory 0 → 64Mi"
    )
    same = requesting({"cpu": "2"}, {"cpu": "2"})
    assert shown(Status((same,), ()))[1] == "Its Pods together request cpu 2, as without it"
    (data,) = as_data(Status((more,), ()))["policies"]
    assert data["overhead"]["requests"]["after"] == {"cpu": "2500m", "memory": "64Mi"}


def test_zeros_are_not_shown() -> None:
    gone = requesting({"cpu": "2", "memory": "0"}, {"cpu": "0", "memory": "0"})
    assert shown(Status((gone,), ()))[1] == "Its Pods together request cpu 2 → 0"
    nothing = requesting({"cpu": "0"}, {"cpu": "0"})
    assert shown(Status((nothing,), ()))[1] == "STATE WORKLOAD REASON MESSAGE"


def test_what_pods_request_under_an_older_spec_is_not_shown() -> None:
    more = requesting({"cpu": "2"}, {"cpu": "3"})
    older = replace(more, policy=replace(more.policy, generation=2), standings=())
    assert len(shown(Status((older,), ()))) == 2
