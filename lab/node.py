"""One real node: a containerd and a kubelet in a mount namespace of their own.

The mount namespace is what makes a node disappear without a trace. Both programs, and the
containers' shims, have fixed paths in /run, /var/lib and /var/log; here these are the node's own.
Every mount they make ends with the last of them, however that one ends.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from lab import api, control_plane, daemon, namespace, node_config, pki, process
from lab.errors import LabError
from lab.images import import_image, remembered
from lab.layout import Layout, NodeLayout

_FIRST_INDEX, _LAST_INDEX = 2, 254

# Bind mounts by file descriptor: the first mounts hide the paths of what the later ones need.
_OWN_MOUNTS = """
set -e
state=$1 cache=$2 log=$3; shift 3
exec 3<"$state" 4<"$cache"
mount -t tmpfs -o mode=755 lab /run
mount --bind "$log" /var/log
mount -t tmpfs -o mode=755 lab /var/lib
mkdir -p "$state" "$cache"
mount --no-canonicalize --bind /proc/self/fd/3 "$state"
mount --no-canonicalize --bind /proc/self/fd/4 "$cache"
exec 3<&- 4<&-
mount --make-rshared /
exec "$@"
"""


@dataclass(frozen=True)
class Node:
    """A node to have: name, kubelet version, more kubelet flags, labels it registers with."""

    name: str
    kubelet: str
    flags: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeRecord:
    """A node as the state remembers it; the index gives its address and its Pods' subnet."""

    node: Node
    index: int


def load(place: NodeLayout) -> NodeRecord | None:
    """The remembered node, if there is one."""
    try:
        data = json.loads(place.record.read_text())
    except FileNotFoundError:
        return None
    known = data["node"]
    node = Node(known["name"], known["kubelet"], tuple(known["flags"]), known["labels"])
    return NodeRecord(node, data["index"])


def load_all(layout: Layout) -> list[NodeRecord]:
    """Every remembered node, by index."""
    places = (layout.node(file.parent.name) for file in layout.nodes.glob("*/node.json"))
    found = [record for place in places if (record := load(place))]
    return sorted(found, key=lambda record: record.index)


def allocate(layout: Layout, node: Node) -> NodeRecord:
    """Remembers the node under its old index, or under the lowest that is free."""
    place = layout.node(node.name)
    known = load(place)
    taken = {record.index for record in load_all(layout)}
    free = (index for index in range(_FIRST_INDEX, _LAST_INDEX + 1) if index not in taken)
    index = known.index if known else next(free, None)
    if index is None:
        raise LabError(f"a lab has room for {_LAST_INDEX - _FIRST_INDEX + 1} real nodes")
    record = NodeRecord(node, index)
    place.root.mkdir(parents=True, exist_ok=True)
    process.write_atomically(place.record, json.dumps(asdict(record)))
    return record


def _prepare(layout: Layout, record: NodeRecord) -> None:
    node, place = record.node, layout.node(record.node.name)
    address = namespace.node_address(record.index)
    user = f"system:node:{node.name}"
    identity = pki.Identity(f"node-{node.name}", user, "system:nodes", (node.name, address))
    pki.issue(layout.pki, identity)
    control_plane.write_kubeconfig(layout, identity.name)
    for directory in ("log", "cni"):
        (place.root / directory).mkdir(exist_ok=True)
    node_config.write_all(layout, place, node_config.Machine(node.kubelet, record.index))
    namespace.add_address(layout.namespace_path, address)


def _start_containerd(layout: Layout, place: NodeLayout) -> process.Process:
    own = (str(layout.state), str(layout.cache), str(place.root / "log"))
    program = (str(layout.bin / "containerd"), "--config", str(place.root / "containerd.toml"))
    # As a slave of the host: what is unmounted there must not stay in use here.
    unshare = ("unshare", "--mount", "--propagation", "slave", "sh", "-c", _OWN_MOUNTS, "sh")
    argv = (*unshare, *own, *program)
    started = daemon.start(layout, place.containerd, argv)
    daemon.wait(
        layout, (place.containerd,), place.socket.exists, f"{place.containerd} opens no socket"
    )
    return started


def _start_kubelet(layout: Layout, record: NodeRecord, containerd: process.Process) -> None:
    node, place = record.node, layout.node(record.node.name)
    machine = node_config.Machine(node.kubelet, record.index)
    labels = ",".join(f"{key}={value}" for key, value in sorted(node.labels.items()))
    argv = (
        "nsenter",
        f"--mount=/proc/{containerd.pid}/ns/mnt",
        "--",
        str(layout.bin / node.kubelet / "kubelet"),
        f"--kubeconfig={layout.kubeconfig(f'node-{node.name}')}",
        *node_config.kubelet_flags(place, machine),
        *((f"--node-labels={labels}",) if labels else ()),
        *node.flags,
    )
    daemon.start(layout, place.kubelet, argv)


def start(layout: Layout, record: NodeRecord) -> None:
    """Starts it with every image the lab knows; does not wait for the kubelet to be Ready."""
    place = layout.node(record.node.name)
    _prepare(layout, record)
    containerd = _start_containerd(layout, place)
    for image in remembered(layout):
        import_image(layout, place, image)
    _start_kubelet(layout, record, containerd)


def restart_kubelet(layout: Layout, record: NodeRecord) -> None:
    """Kills the kubelet and starts it as this record says; its Node and its containers stay."""
    place = layout.node(record.node.name)
    containerd = daemon.find(layout, place.containerd)
    if containerd is None or not containerd.alive():
        raise LabError(f"node {record.node.name} does not run")
    process.write_atomically(place.record, json.dumps(asdict(record)))
    daemon.stop(layout, place.kubelet)
    machine = node_config.Machine(record.node.kubelet, record.index)
    node_config.write_all(layout, place, machine)
    _start_kubelet(layout, record, containerd)


def running(layout: Layout, place: NodeLayout) -> bool:
    """Whether both of its daemons run."""
    return all(daemon.alive(layout, name) for name in (place.containerd, place.kubelet))


def is_ready(layout: Layout, record: NodeRecord) -> bool:
    """Whether this kubelet, and not one before it under the same name, has reported Ready."""
    answer = api.request(layout, "GET", f"/api/v1/nodes/{record.node.name}")
    if answer.status != 200:
        return False
    status = answer.json()["status"]
    version = status.get("nodeInfo", {}).get("kubeletVersion")
    ready = {c["type"]: c["status"] for c in status.get("conditions", [])}.get("Ready")
    return ready == "True" and version == f"v{record.node.kubelet}"


def wait_ready(layout: Layout, record: NodeRecord) -> None:
    """Waits for Ready; if a daemon dies, an error with its last lines."""
    place = layout.node(record.node.name)
    daemon.wait(
        layout,
        (place.containerd, place.kubelet),
        lambda: is_ready(layout, record),
        f"node {record.node.name} is not Ready",
    )
