"""Kills a controller right after its writes, once after each kind of them, and starts it again."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.audit import OPERATOR, Trail, is_dry_run
from tests.support.replicas import Replica

JSON = dict[str, Any]
_GLANCE = 0.01


class Killer:
    """Follows the audit log. `chapter` tells writes of one kind in several situations apart."""

    def __init__(self, victim: Replica) -> None:
        self._victim = victim
        self._trail = Trail.from_now(victim.process.lab)
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
        return [
            each
            for each in self._trail.news(OPERATOR)
            if each.get("userAgent", "").startswith(OPERATOR)
            and not is_dry_run(each)
            and each["responseStatus"]["code"] < 300
        ]
