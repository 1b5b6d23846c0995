"""The Kopf shell: each handler passes an object to the inventory and returns.

Only `on.event` handlers: the others would write annotations or finalizers on the
objects that they watch. Such handlers are never retried, so none of them does work. They
are coroutines: Kopf runs plain functions in threads, and the inventory knows only one.
"""

import itertools
from typing import Any

import kopf

from sidecarpolicy.api import names
from sidecarpolicy.cluster.connection import Connection
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.core.facts import CLUSTER

_RETRY_SECONDS = 5


def registry(connection: Connection, inventory: Inventory) -> kopf.OperatorRegistry:
    """All handlers of the controller, bound to one connection and one inventory."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(
            server=connection.server, aiohttp_session=connection.open_session()
        )

    @kopf.on.event("", "v1", "nodes", registry=handlers)
    async def node(event: kopf.RawEvent, **_: Any) -> None:
        if event["type"] == "DELETED":
            inventory.forget_node(event["object"]["metadata"]["name"])
        else:
            inventory.see_node(event["object"])

    @kopf.on.event("", "v1", "namespaces", registry=handlers)
    async def namespace(event: kopf.RawEvent, **_: Any) -> None:
        if event["type"] == "DELETED":
            inventory.forget_namespace(event["object"]["metadata"]["name"])
        else:
            inventory.see_namespace(event["object"])

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=handlers)
    @kopf.on.event(names.GROUP, names.VERSION, names.CLUSTER_PLURAL, registry=handlers)
    async def policy(event: kopf.RawEvent, **_: Any) -> None:
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
    chosen.watching.inactivity_timeout = 70
    # Without an end: an API server that is away for minutes must not end the process.
    chosen.networking.error_backoffs = _Endless()
    return chosen


class _Endless:
    """An endless series of retry delays; each request iterates it anew."""

    def __iter__(self) -> Any:
        return itertools.chain((1, 1, 2, 3), itertools.repeat(_RETRY_SECONDS))
