"""Pods whose template promised something: what the webhook gives them, and what they lack."""

from typing import Any

import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core import capability
from sidecarpolicy.core.admission import admit
from sidecarpolicy.core.capability import NodeTally
from sidecarpolicy.core.facts import node_facts, policy_facts
from sidecarpolicy.core.inject import Action, Verdict
from sidecarpolicy.core.marker import with_markers
from sidecarpolicy.core.ownership import NodeRuleSite
from sidecarpolicy.core.podtime import carry_out, fulfilled
from sidecarpolicy.core.promises import broken_promises
from sidecarpolicy.core.record import Record, read_record
from sidecarpolicy.webhook.memory import Memory
from tests.support.builders import (
    deployment,
    policy,
    policy_object,
    sidecar,
    snapshot,
    template,
    wish,
)
from tests.support.reviews import admitted, memory, request

JSON = dict[str, Any]
KEY = "SidecarPolicy/log-shipper"
LABEL = "sidecarpolicy.dev/native-sidecars"
OLDER = wish(sidecars=[sidecar("older")])


def pod_of(made: Any, **spec: Any) -> JSON:
    """The Pod that a ReplicaSet creates from a template."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1f", "controller": True}
    labels = {**made["metadata"].get("labels", {}), "pod-template-hash": "1f"}
    meta = {**made["metadata"], "name": "web-1f-x", "labels": labels, "ownerReferences": [owner]}
    return {"metadata": meta, "spec": {**made["spec"], **spec}}


def promising(**spec: Any) -> JSON:
    """A Pod whose template promised what the policy wanted once."""
    return pod_of(with_markers(template(), {KEY: OLDER}), **spec)


def sidecars(pod: JSON) -> list[str]:
    return [each["name"] for each in pod["spec"].get("initContainers", [])]


def at_pods(**fields: Any) -> JSON:
    return policy_object(injectAt="Pod", **fields)


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(memory(at_pods()), id="has a newer revision"),
        pytest.param(memory(at_pods(paused=True)), id="is paused"),
        pytest.param(memory(at_pods(selector={"matchLabels": {"app": "db"}})), id="is narrowed"),
        pytest.param(memory(policy_object()), id="is for templates now"),
        pytest.param(memory(at_pods(sidecars=7)), id="cannot be read"),
        pytest.param(memory(), id="is gone"),
    ],
)
def test_a_pod_gets_what_its_template_promised_though_the_policy(view: Memory) -> None:
    made = admitted(promising(), view, kind="Pod")
    assert sidecars(made) == ["older"]
    record = read_record(made)
    assert isinstance(record, Record)
    assert record.policies[KEY].revision == OLDER.revision
    assert admitted(made, view, kind="Pod") == made


def test_a_pod_without_a_promise_gets_nothing_though_a_policy_selects_its_template() -> None:
    pod = pod_of(template())
    assert admitted(pod, memory(at_pods()), kind="Pod") == pod


def incapable() -> Memory:
    view = memory(at_pods())
    info = {"nodeInfo": {"kubeletVersion": "v1.26.15"}}
    view.nodes.replace([node_facts({"metadata": {"name": "old", "uid": "o"}, "status": info})])
    return view


NO = {"annotations": {"sidecarpolicy.dev/inject": "false"}}


def blocked(reason: str, **fields: Any) -> JSON:
    """A policy that its status says may do nothing in the namespace."""
    made = at_pods(**fields)
    desired = policy_facts(made).desired
    assert desired is not None
    entry = {"namespace": "shop", "reason": reason, "message": "the API server's words"}
    status = {"revision": desired.revision, "observedGeneration": 1, "blockedNamespaces": [entry]}
    return {**made, "status": status}


def test_what_is_wrong_with_a_newer_revision_keeps_no_pod_from_the_older() -> None:
    view = memory(blocked("Refused"))
    assert sidecars(admitted(promising(), view, kind="Pod")) == ["older"]


def test_a_pod_has_its_own_node_rule_whatever_the_policy_asks_for_by_now() -> None:
    unruled = wish(sidecars=[sidecar("older")], nodeRule="None")
    pod = pod_of(with_markers(template(), {KEY: unruled}))
    assert sidecars(admitted(pod, incapable(), kind="Pod")) == ["older"]


def opted_out() -> JSON:
    pod = promising()
    pod["metadata"]["annotations"] |= NO["annotations"]
    return pod


@pytest.mark.parametrize(
    ("pod", "view"),
    [
        pytest.param(opted_out(), memory(at_pods()), id="that opts out"),
        pytest.param(promising(), memory(at_pods(), **NO), id="of a namespace that opts out"),
        pytest.param(promising(), incapable(), id="that no node could run"),
        pytest.param(
            promising(), memory(blocked("StrippedByWebhook")), id="that would be stripped"
        ),
        pytest.param(
            promising(),
            memory(blocked("Refused", sidecars=[sidecar("older")])),
            id="that would be refused with it",
        ),
        pytest.param(promising(nodeName="old"), memory(), id="bound to a node that cannot"),
    ],
)
def test_nothing_is_added_to_a_pod(pod: JSON, view: Memory) -> None:
    assert admitted(pod, view, kind="Pod") == pod


def test_nothing_is_added_in_an_excluded_namespace() -> None:
    asked = request(promising(), kind="Pod", namespace="kube-system")
    assert admit(asked, memory()).patch == []


def test_a_pod_that_is_bound_gets_no_node_rule() -> None:
    made = admitted(promising(nodeName="new"), memory(), kind="Pod")
    assert sidecars(made) == ["older"]
    assert "affinity" not in made["spec"]


@pytest.mark.parametrize("kind", ["StatefulSet", "Job"])
def test_the_pods_of_every_owner_keep_to_their_template(kind: str) -> None:
    pod = promising()
    group = "batch/v1" if kind == "Job" else "apps/v1"
    pod["metadata"]["ownerReferences"][0] |= {"kind": kind, "apiVersion": group}
    assert sidecars(admitted(pod, memory(at_pods()), kind="Pod")) == ["older"]


def test_a_job_keeps_the_promise_that_its_cron_job_made() -> None:
    made = deployment(pods=dict(with_markers(template(), {KEY: OLDER})))
    assert admitted(made, memory(at_pods()), kind="Job") == made
    fresh = admitted(deployment(), memory(at_pods()), kind="Job")
    assert fresh["spec"]["template"]["spec"] == template()["spec"]
    pod = admitted(pod_of(fresh["spec"]["template"]), memory(at_pods()), kind="Pod")
    assert sidecars(pod) == ["shipper"]


def test_a_conflict_that_only_the_pod_has_is_told() -> None:
    pod = promising(initContainers=[{"name": "older", "image": "theirs"}])
    answer = admit(request(pod, kind="Pod"), memory())
    assert answer.patch == []
    (said,) = answer.warnings
    assert "NameConflict" in said


def ruleless(**spec: Any) -> JSON:
    """A Pod of a template that has its sidecar, and leaves the node rule to its Pods."""
    verdicts = [Verdict(KEY, Action.APPLY, wish())]
    own = template(**spec)
    return pod_of(carry_out(own, verdicts, at_pods=(), site=NodeRuleSite.POD).template)


EXPRESSION = {"key": LABEL, "operator": "In", "values": ["true"]}
ZONE = {"key": "zone", "operator": "In", "values": ["eu"]}
FIELD = {"key": "metadata.name", "operator": "NotIn", "values": ["n1"]}


def required(*terms: JSON) -> JSON:
    chosen = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [*terms]}}
    return {"affinity": {"nodeAffinity": chosen}}


RULED = required({"matchExpressions": [EXPRESSION]})


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        pytest.param({}, RULED, id="none"),
        pytest.param(
            {"affinity": {"podAntiAffinity": {}}},
            {"affinity": {"podAntiAffinity": {}} | RULED["affinity"]},
            id="of Pods only",
        ),
        pytest.param(
            required({"matchExpressions": [ZONE]}, {"matchFields": [FIELD]}),
            required(
                {"matchExpressions": [ZONE, EXPRESSION]},
                {"matchFields": [FIELD], "matchExpressions": [EXPRESSION]},
            ),
            id="of several terms",
        ),
        pytest.param(RULED, RULED, id="that has the rule"),
        pytest.param(required({}), required({}), id="of an empty term"),
    ],
)  # fmt: skip
def test_a_rule_is_anded_into_an_affinity(own: JSON, expected: JSON) -> None:
    made = admitted(ruleless(**own), memory(), kind="Pod")
    assert made["spec"]["affinity"] == expected["affinity"]
    assert admitted(made, memory(), kind="Pod") == made


def test_a_bound_pod_is_not_given_the_rule_either() -> None:
    pod = ruleless()
    pod["spec"]["nodeName"] = "new"
    assert admitted(pod, memory(), kind="Pod") == pod


def lacking(
    pod: JSON, *, verdict: capability.Verdict = capability.Verdict.CAPABLE, **fields: Any
) -> dict[str, Reason]:
    seen = snapshot(policies=(policy(injectAt="Pod"),), **fields)
    found = broken_promises(pod, seen, verdict=verdict)
    return {key: each.reason for key, each in found.items()}


@pytest.mark.parametrize("verdict", [capability.Verdict.CAPABLE, capability.Verdict.IGNORES])
def test_a_pod_that_has_not_what_was_promised_missed_it(verdict: capability.Verdict) -> None:
    pod = promising(nodeName="n")
    assert lacking(pod, verdict=verdict) == {KEY: Reason.MISSED_ADMISSION}


def test_a_pod_that_could_not_have_what_was_promised_says_why() -> None:
    pod = promising(initContainers=[{"name": "older", "image": "theirs"}])
    assert lacking(pod) == {KEY: Reason.NAME_CONFLICT}


def test_a_pod_without_its_node_rule_is_a_problem_only_where_it_cannot_run() -> None:
    pod = ruleless()
    assert lacking(pod, verdict=capability.Verdict.IGNORES) == {}  # it waits for a node
    pod["spec"]["nodeName"] = "n"
    assert lacking(pod, verdict=capability.Verdict.CAPABLE) == {}
    seen = snapshot(policies=(policy(),))
    (found,) = broken_promises(pod, seen, verdict=capability.Verdict.IGNORES).values()
    assert found.reason is Reason.MISSED_ADMISSION
    assert "without its node rule" in found.message
    assert "node n" in found.message


@pytest.mark.parametrize(
    ("pod", "fields"),
    [
        pytest.param(fulfilled(promising()).template, {}, id="that has it"),
        pytest.param(pod_of(template()), {}, id="that was promised nothing"),
        pytest.param(promising(), {"excluded": True}, id="in an excluded namespace"),
        pytest.param(promising(), {"namespace_opted_out": True}, id="of a namespace that opts out"),
        pytest.param(promising(), {"nodes": NodeTally(0, 2)}, id="that no node could run"),
        pytest.param(opted_out(), {}, id="that opts out"),
    ],
)
def test_nothing_is_missing_from_a_pod(pod: Any, fields: JSON) -> None:
    assert lacking(pod, **fields) == {}
