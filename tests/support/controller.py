"""The controller as a process: started, stopped and killed as an operator's Pod would be."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from lab import Lab
from tests.support.waiting import eventually

PORT = 8080
_READY = f"http://127.0.0.1:{PORT}/readyz"


class Controller:
    """`sidecarpolicy controller` inside a lab's network."""

    def __init__(self, lab: Lab, log: Path) -> None:
        self._lab = lab
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *flags: str, wait: bool = True) -> None:
        argv = [
            sys.executable, "-m", "sidecarpolicy", "controller",
            "--listen", f"127.0.0.1:{PORT}", *flags,
        ]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._lab.command(argv), env=self._lab.environment(), stderr=log
            )
        if wait:
            eventually(self.ready, seconds=60)

    def ready(self) -> bool:
        assert self.running(), f"the controller ended:\n{self.log()}"
        try:
            with (
                self._lab.entered(),
                urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=2) as answer,
            ):
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> int:
        """Ends it as Kubernetes does; its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """Ends it as a crash does."""
        return self._end(signal.SIGKILL)

    def log(self) -> str:
        return self._log.read_text()

    def _end(self, number: int) -> int:
        if self._process is None:
            return 0
        if self._process.poll() is None:
            os.kill(self._process.pid, number)
        code = self._process.wait(30)
        self._process = None
        return code


def warnings(log: str) -> Sequence[str]:
    """Messages of a JSON log that are no information."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line["message"] for line in lines if line["levelname"] not in ("INFO", "DEBUG")]
