"""Kills a controller right after its writes, once after each kind of them, and starts it again."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.cluster import OPERATOR
from tests.support.replicas import Replica

JSON = dict[str, Any]
_GLANCE = 0.01


class Killer:
    """Follows the audit log. `chapter` tells writes of one kind in several situations apart."""

    def __init__(self, victim: Replica) -> None:
        self._victim = victim
        self._log = victim.process.lab.audit_log
        self._read = self._log.stat().st_size
        self._ended = threading.Event()
        self.chapter = ""
        self.killed: list[str] = []

    @contextmanager
    def at_work(self) -> Iterator["Killer"]:
        """It kills while this lasts."""
        thread = threading.Thread(target=self._work, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()

    def _work(self) -> None:
        while not self._ended.wait(_GLANCE):
            self._strike()

    def _strike(self) -> None:
        """Kills it if it wrote something of a kind that it was not killed after yet; of several
        writes the last one counts first.
        """
        for kind in map(self._kind, reversed(self._news())):
            if kind not in self.killed:
                self._victim.process.kill()
                self._victim.start(wait=False)
                self.killed.append(kind)
                return

    def _kind(self, event: JSON) -> str:
        about = event["objectRef"]
        what = "/".join(filter(None, (about["resource"], about.get("subresource"))))
        return " ".join(filter(None, (self.chapter, event["verb"], what)))

    def _news(self) -> list[JSON]:
        """What the operator wrote since the last look."""
        with self._log.open("rb") as file:
            file.seek(self._read)
            lines = file.read()
        whole, _, _ = lines.rpartition(b"\n")
        self._read += len(whole) + 1 if whole else 0
        events = [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]
        return [
            each
            for each in events
            if each.get("userAgent", "").startswith(OPERATOR)
            and "dryRun" not in each.get("requestURI", "")
            and each["responseStatus"]["code"] < 300
        ]
