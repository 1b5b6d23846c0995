"""What many Pods come to: lines for a status, the worst first."""

from dataclasses import replace

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.capability import NodeTally
from sidecarpolicy.core.diagnosis import Case, diagnose
from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.podfacts import pod_facts
from sidecarpolicy.core.standing import Standing, State
from sidecarpolicy.core.status import policy_status
from sidecarpolicy.core.summary import summarize
from sidecarpolicy.core.trouble import PodRecord, PodTally, pod_record, troubles, worst
from tests.support.builders import policy
from tests.support.patients import (
    JSON,
    NOW,
    SERVES,
    ago,
    container,
    init,
    over,
    owned_by,
    pod,
    recorded,
    running,
    sidecar,
    waiting,
)

POLICY = "SidecarPolicy/log-shipper"
NO_IMAGE = sidecar(waiting("ErrImagePull"))
HASHED = {"labels": {"pod-template-hash": "5d9c7b"}}


def record(raw: JSON) -> PodRecord:
    facts = pod_facts(raw)
    return pod_record(facts, diagnose(Case(facts, NOW)))


def web(name: str, *inits: JSON, **meta: object) -> PodRecord:
    owner = owned_by("ReplicaSet", "web-5d9c7b", **HASHED)
    return record(pod(*inits, meta={**recorded(), **owner, "name": name, **meta}))


def test_a_running_pod_counts_for_each_policy_whose_sidecars_all_run() -> None:
    both = recorded("shipper", "courier", policy="SidecarPolicy/both")
    found = record(pod(sidecar(SERVES), sidecar(running(2), name="courier"), meta=both))
    assert (found.policies, found.running, found.counts) == (("SidecarPolicy/both",), (), True)
    found = record(pod(sidecar(SERVES), sidecar(SERVES, name="courier"), meta=both))
    assert found.running == ("SidecarPolicy/both",)


def test_pods_that_ended_or_leave_are_none_to_run() -> None:
    assert not record(pod(sidecar(over(0)), phase="Succeeded", meta=recorded())).counts
    assert not web("web-1", sidecar(SERVES), deletionTimestamp=ago(1)).counts


def test_a_pod_that_its_node_refused_was_to_run() -> None:
    refused = {"reason": "InitContainerRestartPolicyForbidden"}
    assert record(pod(sidecar(), phase="Failed", status=refused, meta=recorded())).counts


def test_only_the_policy_whose_sidecar_fails_is_blamed() -> None:
    found = web("web-1", NO_IMAGE)
    assert found.blamed == (POLICY,)
    other = record(pod(NO_IMAGE, sidecar(), meta=recorded("courier")))
    assert other.blamed == (POLICY,)  # nobody added that container, so all are told
    blocked = record(pod(sidecar(SERVES), init(waiting("ErrImagePull")), meta=recorded()))
    assert blocked.blamed == (POLICY,)


def test_one_line_says_it_for_all_pods_of_an_owner() -> None:
    (found,) = troubles([web("web-2", NO_IMAGE), web("web-1", NO_IMAGE), web("web-3")])
    assert (found.owner.ref.kind, found.owner.ref.name, found.pods) == ("Deployment", "web", 2)
    assert found.finding.message.startswith("2 Pods: image shipper:1 of sidecar shipper cannot")


def test_a_pod_that_leaves_is_past_help() -> None:
    assert troubles([web("web-1", NO_IMAGE, deletionTimestamp=ago(1))]) == ()


def test_the_worst_comes_first() -> None:
    hanging = record(pod(init(running(11), name="shipper"), meta=recorded()))
    killed = record(
        pod(
            sidecar(over(137, since=2)),
            apps=(container("web", over(0, since=30)),),
            phase="Succeeded",
            meta={**recorded(), **owned_by("Job", "nightly")},
        )
    )
    found = troubles([web("web-1", NO_IMAGE), killed, hanging])
    reasons = [each.diagnosis.reason.value for each in found]
    assert reasons == ["RestartPolicyStripped", "SidecarKilledAtShutdown", "ImagePullFailing"]
    assert worst(reversed(found)) == found


def test_no_more_than_twenty_are_told() -> None:
    many = [
        record(pod(NO_IMAGE, meta={**recorded(), "name": f"p{number:02}"})) for number in range(30)
    ]
    found = worst(troubles(many))
    assert [each.owner.ref.name for each in found] == [f"p{number:02}" for number in range(20)]


def test_a_status_counts_pods_and_puts_their_trouble_first() -> None:
    tally = PodTally(3, 1, 2, troubles([web("web-1", NO_IMAGE), web("web-2", NO_IMAGE)]))
    conflict = Standing(
        Ref("Deployment", "shop", "api"),
        State.CONFLICTED,
        Finding(Reason.NAME_CONFLICT, "because"),
    )
    summary = replace(summarize([conflict]), missed=4, pods=tally)
    status = policy_status(policy(), summary, nodes=NodeTally(1, 1), excluded=False, now=ago(0))
    assert status["pods"] == {"total": 3, "running": 1, "stuck": 2, "missed": 4}
    told = [(each["name"], each["reason"]) for each in status["problems"][:2]]
    assert told == [("web", "ImagePullFailing"), ("api", "NameConflict")]
