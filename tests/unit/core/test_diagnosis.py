"""What is found wrong with Pods, and with which Pods nothing is."""

from dataclasses import replace
from typing import Any

import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.capability import Verdict
from sidecarpolicy.core.diagnosis import Case, diagnose, settled
from sidecarpolicy.core.podfacts import pod_facts
from tests.support.patients import (
    JSON,
    NOW,
    PROBE,
    RULE,
    SERVES,
    UNSCHEDULABLE,
    ago,
    container,
    ended,
    init,
    node,
    over,
    pod,
    recorded,
    running,
    sidecar,
    unprepared,
    unschedulable,
    waiting,
)

IGNORES, REJECTS, CAPABLE = "v1.26.15", "v1.28.15", "v1.36.3"


def found(raw: JSON, kubelet: str | None = CAPABLE, **case: Any) -> tuple[str, str] | None:
    """Reason and container at fault."""
    known = node(kubelet) if kubelet is not None else None
    diagnosis = diagnose(Case(pod_facts(raw), NOW, known, **case))
    return (diagnosis.reason.value, diagnosis.container) if diagnosis is not None else None


def back_off(*, restarts: int = 3, **end: Any) -> JSON:
    status = waiting("CrashLoopBackOff", restartCount=restarts)
    return {**status, "lastState": ended(1, **end)}


PROBED = {"lastState": ended(137, lasted=12), "restartCount": 1}
APP_RUNS = (container("web", running()),)
REFUSED = {"reason": "InitContainerRestartPolicyForbidden", "message": "may not have …"}
DELETED = {"deletionTimestamp": ago(1), "deletionGracePeriodSeconds": 30}
RUNS_THERE = pod(sidecar(SERVES), apps=APP_RUNS, phase="Running")
APP_ENDED = (container("web", over(0, since=40)),)
KILLED = over(137, since=9, lasted=600)


@pytest.mark.parametrize(
    ("raw", "kubelet", "expected"),
    [
        pytest.param(
            pod(sidecar(), phase="Failed", status=REFUSED), REJECTS, ("NodeRejectsSidecars", ""),
            id="was refused by the kubelet",
        ),
        pytest.param(
            pod(sidecar(), phase="Failed", status=REFUSED), None, ("NodeRejectsSidecars", ""),
            id="was refused by a kubelet of a node that is gone",
        ),
        pytest.param(
            pod(sidecar(running(11))), IGNORES, ("NodeIgnoresSidecars", "shipper"),
            id="waits for a sidecar to end",
        ),
        pytest.param(
            pod(sidecar(waiting()), status=unprepared(61)), CAPABLE, ("PodNotStarted", ""),
            id="has no volumes or no network after a minute",
        ),
        pytest.param(
            pod(sidecar(waiting()), status=unprepared(59)), CAPABLE, None,
            id="waits for its volumes not long enough to say",
        ),
        pytest.param(
            pod(sidecar(SERVES), phase="Running", status=unprepared(61)), CAPABLE, None,
            id="gets a new sandbox while it runs",
        ),
        pytest.param(
            pod(sidecar(running(11))), "v1.x", ("NodeIgnoresSidecars", "shipper"),
            id="waits for a sidecar on a node of unreadable version",
        ),
        pytest.param(
            pod(init(running(11), name="shipper"), meta=recorded()), CAPABLE,
            ("RestartPolicyStripped", "shipper"),
            id="has a recorded sidecar that is none",
        ),
        pytest.param(
            pod(sidecar(over(0)), init(running(11), name="courier"), meta=recorded("courier")),
            CAPABLE, ("RestartPolicyStripped", "courier"),
            id="lost the restart policy of its second sidecar",
        ),
        pytest.param(
            pod(sidecar(waiting("ErrImagePull"))), CAPABLE, ("ImagePullFailing", "shipper"),
            id="cannot pull a sidecar's image",
        ),
        pytest.param(
            pod(sidecar(waiting("ErrImageNeverPull"))), IGNORES, ("ImagePullFailing", "shipper"),
            id="may not pull a sidecar's image, on a node that could not run it either",
        ),
        pytest.param(
            pod(sidecar(waiting("CreateContainerConfigError"))), CAPABLE,
            ("SidecarNotCreated", "shipper"),
            id="lacks a Secret that a sidecar needs",
        ),
        pytest.param(
            pod(sidecar(SERVES), init(waiting("CreateContainerConfigError"))), CAPABLE,
            ("InitContainerBlocked", "migrate"),
            id="lacks a Secret that an init container needs",
        ),
        pytest.param(
            pod(sidecar(running(3, **PROBED), startupProbe=PROBE)), CAPABLE,
            ("StartupProbeFailing", "shipper"),
            id="has a sidecar that its startup probe ended",
        ),
        pytest.param(
            pod(sidecar(back_off(lasted=11), startupProbe=PROBE)), CAPABLE,
            ("StartupProbeFailing", "shipper"),
            id="has a sidecar in back-off that ended itself when its startup probe told it to",
        ),
        pytest.param(
            pod(sidecar(back_off(lasted=2), startupProbe=PROBE)), CAPABLE,
            ("CrashLooping", "shipper"),
            id="has a sidecar that ends before its startup probe can",
        ),
        pytest.param(
            pod(sidecar(back_off())), CAPABLE, ("CrashLooping", "shipper"),
            id="has a sidecar in back-off",
        ),
        pytest.param(
            pod(sidecar(back_off()), apps=APP_RUNS, phase="Running"), CAPABLE,
            ("CrashLooping", "shipper"),
            id="runs while its sidecar does not",
        ),
        pytest.param(
            pod(sidecar(running(4, started=True, restartCount=5, lastState=ended(2, since=20)))),
            CAPABLE, ("CrashLooping", "shipper"),
            id="has a sidecar that just started once more",
        ),
        pytest.param(
            pod(sidecar(SERVES), init(back_off())), CAPABLE, ("InitContainerBlocked", "migrate"),
            id="has an init container that fails again and again",
        ),
        pytest.param(
            pod(init(waiting("ImagePullBackOff")), sidecar()), CAPABLE,
            ("InitContainerBlocked", "migrate"),
            id="cannot pull an init container's image",
        ),
        pytest.param(
            pod(sidecar(SERVES), init(running(301))), CAPABLE, ("InitContainerBlocked", "migrate"),
            id="has an init container that takes too long",
        ),
        pytest.param(
            pod(sidecar(), status=unschedulable(31), nodeName="", affinity=RULE), None,
            ("NoMatchingNode", ""),
            id="finds no node that its rule allows",
        ),
        pytest.param(
            pod(sidecar(KILLED), apps=APP_ENDED, phase="Succeeded"), CAPABLE,
            ("SidecarKilledAtShutdown", "shipper"),
            id="completed, but its sidecar had to be killed",
        ),
        pytest.param(
            pod(sidecar(KILLED), apps=APP_ENDED, phase="Running", meta=DELETED), CAPABLE,
            ("SidecarKilledAtShutdown", "shipper"),
            id="was deleted, and its sidecar had to be killed",
        ),
    ],
)  # fmt: skip
def test_named_is_what_is_wrong_with_a_pod_that(
    raw: JSON, kubelet: str | None, expected: tuple[str, str]
) -> None:
    assert found(raw, kubelet) == expected


@pytest.mark.parametrize(
    ("raw", "kubelet"),
    [
        pytest.param(pod(sidecar(SERVES), apps=APP_RUNS, phase="Running"), CAPABLE, id="runs"),
        pytest.param(pod(sidecar(waiting())), CAPABLE, id="was just created"),
        pytest.param(
            pod(sidecar(waiting("ErrImagePull")), meta={"creationTimestamp": ago(19)}), CAPABLE,
            id="could not pull an image at once",
        ),
        pytest.param(
            pod(sidecar(waiting("CreateContainerConfigError")),
                meta={"creationTimestamp": ago(19)}), CAPABLE,
            id="was created just before its Secret",
        ),
        pytest.param(pod(sidecar(), nodeName="", affinity=RULE), None, id="was not scheduled yet"),
        pytest.param(
            pod(sidecar(), status=unschedulable(29), nodeName="", affinity=RULE), None,
            id="waits for a node for less than half a minute",
        ),
        pytest.param(
            pod(sidecar(), status=unschedulable(90), nodeName=""), None,
            id="finds no node, and has no rule of ours",
        ),
        pytest.param(
            pod(sidecar(), status=unschedulable(90, "3 Insufficient cpu"), nodeName="",
                affinity=RULE), None,
            id="finds no node because of its requests",
        ),
        pytest.param(pod(sidecar(running(9))), IGNORES, id="may still come through on an old node"),
        pytest.param(pod(sidecar(running(90))), None, id="is on a node that is not known"),
        pytest.param(
            pod(sidecar(running(90), startupProbe=PROBE)), "v1.x",
            id="may be probed still, on a node of unreadable version",
        ),
        pytest.param(
            pod(sidecar(running(900), startupProbe=PROBE)), CAPABLE,
            id="has a sidecar that never was restarted",
        ),
        pytest.param(
            pod(sidecar(running(3, restartCount=1, lastState=ended(1, lasted=2)))), CAPABLE,
            id="has a sidecar that crashed once",
        ),
        pytest.param(
            pod(sidecar(running(61, started=True, restartCount=9, lastState=ended(1, since=62)))),
            CAPABLE,
            id="has a sidecar that came to rest",
        ),
        pytest.param(
            pod(sidecar(running(5, started=True, restartCount=2,
                                lastState=ended(1, lasted=9000)))), CAPABLE,
            id="has a sidecar that crashes every few hours",
        ),
        pytest.param(
            pod(sidecar(running(4, restartCount=2, lastState=ended(137, lasted=9000)),
                        startupProbe=PROBE)), CAPABLE,
            id="has a sidecar that was killed long after its startup probe passed",
        ),
        pytest.param(pod(sidecar(SERVES), init(running(299))), CAPABLE, id="migrates a database"),
        pytest.param(
            pod(sidecar(over(0)), apps=APP_ENDED, phase="Succeeded"), CAPABLE, id="completed",
        ),
        pytest.param(
            pod(sidecar(over(137, since=9, reason="OOMKilled")), apps=APP_ENDED,
                phase="Succeeded"), CAPABLE,
            id="completed, while its sidecar ran out of memory",
        ),
        pytest.param(
            pod(sidecar(over(137, since=90)), apps=APP_ENDED, phase="Succeeded"), CAPABLE,
            id="completed after its sidecar was killed",
        ),
        pytest.param(
            pod(sidecar(SERVES), init(over(1)), phase="Failed"), CAPABLE,
            id="failed by an init container, and never restarts",
        ),
        pytest.param(
            pod(init(over(0), name="shipper"), meta=recorded(), phase="Succeeded"), CAPABLE,
            id="completed although its sidecar was none",
        ),
    ],
)  # fmt: skip
def test_nothing_is_wrong_with_a_pod_that(raw: JSON, kubelet: str | None) -> None:
    assert found(raw, kubelet) is None


def test_a_hand_written_sidecar_is_missed_by_the_template_of_its_owner() -> None:
    raw = pod(init(running(11), name="shipper"))
    assert found(raw) is None
    assert found(raw, meant=frozenset({"shipper"})) == ("RestartPolicyStripped", "shipper")


GIVEN_UP = (
    sidecar(running(46, started=True, restartCount=1), startupProbe=PROBE),
    sidecar(SERVES, name="courier", startupProbe=PROBE),
)
UNTOLD = (sidecar(running(90)), sidecar(waiting(), name="courier"))
FROZEN = sidecar(over(1, since=61))
BUG = ("KnownKubeletBug", "shipper")


@pytest.mark.parametrize(
    ("kubelet", "expected"),
    [
        ("v1.32.13", BUG), ("v1.33.5", BUG), ("v1.34.1-gke.7", BUG),
        ("v1.33.6", None), ("v1.34.2", None), ("v1.35.0", None),
    ],
)  # fmt: skip
def test_kubelets_that_give_a_startup_probe_up(
    kubelet: str, expected: tuple[str, str] | None
) -> None:
    assert found(pod(*GIVEN_UP, restartPolicy="Never"), kubelet) == expected
    assert found(pod(*GIVEN_UP), kubelet) is None
    assert found(pod(GIVEN_UP[0], restartPolicy="Never"), kubelet) is None
    assert found(pod(*GIVEN_UP, restartPolicy="Never", phase="Running"), kubelet) is None


@pytest.mark.parametrize(
    ("kubelet", "expected"),
    [
        ("v1.29.7", BUG), ("v1.30.3+k3s1", BUG),
        ("v1.29.8", None), ("v1.30.4", None), ("v1.31.0", None), ("v1.36.3", None),
    ],
)  # fmt: skip
def test_kubelets_that_do_not_tell_a_sidecar_to_end(
    kubelet: str, expected: tuple[str, str] | None
) -> None:
    assert found(pod(*UNTOLD, meta=DELETED), kubelet) == expected
    assert found(pod(*UNTOLD), kubelet) is None


@pytest.mark.parametrize(
    ("server", "expected"),
    [("v1.28.7", BUG), ("v1.29.2", BUG), ("v1.28.8", None), ("v1.29.3", None), ("v1.30.0", None),
     ("", None)],
)  # fmt: skip
def test_api_servers_that_keep_an_ended_sidecars_status(
    server: str, expected: tuple[str, str] | None
) -> None:
    raw = pod(FROZEN, apps=APP_RUNS, phase="Running", restartPolicy="Never")
    assert found(raw, server=server) == expected
    always = pod(FROZEN, apps=APP_RUNS, phase="Running")
    assert found(always, server=server) is None


@pytest.mark.parametrize(("probe", "expected"), [(None, True), (PROBE, False)])
def test_a_node_that_people_call_incapable_may_still_be_waiting_for_a_probe(
    probe: JSON | None, expected: bool
) -> None:
    said = replace(node().capability, verdict=Verdict.IGNORES, reason=Reason.OVERRIDDEN)
    more: dict[str, Any] = {"startupProbe": probe} if probe else {}
    facts = pod_facts(pod(sidecar(running(11), **more)))
    diagnosis = diagnose(Case(facts, NOW, replace(node(), capability=said)))
    told = diagnosis is not None and diagnosis.reason is Reason.NODE_IGNORES_SIDECARS
    assert told is expected


def test_what_kubernetes_said_is_kept_apart_from_the_message() -> None:
    raw = pod(sidecar(), status=unschedulable(31), nodeName="", affinity=RULE)
    diagnosis = diagnose(Case(pod_facts(raw), NOW))
    assert diagnosis is not None
    assert diagnosis.seen == UNSCHEDULABLE
    assert "0/3" not in diagnosis.finding.message


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(pod(sidecar(SERVES), apps=APP_RUNS, phase="Running"), True, id="runs"),
        pytest.param(pod(sidecar(over(0)), phase="Succeeded"), True, id="is over"),
        pytest.param(pod(sidecar(running(1))), False, id="starts"),
        pytest.param(pod(sidecar(SERVES)), False, id="waits for its application's image"),
        pytest.param(
            pod(sidecar(SERVES), init(running(1)), phase="Running"), False,
            id="has an init container",
        ),
        pytest.param(
            pod(sidecar(SERVES), phase="Running", meta=DELETED), False, id="is being deleted",
        ),
        pytest.param(
            pod(sidecar(running(59, started=True, restartCount=2)), phase="Running"), False,
            id="was restarted",
        ),
    ],
)  # fmt: skip
def test_whether_a_pod_is_settled_that(raw: JSON, *, expected: bool) -> None:
    assert settled(pod_facts(raw), NOW) is expected


def test_a_refused_pod_whose_owner_has_others_by_now_is_in_no_trouble() -> None:
    refused = pod(sidecar(), phase="Failed", status=REFUSED)
    assert found(refused, REJECTS, replaced=True) is None


def test_of_a_refusing_node_that_counts_as_capable_the_gate_is_suspected() -> None:
    raw = pod(sidecar(), phase="Failed", status=REFUSED)
    diagnosis = diagnose(Case(pod_facts(raw), NOW, node("v1.31.0")))
    assert diagnosis is not None
    assert "although it counts as capable" in diagnosis.message
    assert diagnosis.next_step.startswith("Turn that gate on")


@pytest.mark.parametrize(
    ("raw", "kubelet", "expected"),
    [
        pytest.param(RUNS_THERE, IGNORES, ("NodeIgnoresSidecars", ""), id="an older kubelet"),
        pytest.param(RUNS_THERE, CAPABLE, None, id="a capable kubelet"),
        pytest.param(RUNS_THERE, REJECTS, None, id="one that would have refused it at its start"),
        pytest.param(RUNS_THERE, "weird", None, id="one whose version is unreadable"),
        pytest.param(
            pod(sidecar(SERVES), apps=APP_RUNS, phase="Running", meta=DELETED), IGNORES, None,
            id="an older kubelet, which is to end it",
        ),
    ],
)  # fmt: skip
def test_a_pod_that_runs_on_a_node_that_lost_the_capability_is_told_of(
    raw: JSON, kubelet: str, expected: tuple[str, str] | None
) -> None:
    assert found(raw, kubelet) == expected
    diagnosis = diagnose(Case(pod_facts(raw), NOW, node(kubelet)))
    assert diagnosis is None or not diagnosis.stuck
