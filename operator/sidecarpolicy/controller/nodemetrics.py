"""How kubelets' metrics are read, if at all: what the command line chose, made ready for use."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import Connection
from sidecarpolicy.cluster.kubelets import Account, Source, ThroughApiServer, directly
from sidecarpolicy.core.capability import Rules, Strategy


@dataclass(frozen=True)
class NodeMetrics:
    """The way to read them."""

    recheck: float
    """After how many seconds, at most, a kubelet that answered is asked again."""
    account: Account | None = None
    """Whose tokens kubelets get to see; None reads through the API server's proxy instead."""
    ca_file: str | None = None
    """What signed kubelets' certificates; None: the cluster's CA."""


@asynccontextmanager
async def opened(
    connection: Connection, wanted: NodeMetrics | None
) -> AsyncIterator[Source | None]:
    """The source of metrics while the context is open; None if none is wanted."""
    if wanted is None:
        yield None
    elif wanted.account is None:
        yield ThroughApiServer(connection)
    else:
        ca_file = wanted.ca_file or connection.ca_file
        async with directly(Api(connection), wanted.account, ca_file) as source:
            yield source


def effective(rules: Rules, wanted: NodeMetrics | None) -> Rules:
    """Where no metrics are read, nothing that was read earlier counts either."""
    if wanted is not None:
        return rules
    return replace(rules, strategies=rules.strategies - {Strategy.METRICS})
