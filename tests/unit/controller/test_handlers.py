"""The Kopf shell: what makes its handlers safe."""

import asyncio
import inspect
from typing import Any, cast

from sidecarpolicy.cluster.connection import Connection
from sidecarpolicy.cluster.reflector import WATCH_SECONDS
from sidecarpolicy.controller.handlers import registry, settings
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.core.selection import Exclusions
from tests.support.nodes import node_object


def test_every_handler_is_a_coroutine_because_kopf_runs_functions_in_threads() -> None:
    handlers = registry(cast("Connection", None), Inventory(Exclusions("system")))
    watching: Any = handlers._watching.get_all_handlers()
    functions = [handler.fn for handler in watching]
    assert len(functions) == 4
    assert all(inspect.iscoroutinefunction(each) for each in functions)


def test_kopf_writes_nothing_and_outlives_an_api_server_that_is_away() -> None:
    chosen = settings()
    assert not chosen.posting.enabled
    assert chosen.scanning.disabled
    delays = chosen.networking.error_backoffs
    assert not hasattr(delays, "__len__")


def test_a_list_that_kopf_takes_again_is_told_from_its_first() -> None:
    heard: list[str] = []
    handlers = registry(
        cast("Connection", None),
        Inventory(Exclusions("system")),
        relisted=lambda: heard.append("again"),
    )
    watching: Any = handlers._watching.get_all_handlers()
    (node,) = (each.fn for each in watching if each.fn.__name__ == "node")
    memo: dict[str, Any] = {}
    listed = {"type": None, "object": node_object("1.36.3")}
    asyncio.run(node(event=listed, memo=memo))
    asyncio.run(node(event={**listed, "type": "MODIFIED"}, memo=memo))
    assert heard == []
    asyncio.run(node(event=listed, memo=memo))
    assert heard == ["again"]


def test_a_watch_of_kopf_that_is_silently_dead_is_noticed_as_soon_as_one_of_ours() -> None:
    chosen = settings().watching
    assert chosen.server_timeout == WATCH_SECONDS
    assert chosen.inactivity_timeout < 30
