"""What a Node's status says of its kubelet: where it serves, and since when it is Ready."""

from collections.abc import Mapping
from typing import Any, Final

Status = Mapping[str, Any]

KUBELET_PORT: Final = 10250
"""Where a kubelet serves unless it says otherwise."""


def ready_since(status: Status) -> str:
    """When the node became Ready, RFC 3339; empty while it is not."""
    conditions = status.get("conditions") or ()
    ready = (e for e in conditions if (e.get("type"), e.get("status")) == ("Ready", "True"))
    return next((str(each.get("lastTransitionTime", "")) for each in ready), "")


def internal_address(status: Status) -> str:
    """The node's first InternalIP; empty if it has none."""
    addresses = status.get("addresses") or ()
    return next((str(e.get("address")) for e in addresses if e.get("type") == "InternalIP"), "")


def kubelet_port(status: Status) -> int:
    """The port of the kubelet's server."""
    endpoint = (status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
    return int(endpoint.get("Port") or KUBELET_PORT)
