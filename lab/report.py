"""What a lab looks like right now: its processes and nodes, as data and as a table."""

from collections.abc import Sequence
from dataclasses import dataclass

from lab import api, control_plane, node, process
from lab.layout import Layout


@dataclass(frozen=True)
class ProcessStatus:
    """A remembered process; `state` is running or dead."""

    name: str
    pid: int
    state: str


@dataclass(frozen=True)
class NodeStatus:
    """A Node object; `ready` is what its Ready condition says, `kind` is real or fake."""

    name: str
    kubelet: str
    ready: str
    kind: str


@dataclass(frozen=True)
class Status:
    """All of it; `state` is down, running or broken."""

    name: str
    state: str
    version: str
    processes: tuple[ProcessStatus, ...]
    nodes: tuple[NodeStatus, ...]


def _processes(layout: Layout) -> tuple[ProcessStatus, ...]:
    known = process.load(layout.processes).values()
    return tuple(ProcessStatus(p.name, p.pid, "running" if p.alive() else "dead") for p in known)


def _nodes(layout: Layout) -> tuple[NodeStatus, ...]:
    answer = api.request(layout, "GET", "/api/v1/nodes")
    if answer.status != 200:
        return ()
    real = {record.node.name for record in node.load_all(layout)}
    found = []
    for item in answer.json()["items"]:
        name, conditions = item["metadata"]["name"], item["status"].get("conditions", [])
        ready = {c["type"]: c["status"] for c in conditions}.get("Ready", "Unknown")
        version = item["status"].get("nodeInfo", {}).get("kubeletVersion", "")
        found.append(NodeStatus(name, version, ready, "real" if name in real else "fake"))
    return tuple(found)


def gather(layout: Layout) -> Status:
    """Looks at the state, the processes and, if it answers, the API server."""
    cluster = control_plane.load(layout)
    if cluster is None:
        return Status(layout.name, "down", "", (), ())
    processes = _processes(layout)
    ready = layout.namespace_path.exists() and control_plane.answers(layout)
    whole = ready and all(p.state == "running" for p in processes)
    nodes = _nodes(layout) if ready else ()
    state = "running" if whole else "broken"
    return Status(layout.name, state, cluster.version, processes, nodes)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    padded = ([f"{cell:<{width}}" for cell, width in zip(r, widths, strict=True)] for r in rows)
    return ["   ".join(row).rstrip() for row in padded]


def as_text(status: Status) -> str:
    """For people."""
    lines = [f"lab {status.name}: {status.state} {status.version}".rstrip()]
    if status.processes:
        rows = [(p.name, str(p.pid), p.state) for p in status.processes]
        lines += ["", *_table([("PROCESS", "PID", "STATE"), *rows])]
    if status.nodes:
        nodes = [(n.name, n.kubelet, n.ready, n.kind) for n in status.nodes]
        lines += ["", *_table([("NODE", "KUBELET", "READY", "KIND"), *nodes])]
    return "\n".join(lines)
