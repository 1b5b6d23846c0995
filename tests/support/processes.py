"""Our processes: started, stopped and killed as an operator's Pods would be."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

from lab import Lab
from tests.support.waiting import eventually

CONTROLLER_HEALTH, WEBHOOK_HEALTH = 8080, 8081
"""Ports of health and metrics."""


class Process:
    """`sidecarpolicy COMMAND` inside a lab's network, with the rights of a kubeconfig.

    As a context it ends with it, and shows its log, which pytest prints with a failure.
    """

    def __init__(
        self, lab: Lab, log: Path, command: str, *flags: str, health: int, kubeconfig: Path | None
    ) -> None:
        self.lab = lab
        self.kubeconfig = kubeconfig or lab.kubeconfig
        self._log = log
        self._argv = (sys.executable, "-m", "sidecarpolicy", command, *flags)
        self._health = f"http://127.0.0.1:{health}/readyz"
        self._environment = {"KUBECONFIG": str(self.kubeconfig)}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._log.exists():
            print(self.log())  # noqa: T201

    def start(self, *flags: str, wait: bool = True) -> None:
        argv = [*self._argv, *flags]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.lab.command(argv),
                env=self.lab.environment() | self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if wait:
            eventually(self.ready, seconds=60)

    def reach_by(self, kubeconfig: Path) -> None:
        """From the next start on it takes another way to the API server."""
        self.kubeconfig = kubeconfig
        self._environment["KUBECONFIG"] = str(kubeconfig)

    def ready(self) -> bool:
        assert self.running(), f"the process ended:\n{self.log()}"
        try:
            with self.lab.entered(), urlopen(self._health, timeout=2) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> int:
        """Ends it as Kubernetes does; its exit code."""
        return self._end(signal.SIGTERM)

    def tell(self) -> None:
        """Tells it to end, and does not wait for that."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGTERM)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It hangs while this lasts."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> int:
        """Ends it as a crash does."""
        return self._end(signal.SIGKILL)

    def log(self) -> str:
        return self._log.read_text()

    def _end(self, number: int) -> int:
        if self._process is None:
            return 0
        process, self._process = self._process, None
        if process.poll() is None:
            os.kill(process.pid, number)
        try:
            return process.wait(30)
        finally:
            process.kill()  # it does nothing to one that ended
            process.wait()


class Controller(Process):
    """`sidecarpolicy controller`."""

    def __init__(
        self,
        lab: Lab,
        log: Path,
        *,
        kubeconfig: Path | None = None,
        health: int = CONTROLLER_HEALTH,
    ) -> None:
        listen = ("--listen", f"127.0.0.1:{health}")
        super().__init__(lab, log, "controller", *listen, health=health, kubeconfig=kubeconfig)


class Webhook(Process):
    """`sidecarpolicy webhook`, at the address of URL unless it has another port."""

    URL = "https://127.0.0.1:9443/mutate"

    def __init__(
        self,
        lab: Lab,
        log: Path,
        *,
        kubeconfig: Path | None = None,
        port: int = 9443,
        health: int = WEBHOOK_HEALTH,
        leave_seconds: int = 0,
    ) -> None:
        flags = (
            "--listen", f"127.0.0.1:{port}", "--health", f"127.0.0.1:{health}",
            "--extra-name", "127.0.0.1", "--leave-seconds", str(leave_seconds),
        )  # fmt: skip
        super().__init__(lab, log, "webhook", *flags, health=health, kubeconfig=kubeconfig)


def warnings(log: str) -> Sequence[str]:
    """Messages of a JSON log that are no information."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line["message"] for line in lines if line["levelname"] not in ("INFO", "DEBUG")]
