"""The cgroups in which a node's containers live: who is in them, and their removal.

A container is in `/k8s.io/<its id>`, for kubelets without cgroups per QoS class name no parent,
and containerd keeps a directory of that id for as long as the container may have a process.
Works alike on cgroup v2 (one tree) and v1 (a tree for each controller).
"""

import os
from contextlib import suppress
from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")
_PARENT = "k8s.io"


def trees(mounts: Path = _MOUNTS) -> list[Path]:
    """Where the cgroup hierarchies are mounted."""
    rows = (line.split() for line in mounts.read_text().splitlines())
    return [Path(row[1]) for row in rows if row[2] in {"cgroup", "cgroup2"}]


def _of_containers(containerd_state: Path) -> list[str]:
    bundles = containerd_state / "io.containerd.runtime.v2.task" / _PARENT
    return [f"{_PARENT}/{bundle.name}" for bundle in bundles.glob("*/")]


def _groups(name: str) -> list[Path]:
    """Every cgroup at and below the name, children before parents."""
    # os.walk, for it does not mind when a directory vanishes under it.
    walks = (os.walk(tree / name, topdown=False) for tree in trees())
    return [Path(directory) for walk in walks for directory, _, _ in walk]


def pids(containerd_state: Path) -> set[int]:
    """Every process of a container, whether its shim still lives or not."""
    found = set[int]()
    for group in (g for name in _of_containers(containerd_state) for g in _groups(name)):
        with suppress(OSError):  # removed while we looked
            found.update(int(pid) for pid in (group / "cgroup.procs").read_text().split())
    return found


def remove(containerd_state: Path) -> None:
    """Removes the cgroups of all containers, and their parent if no other runtime uses it."""
    for group in (g for name in _of_containers(containerd_state) for g in _groups(name)):
        with suppress(OSError):
            group.rmdir()
    for tree in trees():
        with suppress(OSError):
            (tree / _PARENT).rmdir()
