"""Nodes that are only objects: kwok keeps their leases and plays their Pods, no disk, no container.

Whatever is scheduled on one seems to run. Keep real work off them by a node selector.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab import api, control_plane, daemon
from lab.layout import Layout

KWOK = "kwok"
_STAGES = Path(__file__).parent / "kwok.yaml"
_MARK = "kwok.x-k8s.io/node"
_LEASE_SECONDS = 1200  # a lease is renewed after a quarter of it: 5,000 nodes, 17 writes a second


def node_object(name: str, kubelet: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """A Node as its kubelet would register it. kwok fills in what is missing, not the version."""
    amounts = {"cpu": "32", "memory": "256Gi", "pods": "110"}
    known = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "type": KWOK,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {_MARK: "fake"},
            "labels": known | dict(labels),
        },
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": "",
                "containerRuntimeVersion": "containerd://2.2.1",
                "kernelVersion": "",
                "kubeProxyVersion": "",
                "kubeletVersion": f"v{kubelet}",
                "machineID": "",
                "operatingSystem": "linux",
                "osImage": KWOK,
                "systemUUID": "",
            },
        },
    }


def ensure_running(layout: Layout) -> None:
    """Starts the one kwok of this lab if it does not run."""
    control_plane.allow_many_nodes(layout)
    if daemon.alive(layout, KWOK):
        return
    argv = (
        str(layout.bin / KWOK),
        f"--kubeconfig={layout.kubeconfig('admin')}",
        f"--config={_STAGES}",
        f"--manage-nodes-with-annotation-selector={_MARK}=fake",
        f"--node-lease-duration-seconds={_LEASE_SECONDS}",
        "--cidr=10.245.0.0/16",
    )
    daemon.start(layout, KWOK, argv)


def _all_ready(layout: Layout, names: frozenset[str]) -> bool:
    answer = api.request(layout, "GET", "/api/v1/nodes?labelSelector=type%3Dkwok")
    if answer.status != 200:
        return False
    ready = {
        item["metadata"]["name"]
        for item in answer.json()["items"]
        for condition in item["status"].get("conditions", [])
        if (condition["type"], condition["status"]) == ("Ready", "True")
    }
    return names <= ready


def add(layout: Layout, nodes: list[dict[str, Any]]) -> None:
    """Creates those of the nodes that are not there yet, and waits until all are Ready."""
    ensure_running(layout)
    api.create_all(layout, "/api/v1/nodes", nodes)
    names = frozenset(node["metadata"]["name"] for node in nodes)
    daemon.wait(
        layout,
        (KWOK,),
        lambda: _all_ready(layout, names),
        "the fake nodes are not Ready",
        seconds=60 + len(nodes) / 10,
    )
