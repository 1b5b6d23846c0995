"""Pods that the webhook missed, and those that it rightly left alone."""

from dataclasses import replace
from typing import Any

import pytest

from sidecarpolicy.core.capability import Verdict
from sidecarpolicy.core.facts import policy_facts
from sidecarpolicy.core.missed import missed_by
from sidecarpolicy.core.snapshot import Snapshot
from tests.support.builders import policy_object, snapshot

JSON = dict[str, Any]
KEY = "SidecarPolicy/log-shipper"
BEFORE, BORN, AFTER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"
DAEMON = {"ownerReferences": [{"kind": "DaemonSet", "name": "agent", "controller": True}]}


def pod(**meta: Any) -> JSON:
    return {
        "metadata": {"name": "p", "creationTimestamp": AFTER, **meta},
        "spec": {"containers": [{"name": "web", "image": "nginx"}], "nodeName": "n1"},
    }


def known(**fields: Any) -> Snapshot:
    made = policy_object(targets=[{"kind": "Pod"}, {"kind": "DaemonSet"}], **fields)
    made["metadata"]["creationTimestamp"] = BORN
    return snapshot(policies=(policy_facts(made),))


@pytest.mark.parametrize("meta", [{}, DAEMON], ids=["on its own", "of a daemon"])
def test_a_pod_younger_than_its_policy_missed_it(meta: JSON) -> None:
    assert missed_by(pod(**meta), known(), verdict=Verdict.CAPABLE) == {KEY}


OURS = {"annotations": {"sidecarpolicy.dev/injected": "{}"}}
OPTED_OUT = {"annotations": {"sidecarpolicy.dev/inject": "false"}}


@pytest.mark.parametrize(
    ("made", "view", "verdict"),
    [
        (pod(creationTimestamp=BEFORE), known(), Verdict.CAPABLE),
        (pod(**OURS), known(), Verdict.CAPABLE),
        (pod(**OPTED_OUT), known(), Verdict.CAPABLE),
        (pod(**DAEMON), known(), Verdict.IGNORES),
        (pod(), known(selector={"matchLabels": {"app": "db"}}), Verdict.CAPABLE),
        (pod(), known(sidecars=[{"name": "web", "image": "x"}]), Verdict.CAPABLE),
        (pod(), replace(known(), excluded=True), Verdict.CAPABLE),
    ],
    ids=[
        "is older", "has a record", "opted out", "is a daemon's on a node that cannot",
        "is not selected", "has a conflict", "is in an excluded namespace",
    ],
)  # fmt: skip
def test_a_pod_missed_nothing_that(made: JSON, view: Snapshot, verdict: Verdict) -> None:
    assert missed_by(made, view, verdict=verdict) == frozenset()
