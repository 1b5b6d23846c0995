"""Nodes: what is read of them, what is written on them, and what becomes of Pods there."""

from typing import Any

import pytest

from sidecarpolicy.core.capability import Verdict
from sidecarpolicy.core.facts import node_facts
from sidecarpolicy.core.featuregate import Gate, Reading
from sidecarpolicy.core.labels import node_patch
from tests.support.nodes import node_object

RECORD = "sidecarpolicy.dev/feature-gate"
OFF = Reading("v1.31.0", "boot-1", Gate.OFF)


def patched(obj: dict[str, Any]) -> dict[str, Any]:
    patch = node_patch(node_facts(obj))
    assert patch is not None
    found: dict[str, Any] = patch["metadata"]
    return found


def test_a_new_node_gets_label_and_evidence_guarded_by_its_uid() -> None:
    patch = patched(node_object("v1.28.15"))
    assert patch["uid"] == "uid-n1"
    assert patch["labels"] == {"sidecarpolicy.dev/native-sidecars": "rejects"}
    assert set(patch["annotations"]) == {"sidecarpolicy.dev/evidence"}
    assert "v1.28.15" in patch["annotations"]["sidecarpolicy.dev/evidence"]


def test_a_labelled_node_is_left_alone() -> None:
    patch = patched(node_object("v1.28.15"))
    labelled = node_object("v1.28.15", **patch)
    assert node_patch(node_facts(labelled)) is None


def test_a_node_of_unknown_capability_is_labelled_as_unfit() -> None:
    patch = patched(node_object("nonsense"))
    assert patch["labels"] == {"sidecarpolicy.dev/native-sidecars": "false"}


def test_what_was_read_of_this_version_counts() -> None:
    node = node_facts(node_object("v1.31.0", annotations={RECORD: OFF.text()}))
    assert node.reading == OFF
    assert node.capability.verdict is Verdict.REJECTS


def test_what_was_read_of_another_version_neither_counts_nor_stays() -> None:
    obj = node_object("v1.32.0", annotations={RECORD: OFF.text()})
    assert node_facts(obj).capability.verdict is Verdict.CAPABLE
    assert patched(obj)["annotations"][RECORD] is None


def test_windows_nodes_are_judged_as_any_other() -> None:
    found = {
        system: node_facts(node_object("v1.31.0", system=system)).capability
        for system in ("linux", "windows")
    }
    assert found["linux"] == found["windows"]


@pytest.mark.parametrize(
    ("status", "since"),
    [
        ({}, ""),
        ({"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "t"}]}, "t"),
        ({"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "t"}]}, ""),
        ({"conditions": [{"type": "DiskPressure", "status": "True"}]}, ""),
    ],
)
def test_a_node_is_ready_since_its_condition_says_so(status: dict[str, Any], since: str) -> None:
    assert node_facts(node_object("v1.31.0", status=status)).ready_since == since


def test_a_kubelet_is_found_at_its_first_internal_address_and_its_own_port() -> None:
    addresses = [
        {"type": "Hostname", "address": "n1"},
        {"type": "InternalIP", "address": "10.0.0.7"},
        {"type": "InternalIP", "address": "fd00::7"},
    ]
    endpoint = {"kubeletEndpoint": {"Port": 20250}}
    status = {"addresses": addresses, "daemonEndpoints": endpoint}
    node = node_facts(node_object("v1.31.0", status=status))
    assert (node.address, node.port) == ("10.0.0.7", 20250)
    bare = node_facts(node_object("v1.31.0"))
    assert (bare.address, bare.port) == ("", 10250)
