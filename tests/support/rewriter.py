"""Somebody who changes one object all the time, as fast as the API server takes it."""

import asyncio
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lab import Lab
from sidecarpolicy.cluster.connection import connect

JSON = dict[str, Any]


class Writer:
    """Merge patches, one after the other; `written` counts those that were taken."""

    def __init__(self, lab: Lab, path: str, change: Callable[[int], JSON]) -> None:
        """`change` makes the patch of each turn; `path` is the object's in the URL."""
        self._lab = lab
        self._path = path
        self._change = change
        self._ended = threading.Event()
        self.written = 0

    @contextmanager
    def at_work(self) -> Iterator["Writer"]:
        """It writes while this lasts."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()

    def _run(self) -> None:
        with self._lab.entered():
            asyncio.run(self._write())

    async def _write(self) -> None:
        headers = {"Content-Type": "application/merge-patch+json", "User-Agent": "writer"}
        async with connect(str(self._lab.kubeconfig)) as connection:
            url = f"{connection.server}{self._path}?fieldManager=writer"
            for turn in itertools.takewhile(lambda _: not self._ended.is_set(), itertools.count()):
                data = json.dumps(self._change(turn)).encode()
                async with connection.session.patch(url, data=data, headers=headers) as answer:
                    self.written += answer.status == 200
                await asyncio.sleep(0.05)
