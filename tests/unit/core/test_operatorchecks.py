"""Checks of the operator: installed, running, allowed, asked."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecarpolicy.core.checkup import Check, State, Unread
from sidecarpolicy.core.operatorchecks import (
    CRDS,
    Operator,
    Part,
    crds,
    operator,
    reached,
    registered,
    rights,
    running,
)
from sidecarpolicy.core.rights import CONTROLLER, WEBHOOK, Right, review

JSON = dict[str, Any]
BASE = Path(__file__).resolve().parents[3] / "deploy" / "base"
SERVED = dict.fromkeys(CRDS, True)
REFUSED = Unread("HTTP 403")


def deployment(*, replicas: int = 1, available: int = 1) -> JSON:
    condition = {"type": "Available", "status": str(available >= replicas)}
    return {
        "metadata": {"name": "sidecarpolicy-controller"},
        "spec": {"replicas": replicas},
        "status": {"availableReplicas": available, "conditions": [condition]},
    }


def registration(*, bundle: str = "Q0E=", resource: str = "pods", **fields: Any) -> JSON:
    rule = {
        "operations": ["CREATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": [resource],
    }
    webhook = {"name": "pods", "clientConfig": {"caBundle": bundle}, "rules": [rule], **fields}
    return {"metadata": {"name": "sidecarpolicy"}, "webhooks": [webhook]}


ABSENT = Operator({}, None)
HEALTHY = Operator(
    SERVED, registration(), Part(deployment(), ()), Part(deployment(), ()), endpoints=2
)


def states(found: Operator) -> Mapping[Check, State]:
    return {each.check: each.state for each in operator(found)}


def test_an_operator_that_is_not_installed_is_no_problem() -> None:
    assert states(ABSENT) == {Check.OPERATOR: State.FINE}
    nobody = Operator({}, REFUSED, Part(REFUSED), Part(REFUSED))
    assert states(nobody) == {Check.OPERATOR: State.FINE}


def test_whether_it_is_installed_may_be_unknown() -> None:
    assert states(replace(ABSENT, crds=REFUSED)) == {Check.OPERATOR: State.UNKNOWN}


def test_one_that_is_well_is_told_part_by_part() -> None:
    assert states(HEALTHY) == {
        Check.CRDS: State.FINE,
        Check.CONTROLLER: State.FINE,
        Check.CONTROLLER_RIGHTS: State.FINE,
        Check.WEBHOOK: State.FINE,
        Check.WEBHOOK_RIGHTS: State.FINE,
        Check.WEBHOOK_REGISTRATION: State.FINE,
        Check.WEBHOOK_ENDPOINTS: State.FINE,
    }


def test_one_of_which_something_is_left_is_told_what_is_missing() -> None:
    assert states(replace(ABSENT, crds=SERVED)) == {
        Check.CRDS: State.FINE,
        Check.CONTROLLER: State.PROBLEM,
        Check.WEBHOOK: State.PROBLEM,
        Check.WEBHOOK_REGISTRATION: State.PROBLEM,
    }


def test_what_nobody_may_read_is_unknown() -> None:
    part = Part(REFUSED)
    assert set(states(Operator(SERVED, REFUSED, part, part)).items()) == {
        (Check.CRDS, State.FINE),
        (Check.CONTROLLER, State.UNKNOWN),
        (Check.WEBHOOK, State.UNKNOWN),
        (Check.WEBHOOK_REGISTRATION, State.UNKNOWN),
    }


@pytest.mark.parametrize(
    ("found", "state", "message"),
    [
        pytest.param(SERVED, State.FINE, "installed and Established", id="both there"),
        pytest.param({CRDS[0]: True}, State.PROBLEM, f"not installed: {CRDS[1]}", id="one of two"),
        pytest.param(
            {**SERVED, CRDS[0]: False}, State.PROBLEM, f"not Established: {CRDS[0]}",
            id="one that is not served",
        ),
        pytest.param(
            REFUSED, State.UNKNOWN, "could not read CustomResourceDefinitions: HTTP 403",
            id="unread",
        ),
    ],
)  # fmt: skip
def test_crds(found: Mapping[str, bool] | Unread, state: State, message: str) -> None:
    checked = crds(found)
    assert (checked.state, checked.message) == (state, message)


@pytest.mark.parametrize(
    ("found", "state", "message"),
    [
        pytest.param(deployment(), State.FINE, "1 of 1 Pods are available", id="available"),
        pytest.param(
            deployment(available=0), State.PROBLEM, "0 of 1 Pods are available", id="unavailable"
        ),
        pytest.param(
            deployment(replicas=0, available=0),
            State.PROBLEM,
            "it is scaled to 0",
            id="scaled down",
        ),
        pytest.param(
            None, State.PROBLEM, "there is no Deployment of it in namespace ours", id="not there"
        ),
        pytest.param(
            REFUSED, State.UNKNOWN, "could not read its Deployment: HTTP 403", id="unread"
        ),
    ],
)
def test_a_process(found: JSON | Unread | None, state: State, message: str) -> None:
    checked = running(Check.CONTROLLER, found, "ours")
    assert (checked.state, checked.message) == (state, message)


@pytest.mark.parametrize(
    ("found", "state", "said"),
    [
        pytest.param(
            registration(failurePolicy="Ignore"), State.FINE, "failurePolicy Ignore", id="complete"
        ),
        pytest.param(registration(), State.FINE, "failurePolicy Fail", id="with the default"),
        pytest.param(
            registration(bundle=""), State.PROBLEM, "no caBundle in pods", id="without a caBundle"
        ),
        pytest.param(
            registration(resource="jobs"), State.PROBLEM, "no webhook of it is asked about Pods",
            id="without Pods",
        ),
        pytest.param(
            None, State.PROBLEM, "there is no MutatingWebhookConfiguration sidecarpolicy",
            id="missing",
        ),
        pytest.param(REFUSED, State.UNKNOWN, "HTTP 403", id="unread"),
    ],
)  # fmt: skip
def test_a_registration(found: JSON | Unread | None, state: State, said: str) -> None:
    checked = registered(found)
    assert (checked.state, said in checked.message) == (state, True)


def test_a_service_without_a_ready_endpoint_is_a_problem() -> None:
    said = {each: reached(each) for each in (None, 0, 1, 2)}
    assert said[None] is None
    assert [found.message for found in said.values() if found is not None] == [
        "its Service has no ready endpoint, so no admission review is answered",
        "its Service has 1 ready endpoint",
        "its Service has 2 ready endpoints",
    ]


def test_rights_that_are_lacking_are_named_and_not_being_able_to_ask_is_no_problem() -> None:
    lacking = [Right("patch", "apps", "deployments"), Right("get", path="/metrics")]
    found = rights(Check.CONTROLLER_RIGHTS, lacking)
    assert found is not None
    assert (found.state, found.details) == (
        State.PROBLEM, ("patch deployments.apps", "get /metrics"),
    )  # fmt: skip
    unasked = rights(Check.CONTROLLER_RIGHTS, REFUSED)
    assert unasked is not None
    assert unasked.state is State.UNKNOWN
    assert "create on subjectaccessreviews" in unasked.message


def granted(file: str, role: str) -> set[Right]:
    """What a file of ours grants by a ClusterRole."""
    documents = yaml.safe_load_all((BASE / file).read_text())
    (found,) = (
        each
        for each in documents
        if (each["kind"], each["metadata"]["name"]) == ("ClusterRole", role)
    )
    objects = {
        Right(verb, group, resource, name=name)
        for rule in found["rules"]
        for group in rule.get("apiGroups", ())
        for resource in rule.get("resources", ())
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", ("",))
    }
    paths = {
        Right(verb, path=path)
        for rule in found["rules"]
        for path in rule.get("nonResourceURLs", ())
        for verb in rule["verbs"]
    }
    return objects | paths


@pytest.mark.parametrize(
    ("file", "role", "needed"),
    [
        ("rbac.yaml", "sidecarpolicy-controller", CONTROLLER),
        ("webhook-rbac.yaml", "sidecarpolicy-webhook", WEBHOOK),
    ],
)
def test_the_rights_that_are_asked_about_are_those_that_we_grant(
    file: str, role: str, needed: tuple[Right, ...]
) -> None:
    assert sorted(needed) == sorted(granted(file, role))


def test_a_review_asks_about_the_account_with_its_groups() -> None:
    spec = review(Right("patch", "batch", "cronjobs/status"), "ours:bot")["spec"]
    assert spec["user"] == "system:serviceaccount:ours:bot"
    assert "system:serviceaccounts:ours" in spec["groups"]
    assert spec["resourceAttributes"] == {
        "verb": "patch", "group": "batch", "resource": "cronjobs", "subresource": "status",
    }  # fmt: skip
    spec = review(Right("get", "", "secrets", name="own"), "ours:bot")["spec"]
    assert spec["resourceAttributes"]["name"] == "own"
    spec = review(Right("get", path="/metrics"), "ours:bot")["spec"]
    assert spec["nonResourceAttributes"] == {"path": "/metrics", "verb": "get"}
