"""A reflector: keeps a mirror of one collection by list and watch, whatever the server does.

Kopf's watches forget deletions across a relist (410 Gone) and end the process on
in-stream errors. A reflector relists and *replaces*, so there are no phantoms, and
backs off instead of giving up. Model: client-go's tools/cache Reflector.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Generic, Protocol, TypeVar

from aiohttp import ClientError, ClientResponseError, SocketTimeoutError

from sidecarpolicy.cluster.api import PAGE, Api, retry_after
from sidecarpolicy.cluster.resources import Resource

log = logging.getLogger(__name__)

_FIRST_BACKOFF = 0.5
_LAST_BACKOFF = 8.0
_SHORTEST = 1.0
_REFUSALS = 3
"""So many refusals in a row, and the collection is listed anew: it is the version that is wrong."""
WATCH_SECONDS = 20
"""A watch is ended by the server so soon, after a bookmark (cacher.go: two seconds before). One
that is not was cut off somewhere on the way, which nothing else tells: bookmarks alone come once
a minute or later, too late to be missed within half a minute.
"""

RawObject = dict[str, Any]
Fact = TypeVar("Fact")


class Mirror(Protocol[Fact]):
    """Where a reflector reports what it saw; raw objects are not kept."""

    def facts(self, obj: RawObject) -> Fact:
        """What is kept of a raw object."""

    def replace(self, facts: Iterable[Fact]) -> None:
        """The complete collection, as listed just now."""

    def store(self, fact: Fact) -> None:
        """One object, added or changed."""

    def forget(self, fact: Fact) -> None:
        """One object, deleted."""


class _InterruptedError(Exception):
    """The watch ended before its time. `expired`: it cannot be continued from where it was;
    `after`: for how many seconds the server wants to be left alone.
    """

    def __init__(self, message: str, *, expired: bool = False, after: float = 0.0) -> None:
        super().__init__(message)
        self.expired = expired
        self.after = after


class Reflector(Generic[Fact]):
    """Mirrors one collection; `run` goes on for ever, cancel its task to end it."""

    def __init__(
        self,
        api: Api,
        resource: Resource,
        mirror: Mirror[Fact],
        *,
        labels: str = "",
        fields: str = "",
        page: int = PAGE,
    ) -> None:
        """`labels` and `fields` are selectors: the API server sends only what they match.

        `page` is how many objects are listed at a time, and in memory as a whole meanwhile.
        """
        self._api = api
        self._resource = resource
        self._labels, self._fields, self._page = labels, fields, page
        self._mirror = mirror
        self._version: str | None = None
        self._backoff = _FIRST_BACKOFF
        self._refusals = 0
        self.heard = time.monotonic()
        """When the API server was last heard of, by a list, an event or the end of a watch."""
        self.listed = asyncio.Event()
        """Set once the collection has been seen as a whole."""
        self.relisted: Callable[[], None] = lambda: None
        """Called when it had to be listed again: watches of others may have missed things, too."""

    async def run(self) -> None:
        """Lists and watches, again and again; a failure waits longer each time."""
        while True:
            start = time.monotonic()
            try:
                await self._list_and_watch()
            except (_InterruptedError, ClientError, TimeoutError, OSError, ValueError) as error:
                wait = self._rest(error)
            else:
                # A server that is going down ends each watch as soon as it is opened.
                short = time.monotonic() - start < _SHORTEST
                wait = self._longer() if short else self._alive()
            await asyncio.sleep(wait)

    def _alive(self) -> float:
        """The server was heard; there is nothing to wait for."""
        self.heard = time.monotonic()
        self._backoff, self._refusals = _FIRST_BACKOFF, 0
        return 0.0

    def _longer(self) -> float:
        """For how many seconds to do nothing; longer each time."""
        wait = self._backoff * random.uniform(0.5, 1.0)
        self._backoff = min(self._backoff * 2, _LAST_BACKOFF)
        return wait

    def _rest(self, error: Exception) -> float:
        """For how many seconds to do nothing after a failure."""
        plural = self._resource.plural
        if isinstance(error, SocketTimeoutError):
            log.info("%s: the watch is dead; watching anew", plural)
            return 0.0
        if not isinstance(error, _InterruptedError):
            log.warning("%s: watch interrupted: %s", plural, str(error) or type(error).__name__)
            return self._longer()
        self._refusals += 1
        if error.expired or self._refusals == _REFUSALS:
            log.info("%s: listing again: %s", plural, error)
            self._version, self._refusals = None, 0
        else:
            log.warning("%s: watch interrupted: %s", plural, error)
        return max(self._longer(), error.after * random.uniform(1.0, 1.25))

    async def _list_and_watch(self) -> None:
        if self._version is None:
            self._version = await self._list()
        try:
            await self._watch(self._version)
        except ClientResponseError as error:
            expired = error.status == HTTPStatus.GONE
            after = retry_after(error.headers or {})
            raise _InterruptedError(str(error), expired=expired, after=after) from error

    async def _list(self) -> str:
        listed = await self._api.list_all(
            self._resource,
            keep=self._mirror.facts,
            labels=self._labels,
            fields=self._fields,
            page=self._page,
        )
        if not listed.done:
            raise _InterruptedError(listed.message, expired=True, after=listed.retry_after)
        self._mirror.replace(listed.items)
        if self.listed.is_set():
            self.relisted()
        self.heard = time.monotonic()
        self.listed.set()
        return str(listed.body["metadata"]["resourceVersion"])

    async def _watch(self, since: str) -> None:
        events = self._api.watch(
            self._resource,
            since=since,
            seconds=WATCH_SECONDS,
            labels=self._labels,
            fields=self._fields,
        )
        async for event in events:
            obj = event["object"]
            if event["type"] == "ERROR":
                raise _in_stream(obj)
            self._alive()
            self._version = str(obj["metadata"]["resourceVersion"])
            if event["type"] == "DELETED":
                self._mirror.forget(self._mirror.facts(obj))
            elif event["type"] != "BOOKMARK":
                self._mirror.store(self._mirror.facts(obj))


def _in_stream(status: RawObject) -> _InterruptedError:
    """The error that a status in the stream stands for; only 410 asks for a new list."""
    message = f"{status.get('message')} (HTTP {status.get('code')})"
    after = float((status.get("details") or {}).get("retryAfterSeconds") or 0)
    return _InterruptedError(message, expired=status.get("code") == HTTPStatus.GONE, after=after)
