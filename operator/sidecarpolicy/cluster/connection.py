"""One authenticated HTTP session to the API server, from a kubeconfig or the Pod's own account.

Raw JSON in and out: the client library's models drop fields that they do not know,
which is the very bug that strips `restartPolicy`. The library finds the server,
certificates and credentials; requests go through aiohttp.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, ClientSession, TCPConnector
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import (
    ConfigException,
    list_kube_config_contexts,
    load_incluster_config,
    load_kube_config,
)

from sidecarpolicy.api.names import FIELD_MANAGER
from sidecarpolicy.cluster.fence import fencing

MAX_CONNECTIONS = 64
_DEFAULT_NAMESPACE = "default"


class NoClusterError(Exception):
    """No way to reach a cluster was found; the text says what to do."""


@dataclass(frozen=True)
class Connection:
    """The server's address, our session to it, and a way to open more of them."""

    server: str
    session: ClientSession
    open_session: Callable[[], ClientSession]
    """For Kopf, which closes the sessions that it is given whenever it logs in again."""
    ca_file: str | None = None
    """The cluster's CA, where the credentials name one."""


@asynccontextmanager
async def connect(kubeconfig: str | None = None) -> AsyncIterator[Connection]:
    """Opens a session: `kubeconfig`, else $KUBECONFIG, else in-cluster, else ~/.kube/config."""
    configuration = await _configuration(kubeconfig)
    tls = RESTClientObject(configuration).ssl_context

    def open_session() -> ClientSession:
        return ClientSession(
            connector=TCPConnector(ssl=tls, limit=MAX_CONNECTIONS),
            headers={"User-Agent": FIELD_MANAGER, "Accept": "application/json"},
            middlewares=(_Credentials(configuration),),
            trace_configs=[fencing()],
            trust_env=True,
            read_bufsize=2**21,
        )

    async with open_session() as session:
        yield Connection(configuration.host, session, open_session, configuration.ssl_ca_cert)


async def _configuration(kubeconfig: str | None) -> Configuration:
    configuration = Configuration()
    path = kubeconfig or os.environ.get("KUBECONFIG")
    try:
        if path is None and "KUBERNETES_SERVICE_HOST" in os.environ:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await load_kube_config(  # type: ignore[no-untyped-call]
                config_file=path, client_configuration=configuration
            )
    except ConfigException as error:
        raise NoClusterError(
            f"no cluster to connect to: {error}; pass --kubeconfig or set KUBECONFIG"
        ) from error
    return configuration


def current_namespace(kubeconfig: str | None = None) -> str:
    """The namespace of the current context, as kubectl takes it; "default" where none is set."""
    try:
        _, current = list_kube_config_contexts(  # type: ignore[no-untyped-call]
            config_file=kubeconfig or os.environ.get("KUBECONFIG")
        )
    except ConfigException:
        return _DEFAULT_NAMESPACE
    return str((current["context"] or {}).get("namespace") or _DEFAULT_NAMESPACE)


class _Credentials:
    """Adds the current token to each request; ServiceAccount tokens rotate."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        token = await self._configuration.get_api_key_with_prefix("BearerToken")
        if token:
            request.headers["Authorization"] = token
        return await handler(request)
