"""Blocks: what follows from a verdict, how the status says so, and that it is obeyed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.blame import finding_of
from sidecarpolicy.core.blocks import MAX_BLOCKED, Preflight, listed, merged, preflight, said
from sidecarpolicy.core.capability import NodeTally
from sidecarpolicy.core.facts import CLUSTER, PolicyFacts, workload_facts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.gate import Gate
from sidecarpolicy.core.inquiry import Verdict
from sidecarpolicy.core.plan import plan
from sidecarpolicy.core.reading import Answer
from sidecarpolicy.core.snapshot import blocked_by_status
from sidecarpolicy.core.standing import State
from sidecarpolicy.core.status import policy_status
from sidecarpolicy.core.summary import Summary
from sidecarpolicy.core.suspects import Hook, Suspect
from tests.support.builders import deployment, policy, snapshot, workload
from tests.support.plans import KEY, injected, states

JSON = dict[str, Any]
NO = Finding(Reason.REFUSED, "no, because")
LOST = Finding(Reason.STRIPPED_BY_WEBHOOK, "stripped")
DROPPED = Finding(Reason.API_SERVER_DROPS_FIELD, "dropped")
BAD = Finding(Reason.INVALID, "malformed")
MESH = replace(policy("mesh"), scope=CLUSTER)


def suspect(name: str) -> Suspect:
    return Suspect(Hook(name, f"{name}.example.com", None, None), certain=True)


@pytest.mark.parametrize(
    ("verdict", "gate", "suspects", "reason"),
    [
        pytest.param(Answer.INVALID, Gate.ON, (), Reason.INVALID, id="malformed"),
        pytest.param(Answer.REFUSED, Gate.ON, (), Reason.REFUSED, id="refused"),
        pytest.param(
            Answer.LOST,
            Gate.OFF,
            (suspect("x"),),
            Reason.API_SERVER_DROPS_FIELD,
            id="lost, and the gate is off, whoever else is asked",
        ),
        pytest.param(
            Answer.LOST, Gate.UNKNOWN, (), Reason.API_SERVER_DROPS_FIELD, id="lost by nobody else"
        ),
        pytest.param(
            Answer.LOST,
            Gate.UNKNOWN,
            (suspect("x"),),
            Reason.STRIPPED_BY_WEBHOOK,
            id="lost where a webhook is asked",
        ),
        pytest.param(
            Answer.LOST, Gate.ON, (), Reason.STRIPPED_BY_WEBHOOK, id="lost, and the gate is on"
        ),
        pytest.param(Answer.PRESERVED, Gate.OFF, (suspect("x"),), None, id="preserved"),
        pytest.param(Answer.INCONCLUSIVE, Gate.OFF, (suspect("x"),), None, id="no answer"),
    ],
)
def test_only_what_is_proved_blocks(
    verdict: Answer, gate: Gate, suspects: Sequence[Suspect], reason: Reason | None
) -> None:
    found = finding_of(Verdict(verdict, "no"), gate=gate, suspects=suspects)
    assert (found.reason if found else None) is reason


def test_the_likeliest_suspect_is_named_first_with_the_next_step() -> None:
    named = [suspect(name) for name in ("one", "two", "three", "four", "five")]
    found = finding_of(Verdict(Answer.LOST), gate=Gate.ON, suspects=named)
    assert found is not None
    message = found.message
    assert "first: MutatingWebhookConfiguration one (webhook one.example.com), " in message
    assert "three.example.com) and 2 more; upgrade it" in message


def status(
    *found: Preflight, of: PolicyFacts | None = None, nodes: NodeTally = NodeTally(1, 1)  # noqa: B008
) -> JSON:  # fmt: skip
    summary = Summary(preflight=merged(found))
    return policy_status(of or policy(), summary, nodes=nodes, excluded=False, now="now")


def conditions(found: JSON) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in found["conditions"]}


@pytest.mark.parametrize(
    ("block", "type_", "reason"),
    [
        (BAD, "Accepted", "Invalid"),
        (DROPPED, "ClusterCapable", "ApiServerDropsField"),
        (LOST, "ClusterCapable", "StrippedByWebhook"),
        (NO, "Ready", "Refused"),
    ],
    ids=lambda each: str(getattr(each, "reason", "")),
)
def test_a_blocked_policy_is_not_ready_and_says_why(
    block: Finding, type_: str, reason: str
) -> None:
    found = status(preflight("shop", block=block), nodes=NodeTally(0, 3))
    if block is not NO:
        assert conditions(found)[type_] == conditions(found)["Ready"] == ("False", reason)
    assert found["blockedNamespaces"] == [
        {"namespace": "shop", "reason": reason, "message": block.message}
    ]


def test_a_policy_that_nothing_blocks_says_so() -> None:
    found = status(preflight("shop", block=None))
    assert conditions(found)["Ready"] == ("True", "Ready")
    assert found["blockedNamespaces"] == []


def test_a_cluster_policy_is_blocked_by_namespace_and_names_the_first() -> None:
    found = status(
        *(preflight(name, block=None) for name in ("a", "c")),
        *(preflight(name, block=LOST) for name in ("d", "b")),
        of=MESH,
    )
    assert conditions(found)["ClusterCapable"] == ("True", "Capable")
    (ready,) = (each for each in found["conditions"] if each["type"] == "Ready")
    assert ready["message"] == "in 2 of 4 namespaces, first in b: stripped"
    assert [each["namespace"] for each in found["blockedNamespaces"]] == ["b", "d"]


@pytest.mark.parametrize("block", [LOST, BAD], ids=["stripped", "malformed"])
def test_what_is_so_everywhere_is_said_of_the_whole_cluster(block: Finding) -> None:
    found = status(*(preflight(name, block=block) for name in ("a", "b")), of=MESH)
    assert conditions(found)["Ready"] == ("False", block.reason.value)
    assert ("False", block.reason.value) in [
        conditions(found)["ClusterCapable"], conditions(found)["Accepted"],
    ]  # fmt: skip


def test_one_api_server_that_drops_the_field_drops_it_everywhere() -> None:
    found = status(preflight("a", block=DROPPED), preflight("b", block=None), of=MESH)
    assert conditions(found)["ClusterCapable"] == ("False", "ApiServerDropsField")


def test_a_quota_is_a_problem_and_changes_no_condition() -> None:
    full = Finding(Reason.QUOTA_EXCEEDED, "exceeded quota")
    found = status(preflight("shop", block=None, warning=full))
    assert conditions(found)["Ready"][0] == "True"
    assert found["problems"][0] == {
        "kind": "SidecarPolicy",
        "name": "log-shipper",
        "namespace": "shop",
        "reason": "QuotaExceeded",
        "message": "exceeded quota",
    }


def test_the_list_of_namespaces_is_bounded_and_then_counts_for_all() -> None:
    many = [preflight(f"n{number:03}", block=NO) for number in range(MAX_BLOCKED + 5)]
    together = merged([preflight("fine", block=None), *many])
    assert [len(listed(together)), together.reasons[Reason.REFUSED]] == [100, 105]
    blocked = replace(MESH, status={"blockedNamespaces": listed(together)})
    assert blocked.block("fine") == NO
    some = replace(MESH, status={"blockedNamespaces": listed(merged(many[:99]))})
    assert some.block("fine") is None


@pytest.mark.parametrize("block", [BAD, DROPPED, LOST, NO], ids=lambda each: str(each.reason))
def test_what_the_status_says_is_obeyed(block: Finding) -> None:
    blocked = replace(policy(), status=status(preflight("shop", block=block)))
    assert blocked.block("shop") == block
    start = snapshot(policies=(blocked,), workloads=(workload(),))
    decided = plan(replace(start, blocked=blocked_by_status(start.policies, "shop")))
    assert decided.changes == ()
    assert states(decided) == {"web": (State.PENDING, block.reason)}


def test_a_reason_of_a_newer_version_blocks_as_well() -> None:
    told = {"namespace": "shop", "reason": "SomethingNew", "message": "no"}
    assert said({"blockedNamespaces": [told]}) == {"shop": Finding(Reason.REFUSED, "no")}


def test_a_condition_that_is_about_one_namespace_blocks_no_other() -> None:
    said_of_one = status(preflight("a", block=LOST), preflight("b", block=None), of=MESH)
    blocked = replace(MESH, status=said_of_one)
    assert blocked.block("a") == LOST
    assert blocked.block("new") is None


def test_a_block_reverts_nothing_and_keeps_nothing_from_being_taken_out() -> None:
    carrying = injected()
    held = snapshot(policies=(policy(),), workloads=(carrying,), blocked={KEY: LOST})
    assert plan(held).changes == ()
    changed = replace(held, policies=(policy(sidecars=[{"name": "new", "image": "x"}]),))
    assert plan(changed).changes == ()
    narrowed = replace(held, policies=(policy(selector={"matchLabels": {"no": "body"}}),))
    assert len(plan(narrowed).changes) == 1
    opted_out = replace(held, namespace_opted_out=True)
    assert len(plan(opted_out).changes) == 1


def test_a_job_that_was_created_under_a_block_was_not_missed() -> None:
    raw = deployment(metadata={"creationTimestamp": "2026-01-02T00:00:00Z"})
    job = workload_facts(raw, kind="Job")
    older = replace(policy(), created="2026-01-01T00:00:00Z")
    decided = plan(snapshot(policies=(older,), workloads=(job,), blocked={KEY: LOST}))
    assert states(decided) == {"web": (State.SKIPPED, Reason.STRIPPED_BY_WEBHOOK)}


def test_the_bound_of_the_status_is_that_of_the_crd() -> None:
    crd = Path(__file__).resolve().parents[3] / "crds" / "sidecarpolicies.sidecarpolicy.dev.yaml"
    text = crd.read_text()
    start = text.index("blockedNamespaces:")
    assert f"maxItems: {MAX_BLOCKED}\n" in text[start : text.index("conditions:", start)]
