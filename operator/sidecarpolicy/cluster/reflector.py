"""A reflector: keeps a mirror of one collection by list and watch, whatever the server does.

Kopf's watches forget deletions across a relist (410 Gone) and end the process on
in-stream errors. A reflector relists and *replaces*, so there are no phantoms, and
backs off instead of giving up. Model: client-go's tools/cache Reflector.
"""

import asyncio
import logging
import random
from collections.abc import Iterable
from typing import Any, Protocol

from aiohttp import ClientError, ClientResponseError

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.resources import Resource

log = logging.getLogger(__name__)

_FIRST_BACKOFF = 0.5
_LAST_BACKOFF = 8.0
_WATCH_SECONDS = 290

RawObject = dict[str, Any]


class Mirror(Protocol):
    """Where a reflector reports what it saw."""

    def replace(self, objects: Iterable[RawObject]) -> None:
        """The complete collection, as listed just now."""

    def store(self, obj: RawObject) -> None:
        """One object, added or changed."""

    def forget(self, obj: RawObject) -> None:
        """One object, deleted."""


class _ExpiredError(Exception):
    """The watch cannot be continued from where it was; list again."""


class Reflector:
    """Mirrors one collection; `run` goes on for ever, cancel its task to end it."""

    def __init__(self, api: Api, resource: Resource, mirror: Mirror) -> None:
        self._api = api
        self._resource = resource
        self._mirror = mirror
        self._version: str | None = None
        self._backoff = _FIRST_BACKOFF
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
            except (ClientError, TimeoutError, OSError, ValueError) as error:
                reason = str(error) or type(error).__name__
                log.warning("%s: watch interrupted: %s", self._resource.plural, reason)
            await asyncio.sleep(self._backoff * random.uniform(0.5, 1.0))
            self._backoff = min(self._backoff * 2, _LAST_BACKOFF)

    async def _list_and_watch(self) -> None:
        if self._version is None:
            listed = await self._api.list_all(self._resource)
            if not listed.done:
                raise _ExpiredError(listed.message)
            self._mirror.replace(listed.body["items"])
            self._version = str(listed.body["metadata"]["resourceVersion"])
            self.listed.set()
            self._backoff = _FIRST_BACKOFF
        try:
            await self._watch(self._version)
        except ClientResponseError as error:
            raise _ExpiredError(str(error)) from error

    async def _watch(self, since: str) -> None:
        async for event in self._api.watch(self._resource, since=since, seconds=_WATCH_SECONDS):
            obj = event["object"]
            if event["type"] == "ERROR":
                raise _ExpiredError(str(obj.get("message")))
            self._version = str(obj["metadata"]["resourceVersion"])
            self._backoff = _FIRST_BACKOFF
            if event["type"] == "DELETED":
                self._mirror.forget(obj)
            elif event["type"] != "BOOKMARK":
                self._mirror.store(obj)
