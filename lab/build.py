"""Builds targets into the cache: only what is missing or changed, whole or not at all.

A stamp beside each binary holds the hash it was built from. A build writes to a temporary name
and renames, under a lock, so neither a crash nor a second build leaves a broken binary.
"""

import fcntl
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.errors import LabError
from lab.targets import Target
from lab.toolchain import find_go

_TAIL = 20  # lines of Go's output that a failure shows


def _stamp_file(directory: Path, target: Target) -> Path:
    return directory / f"{target.name}.stamp"


def is_current(directory: Path, target: Target) -> bool:
    """Whether the binary is there and was built from what the module says now."""
    stamp = _stamp_file(directory, target)
    if not (directory / target.name).is_file() or not stamp.is_file():
        return False
    return stamp.read_text() == target.stamp()


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Holds an exclusive lock; it ends with the process, so a crash leaves none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _wait(process: subprocess.Popen[str], label: str) -> None:
    """Waits, counting the seconds on a terminal and printing one line otherwise."""
    started, live = time.monotonic(), sys.stderr.isatty()
    if not live:
        print(label, file=sys.stderr, flush=True)
    while True:
        elapsed = f"{label} {time.monotonic() - started:.0f} s"
        try:
            process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            if live:
                print(f"\r{elapsed}", end="", file=sys.stderr, flush=True)
            continue
        print(f"\r{elapsed}" if live else elapsed, file=sys.stderr, flush=True)
        return


def _compile(go: str, target: Target, output: Path, label: str) -> None:
    command = target.command(go, output)
    # A workspace, flags or another toolchain of the user's would make another binary.
    environ = os.environ | {
        "CGO_ENABLED": "0",
        "GOWORK": "off",
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
    }
    log = output.with_name(output.name + ".log")
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=target.module, env=environ, text=True, stdout=file, stderr=file
        )
        try:
            _wait(process, label)
        finally:
            process.kill()
            process.wait()
    lines = log.read_text().splitlines()[-_TAIL:]
    log.unlink()
    if process.returncode:
        shown = f"cd {target.module} && CGO_ENABLED=0 {shlex.join(command)}"
        raise LabError(f"building {target.name} failed: {shown}", "\n".join(lines))


def _build(go: str, directory: Path, target: Target, label: str) -> None:
    final, stamp = directory / target.name, _stamp_file(directory, target)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.new")
    expected = target.stamp()
    try:
        _compile(go, target, temporary, label)
        stamp.unlink(missing_ok=True)  # never an old stamp that matches beside a new binary
        temporary.replace(final)
        stamp.write_text(expected)
    finally:
        temporary.unlink(missing_ok=True)


def ensure(cache: Path, targets: Sequence[Target]) -> None:
    """Builds those targets that are not current; prints nothing if all are."""
    directory = cache / "bin"
    if all(is_current(directory, target) for target in targets):
        return
    with file_lock(cache / "build.lock"):
        stale = [target for target in targets if not is_current(directory, target)]
        go = find_go(cache) if stale else ""
        for number, target in enumerate(stale, 1):
            label = f"building {target.name} ({number} of {len(stale)})"
            _build(go, directory, target, label)
