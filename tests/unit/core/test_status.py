"""The status: conditions that are true, and no write without news."""

from dataclasses import replace
from typing import Any

import pytest

from sidecarpolicy.api.models import SidecarPolicyStatus
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.capability import NodeTally
from sidecarpolicy.core.facts import PolicyFacts, Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.standing import Standing, State
from sidecarpolicy.core.status import policy_status
from sidecarpolicy.core.summary import MAX_PROBLEMS, merge, summarize
from tests.support.builders import policy

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
) -> dict[str, Any]:
    summary = merge(summarize([each]) for each in standings)
    assert summary == summarize(standings)
    return policy_status(of or policy(), summary, nodes=nodes, excluded=excluded, now=now)


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


def test_a_paused_policy_is_not_ready_because_new_workloads_get_nothing_either() -> None:
    assert conditions(status(of=policy(paused=True)))["Ready"] == ("False", "Paused")


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


def test_the_status_is_what_its_model_describes() -> None:
    found = status(standing(State.FAILED, reason=Reason.REFUSED))
    parsed = SidecarPolicyStatus.model_validate(found).model_dump(by_alias=True, mode="json")
    assert parsed == found
