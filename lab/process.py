"""Processes that outlive us, known by pid and start time so that a reused pid is never mistaken.

Starts them, remembers them in a directory, and ends them. It decides nothing about what runs.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.errors import LabError

_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """One remembered process. `start` is in clock ticks since boot, `boot` names that boot."""

    name: str
    pid: int
    start: int
    boot: str

    def alive(self) -> bool:
        """Whether this very process runs; a zombie or a stranger with its pid does not count."""
        return self.boot == boot_id() and start_time(self.pid) == self.start


def boot_id() -> str:
    """The kernel's name of the running boot: start times mean nothing across two of them."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, or None for no process or a zombie."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # a dead child of ours would stay a zombie as long as we live
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    # A zombie whose other threads still end holds its files and ports until the last is gone.
    gone = fields[0] in "ZX" and int(fields[17]) <= 1
    return None if gone else int(fields[19])


def all_pids() -> list[int]:
    """Every process there is at this moment."""
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def command_line(pid: int) -> str:
    """Its arguments joined by spaces, or nothing if it ended."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def ourselves() -> frozenset[int]:
    """We and our ancestors: `down` from a shell inside the lab must not end that shell."""
    pid, line = os.getpid(), set[int]()
    while pid > 0:
        line.add(pid)
        stat = (_PROC / str(pid) / "stat").read_text()
        pid = int(stat.rpartition(")")[2].split()[1])
    return frozenset(line)


def write_atomically(path: Path, text: str) -> None:
    """Writes all of it or nothing, whenever we are killed."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.replace(path)


def start(
    name: str, argv: Sequence[str], *, records: Path, log: Path, environ: Mapping[str, str]
) -> Process:
    """Starts a daemon in a session of its own, its output appended to `log`, and remembers it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions: list[tuple[int, int, int] | tuple[int, int, str, int, int]] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    pid = os.posix_spawnp(
        argv[0],
        list(argv),
        dict(environ),
        file_actions=actions,
        setsid=True,
        setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),  # Python ignores them; daemons should not
    )
    begun = start_time(pid)
    process = Process(name, pid, begun or 0, boot_id())
    write_atomically(records / f"{name}.json", json.dumps(asdict(process)))
    return process


def load(records: Path) -> dict[str, Process]:
    """All remembered processes by name, dead or alive, in the order of their names."""
    found = (Process(**json.loads(file.read_text())) for file in sorted(records.glob("*.json")))
    return {process.name: process for process in found}


def send_kill(pid: int, start: int) -> None:
    """Kills the process only if it is still the one that started then."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)  # from here on the pid cannot come to mean another process
        try:
            if start_time(pid) == start:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)


def end_all(find: Callable[[], set[int]], what: str, *, seconds: float = 20) -> None:
    """Kills what `find` finds until it finds nothing, for some of it may still be forking."""
    deadline = time.monotonic() + seconds
    while living := {pid: begun for pid in find() if (begun := start_time(pid)) is not None}:
        if time.monotonic() > deadline:
            names = ", ".join(f"{pid} ({command_line(pid)[:60]})" for pid in living)
            raise LabError(f"{what} do not end: {names}")
        for pid, begun in living.items():
            send_kill(pid, begun)
        time.sleep(0.02)
