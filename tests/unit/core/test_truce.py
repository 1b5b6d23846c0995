"""Truces: what a hold keeps out, for how long, and what it says."""

import copy
import json
from dataclasses import replace
from typing import Any

import jsonpatch
import pytest

from sidecarpolicy.api.names import HELD_ANNOTATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.facts import WorkloadFacts, workload_facts
from sidecarpolicy.core.held import Because, Hold, encode_holds
from sidecarpolicy.core.plan import Plan, plan
from sidecarpolicy.core.standing import State, TemplateChange
from tests.support.builders import (
    JSON,
    deployment,
    pods_of,
    policy,
    sidecar,
    snapshot,
    template,
    workload,
)
from tests.support.plans import KEY, WEB, states

POLICY = policy()
NEWER = policy(sidecars=[sidecar(tty=True)])
assert POLICY.desired is not None
FOUGHT = Hold(KEY, POLICY.desired.revision, Because.FIGHT, "kustomize-controller")
OTHER = Hold("SidecarPolicy/other", "00ff00ff", Because.FIGHT, "x")


def held(*holds: Hold, pods: JSON | None = None) -> WorkloadFacts:
    annotations = {HELD_ANNOTATION: encode_holds(holds or (FOUGHT,))}
    return workload(pods=pods, metadata={"annotations": annotations})


def written(change: TemplateChange, **changes: Any) -> JSON:
    """The Deployment after the patch; a test for null is one for what is missing, which is not so
    in every library.
    """
    patch = [each for each in change.patch if each["op"] != "test"]
    result: JSON = jsonpatch.apply_patch(deployment(**changes), patch)
    return result


def decided(facts: WorkloadFacts, *policies: Any, **fields: Any) -> Plan:
    return plan(snapshot(policies=policies or (POLICY,), workloads=(facts,), **fields))


def test_a_fight_that_is_given_in_to_is_kept_on_the_workload_and_nothing_else_is_written() -> None:
    result = decided(workload(), fought={WEB: (FOUGHT,)})
    (change,) = result.changes
    assert [each["path"] for each in change.patch if each["op"] != "test"] == [
        "/metadata/annotations",
        f"/metadata/annotations/{HELD_ANNOTATION.replace('/', '~1')}",
    ]
    stored = written(change)
    assert json.loads(stored["metadata"]["annotations"][HELD_ANNOTATION]) == [
        {
            "policy": KEY,
            "revision": FOUGHT.revision,
            "reason": "Fight",
            "manager": "kustomize-controller",
        }
    ]
    assert stored["spec"] == deployment()["spec"]
    assert states(result) == {"web": (State.CONFLICTED, Reason.FIGHT)}


def test_what_is_left_of_the_parts_goes_with_the_patch_that_gives_in() -> None:
    """Here somebody took out the node rule alone."""
    (change,) = decided(workload()).changes
    pods = copy.deepcopy(dict(change.template))
    del pods["spec"]["affinity"]
    damaged = workload(pods=pods)
    assert decided(damaged).changes[0].template == change.template
    (given_in,) = decided(damaged, fought={WEB: (FOUGHT,)}).changes
    stored = workload_facts(written(given_in, pods=pods), kind="Deployment")
    assert pods_of(stored) == template()
    assert stored.holds == (FOUGHT,)
    assert given_in.taken_out == {KEY}


def test_what_is_held_stays_out_for_good() -> None:
    result = decided(held())
    assert result.changes == ()
    assert states(result) == {"web": (State.CONFLICTED, Reason.FIGHT)}


def test_what_is_held_but_is_there_again_counts_as_what_it_is() -> None:
    (change,) = decided(workload()).changes
    result = decided(held(pods=dict(change.template)))
    assert result.changes == ()
    assert states(result) == {"web": (State.CURRENT, None)}


def test_a_new_revision_comes_in_and_takes_its_hold_away_in_the_same_patch() -> None:
    (change,) = decided(held(FOUGHT, OTHER), NEWER).changes
    raw = deployment(metadata={"annotations": {HELD_ANNOTATION: encode_holds((FOUGHT, OTHER))}})
    patch = [each for each in change.patch if each["op"] != "test"]
    stored = workload_facts(jsonpatch.apply_patch(raw, patch), kind="Deployment")
    assert stored.holds == (OTHER,)
    assert [each["name"] for each in pods_of(stored)["spec"]["initContainers"]] == ["shipper"]


@pytest.mark.parametrize(
    ("facts", "policies", "gone"),
    [
        pytest.param(
            held(
                pods={
                    **template(),
                    "metadata": {"annotations": {"sidecarpolicy.dev/inject": "false"}},
                }
            ),
            (POLICY,),
            frozenset(),
            id="its owner opted out",
        ),
        pytest.param(
            held(),
            (policy(selector={"matchLabels": {"app": "other"}}),),
            frozenset(),
            id="the policy does not select it any more",
        ),
        pytest.param(held(), (), frozenset({KEY}), id="the policy is proved gone"),
    ],
)
def test_a_hold_goes_when(facts: WorkloadFacts, policies: Any, gone: frozenset[str]) -> None:
    (change,) = plan(snapshot(policies=policies, workloads=(facts,), gone=gone)).changes
    assert change.difference == []
    assert [each["op"] for each in change.holding] == ["test", "remove"]


def test_a_fight_is_not_forgotten_because_the_workload_fails_by_itself() -> None:
    stopped = {
        "type": "Progressing",
        "status": "False",
        "reason": "ProgressDeadlineExceeded",
        "lastUpdateTime": "2026-01-01T00:00:00Z",
    }
    facts = workload(
        metadata={"annotations": {HELD_ANNOTATION: encode_holds((FOUGHT,))}},
        status={"availableReplicas": 0, "updatedReplicas": 1, "conditions": [stopped]},
    )
    result = decided(facts, now=2e9)
    assert result.changes == ()
    assert states(result) == {"web": (State.CONFLICTED, Reason.FIGHT)}


def test_a_policy_that_is_only_missing_keeps_its_hold_and_is_looked_for() -> None:
    result = plan(snapshot(policies=(), workloads=(held(),)))
    assert result.changes == ()
    assert list(result.recorded) == [KEY]


@pytest.mark.parametrize(
    ("manager", "said"),
    [
        ("argocd-controller", "managedFieldsManagers: [sidecarpolicy-operator]}]"),
        ("kustomize-controller", "target: {kind: Deployment, name: web}}]"),
        ("helm-controller", "in driftDetection of its Flux HelmRelease"),
        ("kubectl-replace", "kubectl apply"),
        ("deployer", "server-side apply"),
        ("", "were taken out of it again and again, so they stay out"),
    ],
)
def test_the_status_names_the_writer_and_what_ends_the_fight(manager: str, said: str) -> None:
    (standing,) = decided(held(replace(FOUGHT, manager=manager))).standings[KEY]
    assert standing.finding is not None
    assert manager in standing.finding.message
    assert said in standing.finding.message
    assert "injectAt: Pod" in standing.finding.message
    assert "annotate deployment/web sidecarpolicy.dev/held-" in standing.finding.message
