"""The status: conditions that are true, and no write without news."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.api.statusmodels import SidecarPolicyStatus
from sidecarpolicy.core.advice import Diagnosis
from sidecarpolicy.core.blocks import LEFT_ALONE, MAX_PROBLEMS, merged, preflight
from sidecarpolicy.core.capability import NodeTally
from sidecarpolicy.core.facts import PolicyFacts, Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.overhead import Overhead
from sidecarpolicy.core.podfacts import Owner
from sidecarpolicy.core.promises import MISSED_PARTS
from sidecarpolicy.core.qos import QosClass
from sidecarpolicy.core.quantity import Quantity
from sidecarpolicy.core.standing import Standing, State
from sidecarpolicy.core.status import policy_status
from sidecarpolicy.core.summary import merge, summarize
from sidecarpolicy.core.trouble import PodTally, Trouble
from tests.support.builders import policy, sidecar

NOON, LATER = "2026-01-01T12:00:00Z", "2026-01-01T13:00:00Z"


def standing(state: State, name: str = "web", *, reason: Reason | None = None) -> Standing:
    finding = Finding(reason, "because") if reason else None
    return Standing(Ref("Deployment", "shop", name), state, finding)


def status(
    *standings: Standing,
    of: PolicyFacts | None = None,
    nodes: NodeTally = NodeTally(1, 3),  # noqa: B008
    excluded: bool = False,
    now: str = NOON,
    webhook: bool = True,
) -> dict[str, Any]:
    summary = merge(summarize([each]) for each in standings)
    assert summary == summarize(standings)
    return policy_status(
        of or policy(), summary, nodes=nodes, excluded=excluded, now=now, webhook=webhook
    )


def conditions(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in found["conditions"]}


def test_ready_does_not_wait_for_workloads() -> None:
    found = conditions(status(standing(State.PENDING), standing(State.FAILED)))
    assert found["Ready"] == ("True", "Ready")
    assert found["RolloutComplete"] == ("False", "WorkloadsFailed")


@pytest.mark.parametrize(
    ("arguments", "blamed", "reason"),
    [
        pytest.param({"nodes": NodeTally(0, 3)}, "ClusterCapable", "NoCapableNodes", id="nodes"),
        pytest.param({"excluded": True}, "Accepted", "NamespaceExcluded", id="its namespace"),
        pytest.param({"of": policy(nodeRule="x")}, "Accepted", "Invalid", id="its own spec"),
    ],
)
def test_a_policy_is_not_ready_because_of(arguments: Any, blamed: str, reason: str) -> None:
    found = conditions(status(**arguments))
    assert found["Ready"] == found[blamed] == ("False", reason)


def test_a_paused_policy_is_ready_because_new_workloads_get_their_sidecars() -> None:
    assert conditions(status(of=policy(paused=True)))["Ready"] == ("True", "Ready")


def test_a_paused_policy_does_not_hide_that_no_node_is_capable() -> None:
    found = conditions(status(of=policy(paused=True), nodes=NodeTally(0, 1)))
    assert found["ClusterCapable"] == found["Ready"] == ("False", "NoCapableNodes")


def progress(found: dict[str, Any]) -> dict[str, str]:
    """Those conditions that are present only while true, with their reasons."""
    assert all(each["status"] == "True" for each in found["conditions"][4:])
    return {each["type"]: each["reason"] for each in found["conditions"][4:]}


OWNERS_TURN = standing(State.UPDATING, "db", reason=Reason.WAITING_FOR_OWNER)
PENDING, UPDATING = standing(State.PENDING), standing(State.UPDATING, "api")
FAILED = standing(State.FAILED, "bad", reason=Reason.PROGRESS_DEADLINE_EXCEEDED)
CLASH = standing(State.CONFLICTED, "own", reason=Reason.NAME_CONFLICT)
DROPPED = preflight("shop", block=Finding(Reason.API_SERVER_DROPS_FIELD, "gate off"))


@pytest.mark.parametrize(
    ("standings", "expected"),
    [
        pytest.param([], {}, id="nothing is selected"),
        pytest.param([standing(State.CURRENT)], {}, id="all are current"),
        pytest.param([standing(State.SKIPPED)], {}, id="all are skipped"),
        pytest.param([PENDING], {"Reconciling": "InProgress"}, id="one is pending"),
        pytest.param([UPDATING], {"Reconciling": "InProgress"}, id="one rolls"),
        pytest.param([OWNERS_TURN], {}, id="one waits for its owner"),
        pytest.param(
            [OWNERS_TURN, UPDATING], {"Reconciling": "InProgress"}, id="another rolls beside it"
        ),
        pytest.param(
            [standing(State.PENDING, reason=Reason.PAUSED)], {}, id="what is left is paused"
        ),
        pytest.param(
            [standing(State.PENDING, reason=Reason.ON_NEXT_UPDATE)], {}, id="left to their owners"
        ),
        pytest.param([FAILED, PENDING], {"Stalled": "RolloutStopped"}, id="the rollout stopped"),
        pytest.param([FAILED, UPDATING], {"Stalled": "RolloutStopped"}, id="stopped, one rolls on"),
        pytest.param([CLASH], {"Stalled": "WorkloadsConflicted"}, id="only conflicts are left"),
        pytest.param([CLASH, PENDING], {"Reconciling": "InProgress"}, id="a conflict among others"),
    ],
)
def test_what_is_under_way_or_past_help_is_said_only_while_it_is_so(
    standings: list[Standing], expected: dict[str, str]
) -> None:
    assert progress(status(*standings)) == expected


def test_failures_that_do_not_stop_a_rollout_stall_it_only_once_it_is_over() -> None:
    two = policy(rollout={"maxFailed": 2})
    assert progress(status(FAILED, PENDING, of=two)) == {"Reconciling": "InProgress"}
    assert progress(status(FAILED, of=two)) == {"Stalled": "WorkloadsFailed"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param({"of": policy(nodeRule="x")}, {"Stalled": "Invalid"}, id="its own spec"),
        pytest.param({"excluded": True}, {"Stalled": "NamespaceExcluded"}, id="its namespace"),
        pytest.param({"nodes": NodeTally(0, 3)}, {}, id="nodes may still join"),
    ],
)
def test_a_policy_is_stalled_only_where_waiting_mends_nothing(
    arguments: Any, expected: dict[str, str]
) -> None:
    assert progress(status(**arguments)) == expected


def test_a_gate_that_is_off_stalls_a_policy() -> None:
    summary = replace(summarize([PENDING]), preflight=DROPPED)
    found = policy_status(policy(), summary, nodes=NodeTally(1, 1), excluded=False, now=NOON)
    assert progress(found) == {"Stalled": "ApiServerDropsField"}


@pytest.mark.parametrize(
    ("standings", "reason", "said"),
    [
        pytest.param([OWNERS_TURN], "WaitingForOwner", "wait until their owners", id="owners"),
        pytest.param([OWNERS_TURN, PENDING], "InProgress", "1 pending, 1 updating", id="and more"),
        pytest.param(
            [standing(State.PENDING, reason=Reason.ON_NEXT_UPDATE)],
            "OnNextUpdate",
            "1 pending; 1 wait for their owners' next update",
            id="left to their owners",
        ),
        pytest.param(
            [standing(State.PENDING, reason=Reason.PAUSED)], "Paused", "1 pending", id="paused"
        ),
    ],
)
def test_an_open_rollout_says_whose_turn_it_is(
    standings: list[Standing], reason: str, said: str
) -> None:
    found = {each["type"]: each for each in status(*standings)["conditions"]}
    complete = found["RolloutComplete"]
    assert (complete["status"], complete["reason"]) == ("False", reason)
    assert said in complete["message"]


@pytest.mark.parametrize(("at", "ready"), [("Pod", "False"), ("Auto", "True")])
def test_only_a_policy_of_pod_time_needs_the_webhook_to_be_ready(at: str, ready: str) -> None:
    found = conditions(status(of=policy(injectAt=at), webhook=False))
    assert found["Ready"][0] == ready
    assert found["ClusterCapable"] == ("True", "Capable")


def test_pods_that_the_webhook_missed_are_counted_and_named() -> None:
    missed = {Ref("Pod", "shop", name): MISSED_PARTS for name in ("web-2", "web-1")}
    summary = replace(summarize([standing(State.CURRENT)]), strays=missed)
    found = policy_status(policy(), summary, nodes=NodeTally(1, 1), excluded=False, now=NOON)
    assert found["pods"] == {"total": 0, "running": 0, "stuck": 0, "missed": 2}
    named = [(each["kind"], each["name"], each["reason"]) for each in found["problems"]][:2]
    assert named == [("Pod", "web-1", "MissedAdmission"), ("Pod", "web-2", "MissedAdmission")]


@pytest.mark.parametrize("reason", [Reason.REFUSED, Reason.FORBIDDEN])
def test_a_policy_that_the_api_server_takes_nowhere_is_not_ready(reason: Reason) -> None:
    denied = standing(State.PENDING, reason=reason)
    assert conditions(status(denied))["Ready"] == ("False", reason.value)
    assert conditions(status(denied, standing(State.CURRENT)))["Ready"][0] == "True"


def test_a_cluster_without_nodes_is_not_incapable() -> None:
    assert conditions(status(nodes=NodeTally()))["ClusterCapable"] == ("True", "NoNodes")


@pytest.mark.parametrize("state", [State.PENDING, State.UPDATING, State.FAILED, State.CONFLICTED])
def test_a_rollout_is_incomplete_while_a_workload_is(state: State) -> None:
    assert conditions(status(standing(state)))["RolloutComplete"][0] == "False"


def test_skipped_workloads_do_not_keep_a_rollout_open() -> None:
    found = conditions(status(standing(State.SKIPPED), standing(State.CURRENT)))
    assert found["RolloutComplete"] == ("True", "Complete")


def test_every_workload_is_counted_once() -> None:
    counted = status(*(standing(state) for state in State))["workloads"]
    assert counted == {"matched": 6, **{state.value: 1 for state in State}}


def test_a_status_without_news_equals_the_one_before() -> None:
    first = status(standing(State.CURRENT))
    again = status(standing(State.CURRENT), of=replace(policy(), status=first), now=LATER)
    assert again == first


def test_a_transition_time_moves_only_with_its_own_condition() -> None:
    first = status(standing(State.UPDATING))
    then = status(standing(State.CURRENT), of=replace(policy(), status=first), now=LATER)
    times = {each["type"]: each["lastTransitionTime"] for each in then["conditions"]}
    assert times == {
        "Ready": NOON, "Accepted": NOON, "ClusterCapable": NOON, "RolloutComplete": LATER,
    }  # fmt: skip


def test_problems_are_bounded_and_the_worst_come_first() -> None:
    skipped = [
        standing(State.SKIPPED, f"s{number:02}", reason=Reason.OPTED_OUT) for number in range(30)
    ]
    failed = standing(State.FAILED, "z", reason=Reason.PROGRESS_DEADLINE_EXCEEDED)
    problems = status(*skipped, failed)["problems"]
    assert len(problems) == MAX_PROBLEMS
    assert [each["name"] for each in problems[:2]] == ["z", "s00"]


@pytest.mark.parametrize("reason", sorted(LEFT_ALONE))
def test_what_the_webhook_obeys_is_crowded_out_by_nothing(reason: Reason) -> None:
    """Neither by workloads that are worse off, nor by Pods in trouble, nor by full quotas."""
    refused = standing(State.PENDING, "api", reason=reason)
    failed = [standing(State.FAILED, f"f{n:02}", reason=Reason.PREFLIGHT) for n in range(30)]
    ref, full = Ref("ReplicaSet", "shop", "web-1"), Finding(Reason.QUOTA_EXCEEDED, "full")
    ill = [
        Trouble(
            Owner(Ref("Deployment", "shop", f"d{n:02}"), ref, f"u{n}", "apps/v1"),
            Diagnosis(Reason.IMAGE_PULL_FAILING, "because", "do this"),
        )
        for n in range(MAX_PROBLEMS)
    ]
    quotas = [preflight(f"n{n:02}", block=None, warning=full) for n in range(30)]
    summary = replace(
        merge([summarize([*failed, refused])]),
        pods=PodTally(troubles=tuple(ill)),
        preflight=merged(quotas),
    )
    found = policy_status(policy(), summary, nodes=NodeTally(1, 1), excluded=False, now=NOON)
    assert len(found["problems"]) == MAX_PROBLEMS
    assert replace(policy(), status=found).refused(refused.ref)


@pytest.mark.parametrize(("number", "expected"), [(MAX_PROBLEMS - 1, False), (MAX_PROBLEMS, True)])
def test_a_status_full_of_refusals_has_the_webhook_leave_all_others_alone(
    number: int, expected: bool
) -> None:
    refused = [standing(State.PENDING, f"w{n}", reason=Reason.REFUSED) for n in range(number)]
    of = replace(policy(), status=status(*refused))
    assert of.leaves_alone(Ref("Deployment", "shop", "another")) is expected
    assert of.leaves_alone(refused[0].ref)


def costly(cpu: str, pods: int, name: str = "web", *findings: Finding) -> Standing:
    one = Quantity(Decimal(1))
    after = {"cpu": one + Quantity(Decimal(cpu))}
    cost = Overhead({"cpu": one}, after, QosClass.BURSTABLE, QosClass.BURSTABLE, findings)
    return replace(standing(State.CURRENT, name), overhead=cost, pods=pods)


def test_the_overhead_is_the_most_of_one_pod_and_the_sum_of_all() -> None:
    found = status(costly("0.05", 3), costly("0.1", 2, "api"), standing(State.PENDING, "other"))
    assert found["overhead"] == {
        "perPod": {"cpu": "100m"},
        "total": {"cpu": "350m"},
        "requests": {"before": {"cpu": "5"}, "after": {"cpu": "5350m"}},
    }


def test_a_worse_qos_class_is_a_warning_and_changes_no_condition() -> None:
    worse = Finding(Reason.QOS_CLASS_CHANGED, "from Guaranteed to Burstable")
    found = status(costly("0.05", 3, "web", worse))
    assert [each["reason"] for each in found["problems"]][:1] == ["QosClassChanged"]
    assert conditions(found)["RolloutComplete"] == ("True", "Complete")


def test_a_sidecar_without_requests_is_said_once_of_the_policy_itself() -> None:
    problems = status(standing(State.CURRENT), standing(State.CURRENT, "api"))["problems"]
    assert [(each["kind"], each["name"], each["reason"]) for each in problems] == [
        ("SidecarPolicy", "log-shipper", "NoResourceRequest")
    ]
    asking = sidecar(resources={"requests": {"cpu": "1m", "memory": "1Mi"}})
    assert status(of=policy(sidecars=[asking]))["problems"] == []


def test_the_status_is_what_its_model_describes() -> None:
    found = status(standing(State.FAILED, reason=Reason.REFUSED), costly("0.05", 3))
    parsed = SidecarPolicyStatus.model_validate(found).model_dump(by_alias=True, mode="json")
    assert parsed == found
