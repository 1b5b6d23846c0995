"""The state directory of a lab: one user at a time, and never somebody else's directory."""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.errors import LabError

_MARK = ".sidecarpolicy-lab"  # tells a lab's directory from one that `down` must never empty


def _open_locked(state: Path) -> int:
    handle = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"waiting for another command on {state.name}", file=sys.stderr)
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def _is_same(handle: int, state: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), state.stat())
    except FileNotFoundError:
        return False


def _claim(state: Path) -> None:
    if (state / _MARK).exists():
        return
    if any(state.iterdir()):
        raise LabError(f"{state} is not a lab's directory and not empty; it is left alone")
    (state / _MARK).touch()


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """Holds the lab; the directory is its own lock, so that nothing is left when it goes."""
    while True:
        try:
            state.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = _open_locked(state)
        except FileNotFoundError:  # a `down` removed it between the two
            continue
        if _is_same(handle, state):
            break
        os.close(handle)  # we waited for a directory that is gone by now
    try:
        _claim(state)
        yield
    finally:
        os.close(handle)


def delete(entry: Path) -> None:
    """Removes a file, a link, or a directory with all that is in it."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def clear(state: Path) -> None:
    """Removes everything in it but the mark."""
    for entry in state.iterdir():
        if entry.name != _MARK:
            delete(entry)


def remove(state: Path) -> None:
    """Removes the emptied directory, and the one above it if no other lab is there."""
    (state / _MARK).unlink(missing_ok=True)
    state.rmdir()
    with suppress(OSError):
        state.parent.rmdir()
