"""The arms as processes: started with a certificate, looked at in /proc, ended."""

import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sidecarpolicy.webhook.pki import issue, new_authority

_START_SECONDS = 30.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Arm:
    """A program that is serving."""

    name: str
    port: int
    pid: int

    def cpu(self) -> float:
        """Seconds of CPU so far, user and system; in steps of 10 ms."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident(self) -> float:
        """Resident memory in MiB."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        kib = next(line.split()[1] for line in lines if line.startswith("VmRSS:"))
        return int(kib) / 1024


def certificates(directory: Path) -> ssl.SSLContext:
    """Writes tls.crt and tls.key for 127.0.0.1; what trusts them."""
    now, life = datetime.now(UTC), timedelta(days=1)
    authority = new_authority(now=now, life=life)
    pair = issue(authority, ["127.0.0.1"], now=now, life=life)
    (directory / "tls.crt").write_bytes(pair.chain_pem)
    (directory / "tls.key").write_bytes(pair.key_pem)
    return ssl.create_default_context(cadata=authority.chain_pem.decode())


@contextmanager
def serving(names: Iterable[str], directory: Path) -> Iterator[dict[str, Arm]]:
    """All arms at the same time; the one that is not fed sleeps."""
    with ExitStack() as stack:
        arms = {name: stack.enter_context(_running(name, directory)) for name in names}
        for arm in arms.values():
            _await_port(arm)
        yield arms


@contextmanager
def _running(name: str, directory: Path) -> Iterator[Arm]:
    port = _free_port()
    command = [sys.executable, "-m", "bench.arms", name, str(port), str(directory)]
    process = subprocess.Popen(command)
    try:
        yield Arm(name, port, process.pid)
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _await_port(arm: Arm) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", arm.port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
