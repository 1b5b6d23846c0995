"""The Kopf shell: what makes its handlers safe."""

import inspect
from typing import Any, cast

from sidecarpolicy.cluster.connection import Connection
from sidecarpolicy.controller.handlers import registry, settings
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.core.selection import Exclusions


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
