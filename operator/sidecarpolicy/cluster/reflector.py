"""A reflector: keeps a mirror of one collection by list and watch, whatever the server does.

Kopf's watches forget deletions across a relist (410 Gone) and end the process on
in-stream errors. A reflector relists and *replaces*, so there are no phantoms, and
backs off instead of giving up. Model: client-go's tools/cache Reflector.
"""

import asyncio
import logging
import random
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Generic, Protocol, TypeVar

from aiohttp import ClientError, ClientResponseError, SocketTimeoutError

from sidecarpolicy.cluster.api import PAGE, Api
from sidecarpolicy.cluster.resources import Resource

log = logging.getLogger(__name__)

_FIRST_BACKOFF = 0.5
_LAST_BACKOFF = 8.0
_WATCH_SECONDS = 290

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


class _ExpiredError(Exception):
    """The watch cannot be continued from where it was; list again."""


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
        self.heard = time.monotonic()
        """When the API server was last heard of, by a list, an event or a bookmark."""
        self.listed = asyncio.Event()
        """Set once the collection has been seen as a whole."""

    async def run(self) -> None:
        """Lists and watches, again and again; a failure waits longer each time."""
        while True:
            try:
                await self._list_and_watch()
            except _ExpiredError as error:
                log.info("%s: listing again: %s", self._resource.plural, error)
                self._version = None
            except SocketTimeoutError:
                # Not even a bookmark, which an idle API server sometimes is late with.
                log.info("%s: the watch was silent for long; watching anew", self._resource.plural)
            except (ClientError, TimeoutError, OSError, ValueError) as error:
                reason = str(error) or type(error).__name__
                log.warning("%s: watch interrupted: %s", self._resource.plural, reason)
            await asyncio.sleep(self._backoff * random.uniform(0.5, 1.0))
            self._backoff = min(self._backoff * 2, _LAST_BACKOFF)

    async def _list_and_watch(self) -> None:
        if self._version is None:
            listed = await self._api.list_all(
                self._resource,
                keep=self._mirror.facts,
                labels=self._labels,
                fields=self._fields,
                page=self._page,
            )
            if not listed.done:
                raise _ExpiredError(listed.message)
            self._mirror.replace(listed.items)
            self._version = str(listed.body["metadata"]["resourceVersion"])
            self.heard = time.monotonic()
            self.listed.set()
        try:
            await self._watch(self._version)
        except ClientResponseError as error:
            if error.status == HTTPStatus.GONE:
                raise _ExpiredError(str(error)) from error
            raise

    async def _watch(self, since: str) -> None:
        events = self._api.watch(
            self._resource,
            since=since,
            seconds=_WATCH_SECONDS,
            labels=self._labels,
            fields=self._fields,
        )
        async for event in events:
            obj = event["object"]
            if event["type"] == "ERROR":
                raise _in_stream(obj)
            self.heard = time.monotonic()
            self._version = str(obj["metadata"]["resourceVersion"])
            self._backoff = _FIRST_BACKOFF
            if event["type"] == "DELETED":
                self._mirror.forget(self._mirror.facts(obj))
            elif event["type"] != "BOOKMARK":
                self._mirror.store(self._mirror.facts(obj))


def _in_stream(status: RawObject) -> Exception:
    """The error that a status in the stream stands for; only 410 asks for a new list."""
    message = f"{status.get('message')} (HTTP {status.get('code')})"
    gone = status.get("code") == HTTPStatus.GONE
    return _ExpiredError(message) if gone else TimeoutError(message)
