"""Pods in mode Universal: which copy of a sidecar serves, and what is wrong with it."""

import json
from typing import Any

import pytest

from sidecarpolicy.api.names import INJECTED_ANNOTATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.advice import Diagnosis
from sidecarpolicy.core.diagnosis import Case, diagnose, settled
from sidecarpolicy.core.podfacts import pod_facts
from sidecarpolicy.core.trouble import pod_record
from tests.support.patients import (
    JSON,
    NOW,
    RULE,
    SERVES,
    container,
    init,
    node,
    over,
    pod,
    running,
    sidecar,
    unschedulable,
    waiting,
)

POLICY = "SidecarPolicy/log-shipper"
PARTS = (
    "container/shipper-prepare",
    "container/shipper",
    "regularContainer/shipper-ordinary",
    "volume/shipper-universal",
)
RECORD = {"policies": {POLICY: {"revision": "1", "parts": dict.fromkeys(PARTS, "d")}}, "made": []}
META = {"annotations": {INJECTED_ANNOTATION: json.dumps(RECORD)}}
PREPARED = over(0, since=590)
GAVE_WAY = over(0, since=580, lasted=0)
STARTED = running(570, started=True)
LOOPS = {"restartCount": 5, "lastState": over(1, since=8, lasted=1)["state"]}


def made(
    native: JSON,
    ordinary: JSON | None = None,
    *others: JSON,
    prepare: JSON | None = None,
    dropped: bool = False,
    **fields: Any,
) -> JSON:
    """The Pod of a policy; `dropped`: the API server dropped the field."""
    first = init(native, name="shipper") if dropped else sidecar(native)
    apps = (
        container("web", STARTED if ordinary else waiting()),
        container("shipper-ordinary", ordinary or waiting()),
    )
    fields = {"phase": "Running" if ordinary else "Pending", **fields}
    begin = init(prepare or PREPARED, name="shipper-prepare")
    return pod(begin, first, *others, apps=apps, meta=META, **fields)


def found(raw: JSON, version: str = "v1.36.3", *, server: str = "") -> Diagnosis | None:
    return diagnose(Case(pod_facts(raw), NOW, node(version), server=server))


def runs(raw: JSON) -> bool:
    facts = pod_facts(raw)
    return pod_record(facts, diagnose(Case(facts, NOW))).running == (POLICY,)


RESTARTED = running(575, started=True, restartCount=1, lastState=GAVE_WAY["state"])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(made(RESTARTED, STARTED), True, id="the native copy"),
        pytest.param(made(GAVE_WAY, STARTED), True, id="the ordinary one, which began after it"),
        pytest.param(made(GAVE_WAY, STARTED, dropped=True), True, id="so without the field"),
        pytest.param(made(GAVE_WAY), False, id="neither, between two starts"),
        pytest.param(made(running(1)), False, id="neither, before the probe passes"),
        pytest.param(made(over(0, since=1), STARTED), False, id="neither, as the native one ended"),
        pytest.param(made(over(1, since=580), STARTED), False, id="neither: it ended badly"),
        pytest.param(
            made(GAVE_WAY, waiting("CrashLoopBackOff", **LOOPS)), False, id="neither, as it crashes"
        ),
    ],
)
def test_a_pod_runs_with_its_sidecar_if_a_copy_was_seen_to_serve(raw: JSON, expected: bool) -> None:
    assert runs(raw) is expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(made(RESTARTED, STARTED), True, id="the native copy serves"),
        pytest.param(made(GAVE_WAY, STARTED), True, id="the ordinary one does"),
        pytest.param(made(GAVE_WAY), False, id="none does"),
    ],
)
def test_a_pod_is_settled_when_a_copy_serves(raw: JSON, expected: bool) -> None:
    assert settled(pod_facts(raw), NOW) is expected


def test_an_init_container_after_a_copy_that_gave_way_is_what_the_pod_waits_for() -> None:
    facts = pod_facts(made(GAVE_WAY, None, init(running(600))))
    assert facts.blocker is not None
    assert facts.blocker.name == "migrate"
    waits = pod_facts(made(GAVE_WAY, None, init(waiting())))
    assert waits.blocker is not None
    assert waits.blocker.name == "shipper"


OLD = "v1.26.15"
CRASHED_ONCE = {"restartCount": 2, "lastState": over(1, since=20, lasted=5)["state"]}


@pytest.mark.parametrize(
    ("raw", "version"),
    [
        pytest.param(made(GAVE_WAY, STARTED), OLD, id="a node that ignores the field"),
        pytest.param(made(GAVE_WAY), OLD, id="one where the application is not there yet"),
        pytest.param(made(RESTARTED, STARTED), "v1.36.3", id="the start that is meant"),
        pytest.param(
            made(running(19, started=True, **CRASHED_ONCE), STARTED), "v1.36.3",
            id="that, and a single crash",
        ),
        pytest.param(
            made(running(1, started=True, restartCount=3, lastState=GAVE_WAY["state"]), STARTED),
            "v1.36.3", id="a new sandbox, in which all begins again",
        ),
        pytest.param(made(GAVE_WAY, STARTED, dropped=True), "v1.36.3", id="a dropped field"),
    ],
)  # fmt: skip
def test_nothing_is_wrong_with(raw: JSON, version: str) -> None:
    assert found(raw, version) is None


def test_a_copy_that_gave_way_is_no_frozen_status() -> None:
    job = made(GAVE_WAY, STARTED, restartPolicy="OnFailure")
    assert found(job, OLD, server="v1.28.0") is None


REFUSED = {"reason": "InitContainerRestartPolicyForbidden"}


@pytest.mark.parametrize(
    ("raw", "version", "reason", "words"),
    [
        pytest.param(
            made(GAVE_WAY, waiting("CrashLoopBackOff", **LOOPS)), OLD,
            Reason.CRASH_LOOPING, "sidecar shipper-ordinary ends again and again",
            id="the ordinary copy crashes",
        ),
        pytest.param(
            made(waiting("CrashLoopBackOff", **LOOPS), STARTED), "v1.36.3",
            Reason.CRASH_LOOPING, "sidecar shipper ends again and again",
            id="the native copy crashes",
        ),
        pytest.param(
            made(waiting(), prepare=waiting("ErrImagePull")), OLD,
            Reason.IMAGE_PULL_FAILING, "Set spec.universal.image of the policy",
            id="busybox is not to be had",
        ),
        pytest.param(
            made(waiting(), prepare=waiting("RunContainerError")), OLD,
            Reason.INIT_CONTAINER_BLOCKED, "spec.universal.image of the policy must have",
            id="an image without it",
        ),
        pytest.param(
            made(waiting("ErrImagePull"), dropped=True), "v1.36.3",
            Reason.IMAGE_PULL_FAILING, "image shipper:1 of sidecar shipper cannot",
            id="the sidecar's image, without the field",
        ),
        pytest.param(
            made(waiting(), phase="Failed", status=REFUSED), "v1.28.15",
            Reason.NODE_REJECTS_SIDECARS, "refused the Pod", id="a node that refuses it",
        ),
        pytest.param(
            made(waiting(), status=unschedulable(60), affinity=RULE, nodeName=""), "v1.36.3",
            Reason.NO_MATCHING_NODE, "keeps it off nodes that refuse native sidecars",
            id="no other node",
        ),
        pytest.param(
            made(RESTARTED, STARTED), OLD,
            Reason.NODE_IGNORES_SIDECARS, "its ordinary copy sleeps", id="an older kubelet",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(raw: JSON, version: str, reason: Reason, words: str) -> None:
    diagnosis = found(raw, version)
    assert diagnosis is not None
    assert diagnosis.reason is reason
    assert words in diagnosis.finding.message
    assert pod_record(pod_facts(raw), diagnosis).blamed == (POLICY,)


def test_the_start_of_a_pod_is_no_service() -> None:
    assert not runs(made(SERVES | {"started": False}))
