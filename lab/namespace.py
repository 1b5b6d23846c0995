"""The network namespace of a lab: making it, entering it, and who lives in it."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.errors import LabError
from lab.process import all_pids

SERVICE_ADDRESS = "10.96.0.1"
SERVICE_RANGE = "10.96.0.0/24"
CONTROL_PLANE_ADDRESS = "10.240.0.1"
_CLONE_NEWNET = 0x40000000


def node_address(index: int) -> str:
    """Address of the node with this index, which is 2 or more."""
    return f"10.240.0.{index}"


def pod_subnet(index: int) -> str:
    """Addresses of that node's Pods."""
    return f"10.244.{index}.0/24"


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"`ip {' '.join(arguments)}` failed: {done.stderr.strip()}")


def create(path: Path) -> None:
    """Makes the namespace. Kubelets refuse loopback addresses, so `lo` gets others to live on."""
    _ip("netns", "add", path.name)
    _ip("-n", path.name, "link", "set", "lo", "up")
    for address in (SERVICE_ADDRESS, CONTROL_PLANE_ADDRESS):
        add_address(path, address)


def add_address(path: Path, address: str) -> None:
    """Gives `lo` one more address; no harm if it has it already."""
    _ip("-n", path.name, "addr", "replace", f"{address}/32", "dev", "lo")


def delete(path: Path) -> None:
    """Removes the namespace if it is there."""
    if path.exists():
        _ip("netns", "delete", path.name)


def pids(path: Path) -> set[int]:
    """Every process whose network is this namespace."""
    try:
        wanted = path.stat()
    except FileNotFoundError:
        return set()
    return {pid for pid in all_pids() if _lives_in(pid, wanted)}


def _lives_in(pid: int, wanted: os.stat_result) -> bool:
    try:
        actual = Path(f"/proc/{pid}/ns/net").stat()
    except OSError:  # it ended while we looked
        return False
    return (actual.st_dev, actual.st_ino) == (wanted.st_dev, wanted.st_ino)


def _set_namespace(handle: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(handle, _CLONE_NEWNET):
        raise LabError(f"cannot enter the network namespace: {os.strerror(ctypes.get_errno())}")


@contextmanager
def entered(path: Path) -> Iterator[None]:
    """Moves the calling thread into the namespace and back; what it starts stays there."""
    if not path.exists():
        raise LabError(f"there is no network namespace {path.name}: is the lab up?")
    # Of the thread, not of the process: /proc/self would be the main thread's.
    with open("/proc/thread-self/ns/net", "rb") as before, path.open("rb") as inside:
        _set_namespace(inside.fileno())
        try:
            yield
        finally:
            _set_namespace(before.fileno())


def command(path: Path, argv: tuple[str, ...]) -> list[str]:
    """The command line that runs `argv` inside.

    Not `ip netns exec`: that one remounts /sys and so hides the cgroups.
    """
    return ["nsenter", f"--net={path}", "--", *argv]
