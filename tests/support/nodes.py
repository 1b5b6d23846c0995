"""Nodes as the API server sends them, as small as they can be."""

from typing import Any

JSON = dict[str, Any]


def node_object(
    kubelet: str,
    *,
    name: str = "n1",
    boot: str = "boot-1",
    system: str = "linux",
    status: JSON | None = None,
    **meta: Any,
) -> JSON:
    """A Node with this version of the kubelet."""
    info = {"kubeletVersion": kubelet, "bootID": boot, "operatingSystem": system}
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": "5", **meta},
        "status": {"nodeInfo": info, **(status or {})},
    }
