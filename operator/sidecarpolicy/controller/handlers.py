"""The Kopf shell: each handler passes an object to the inventory and returns.

Only `on.event` handlers: the others would write annotations or finalizers on the
objects that they watch. Such handlers are never retried, so none of them does work. They
are coroutines: Kopf runs plain functions in threads, and the inventory knows only one.

An event without a type is an object that Kopf listed. If it was seen before, Kopf lists again,
which it does after 410 Gone, and then it says nothing of what was deleted meanwhile.
"""

import itertools
import random
from collections.abc import Callable
from typing import Any

import kopf

from sidecarpolicy.api import names
from sidecarpolicy.cluster.connection import Connection
from sidecarpolicy.cluster.reflector import WATCH_SECONDS
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.core.facts import CLUSTER

_GRACE_SECONDS = 5
_DELAYS = (1, 1, 2, 3)
_LAST_DELAY = 5


def registry(
    connection: Connection, inventory: Inventory, relisted: Callable[[], None] = lambda: None
) -> kopf.OperatorRegistry:
    """All handlers of the controller, bound to one connection and one inventory.

    `relisted` is called for each object that Kopf lists again.
    """
    handlers = kopf.OperatorRegistry()

    def heard(event: kopf.RawEvent, memo: Any) -> None:
        if event["type"] is None and memo.get("seen"):
            relisted()
        memo["seen"] = True

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(
            server=connection.server, aiohttp_session=connection.open_session()
        )

    @kopf.on.event("", "v1", "nodes", registry=handlers)
    async def node(event: kopf.RawEvent, memo: Any, **_: Any) -> None:
        heard(event, memo)
        if event["type"] == "DELETED":
            inventory.forget_node(event["object"]["metadata"]["name"])
        else:
            inventory.see_node(event["object"])

    @kopf.on.event("", "v1", "namespaces", registry=handlers)
    async def namespace(event: kopf.RawEvent, memo: Any, **_: Any) -> None:
        heard(event, memo)
        if event["type"] == "DELETED":
            inventory.forget_namespace(event["object"]["metadata"]["name"])
        else:
            inventory.see_namespace(event["object"])

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=handlers)
    @kopf.on.event(names.GROUP, names.VERSION, names.CLUSTER_PLURAL, registry=handlers)
    async def policy(event: kopf.RawEvent, memo: Any, **_: Any) -> None:
        heard(event, memo)
        meta = event["object"]["metadata"]
        if event["type"] == "DELETED":
            inventory.forget_policy(meta.get("namespace", CLUSTER), meta["name"])
        else:
            inventory.see_policy(event["object"])

    return handlers


def settings() -> kopf.OperatorSettings:
    """Kopf's settings: nothing is written, nothing is scanned, the network may be away."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    # As in our own reflectors: a watch that is not ended by the server in time is dead.
    chosen.watching.server_timeout = WATCH_SECONDS
    chosen.watching.inactivity_timeout = WATCH_SECONDS + _GRACE_SECONDS
    chosen.networking.connect_timeout = 5
    chosen.networking.request_timeout = 60
    # Without an end: an API server that is away for minutes must not end the process.
    chosen.networking.error_backoffs = _Endless()
    return chosen


class _Endless:
    """An endless series of retry delays with jitter; each request iterates it anew."""

    def __iter__(self) -> Any:
        delays = itertools.chain(_DELAYS, itertools.repeat(_LAST_DELAY))
        return (delay * random.uniform(0.5, 1.0) for delay in delays)
