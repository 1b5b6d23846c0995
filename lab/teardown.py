"""Ends a lab or one of its nodes, in whatever state a crash left it.

Found are, besides the remembered processes: all that live in the lab's network namespace and all
that live in the cgroups of its containers. Mounts need no work: each node's are in a mount
namespace that ends with its last process.
"""

from lab import cgroups, namespace, process
from lab.layout import Layout, NodeLayout
from lab.state import clear, delete


def _remembered(layout: Layout, suffix: str = "") -> set[int]:
    known = process.load(layout.processes).values()
    return {p.pid for p in known if p.name.endswith(suffix) and p.alive()}


def _names(layout: Layout) -> list[str]:
    return [entry.name for entry in layout.nodes.glob("*/")]


def _node_members(layout: Layout, place: NodeLayout) -> set[int]:
    """Daemons, shims and helpers name a file of the node in their arguments."""
    mark = f"{place.root}/"
    inside = namespace.pids(layout.namespace_path)
    daemons = {pid for pid in inside if mark in process.command_line(pid)}
    names = {place.kubelet, place.containerd}
    known = {
        p.pid for p in process.load(layout.processes).values() if p.name in names and p.alive()
    }
    return (daemons | known | cgroups.pids(place.containerd_state)) - process.ourselves()


def _members(layout: Layout) -> set[int]:
    contained = (cgroups.pids(layout.node(name).containerd_state) for name in _names(layout))
    inside = namespace.pids(layout.namespace_path)
    return _remembered(layout).union(inside, *contained) - process.ourselves()


def end_node(layout: Layout, place: NodeLayout, *, keep_record: bool = False) -> None:
    """Ends the node's processes and removes what they left; its Node object is not touched.

    The kubelet first, for it would start containers anew; then all the rest at once: a containerd
    that outlived its shims would start helpers to clean up after them.
    """
    kubelet = process.load(layout.processes).get(place.kubelet)
    if kubelet is not None:
        process.end_all(lambda: {kubelet.pid} if kubelet.alive() else set(), place.kubelet)
    process.end_all(lambda: _node_members(layout, place), f"processes of node {place.name}")
    cgroups.remove(place.containerd_state)
    for name in (place.kubelet, place.containerd):
        (layout.processes / f"{name}.json").unlink(missing_ok=True)
    layout.kubeconfig(f"node-{place.name}").unlink(missing_ok=True)
    _remove_files(place, keep_record=keep_record)


def _remove_files(place: NodeLayout, *, keep_record: bool) -> None:
    if not place.root.exists():
        return
    for entry in place.root.iterdir():
        if keep_record and entry == place.record:
            continue
        delete(entry)
    if not keep_record:
        place.root.rmdir()


def end_lab(layout: Layout) -> None:
    """Ends all processes, then removes the namespace, cgroups and files; the directory stays."""
    process.end_all(lambda: _remembered(layout, "-kubelet"), "kubelets")
    for name in _names(layout):
        end_node(layout, layout.node(name))
    process.end_all(lambda: _members(layout), f"processes of lab {layout.name}")
    namespace.delete(layout.namespace_path)
    clear(layout.state)
