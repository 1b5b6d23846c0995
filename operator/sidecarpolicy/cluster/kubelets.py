"""Reads one number from kubelets' metrics: is the feature gate on?

Two ways: directly, verified by TLS and with a token of a ServiceAccount that can do nothing
else, or through the API server's proxy. An answer is a value, also where there is none; its
words are the same each time, for they end up in an annotation.
"""

import asyncio
import math
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Protocol
from urllib.parse import quote

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)

from sidecarpolicy.api.names import FIELD_MANAGER
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import Connection
from sidecarpolicy.core.featuregate import FAMILY, Gate, gate_in

TIMEOUT_SECONDS = 5
MAX_BYTES = 4 << 20
"""A kubelet's metrics are a few hundred kilobytes; more than this is not read."""

TOKEN_SECONDS = 600
"""How long a token is asked for: the shortest time that the API server grants."""

_TIMEOUT = ClientTimeout(total=TIMEOUT_SECONDS, sock_connect=2)
_RETRY_SECONDS = 15.0
"""How long a refusal to issue a token stands, whoever asks."""

_HEADERS = {"Accept": "text/plain", "Accept-Encoding": "identity"}


@dataclass(frozen=True)
class Target:
    """A node's kubelet."""

    name: str
    address: str
    port: int


@dataclass(frozen=True)
class Answer:
    """The gate's value, or why there is none."""

    gate: Gate | None = None
    problem: str = ""


class Source(Protocol):
    """A way to read a kubelet's metrics."""

    async def read(self, target: Target) -> Answer:
        """Asks once, within TIMEOUT_SECONDS; raises nothing."""


class ThroughApiServer:
    """`GET /api/v1/nodes/NAME/proxy/metrics`, which takes the right to get `nodes/proxy`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def read(self, target: Target) -> Answer:
        """Asks the API server to ask the kubelet."""
        name = quote(target.name, safe="")
        url = f"{self._connection.server}/api/v1/nodes/{name}/proxy/metrics"
        return await _asked(
            self._connection.session.get(
                url, headers=_HEADERS, timeout=_TIMEOUT, allow_redirects=False
            )
        )


@dataclass(frozen=True)
class Account:
    """The ServiceAccount whose tokens kubelets get to see."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Direct:
    """`GET https://ADDRESS:PORT/metrics`. Our own credentials are not in this session."""

    def __init__(self, session: ClientSession, tokens: "Tokens") -> None:
        self._session = session
        self._tokens = tokens

    async def read(self, target: Target) -> Answer:
        """Asks the kubelet, if it proves by its certificate to be at that address."""
        url = _address(target)
        if url is None:
            return Answer(problem="the node has no usable InternalIP")
        token = await self._tokens.current()
        if not token.text:
            return Answer(problem=token.problem)
        headers = {**_HEADERS, "Authorization": f"Bearer {token.text}"}
        # A redirect would carry the token on to wherever it points.
        answer = await _asked(self._session.get(url, headers=headers, allow_redirects=False))
        if answer.problem.startswith("HTTP 401"):
            self._tokens.doubt(token)
        return answer


def _address(target: Target) -> str | None:
    """Where its metrics are; None for an address that is none, which a Node may carry too."""
    try:
        host = ip_address(target.address)
    except ValueError:
        return None
    shown = f"[{host}]" if isinstance(host, IPv6Address) else str(host)
    return f"https://{shown}:{target.port}/metrics"


@asynccontextmanager
async def directly(api: Api, account: Account, ca_file: str | None) -> AsyncIterator[Direct]:
    """Opens a session for kubelets whose certificates `ca_file` signed; None: the system's CAs."""
    tls = ssl.create_default_context(cafile=ca_file)
    async with ClientSession(
        # Each is asked rarely, so no connection is worth keeping.
        connector=TCPConnector(ssl=tls, limit=0, force_close=True),
        headers={"User-Agent": FIELD_MANAGER},
        cookie_jar=DummyCookieJar(),
        timeout=_TIMEOUT,
        trust_env=False,  # a proxy is no node
    ) as session:
        yield Direct(session, Tokens(api, account))


@dataclass(frozen=True)
class Token:
    """A token, or why there is none, and until when that holds, in monotonic seconds."""

    text: str = field(default="", repr=False)
    problem: str = ""
    until: float = -math.inf


class Tokens:
    """Short-lived tokens of one ServiceAccount, by TokenRequest; asked for once for all."""

    def __init__(
        self, api: Api, account: Account, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self._account = account
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token = Token()
        self._asked = -_RETRY_SECONDS

    async def current(self) -> Token:
        """A token that is good for some minutes, or the reason why there is none."""
        async with self._lock:
            if self._clock() >= self._token.until:
                self._token = await self._request()
            return self._token

    def doubt(self, token: Token) -> None:
        """Notes that somebody did not take it: another is asked for, though not each time."""
        if token is self._token and self._clock() > self._asked + _RETRY_SECONDS:
            self._token = Token()

    async def _request(self) -> Token:
        self._asked = now = self._clock()
        outcome = await self._api.request_token(
            namespace=self._account.namespace, name=self._account.name, seconds=TOKEN_SECONDS
        )
        text = (outcome.body.get("status") or {}).get("token")
        if not outcome.done or not text:
            problem = f"no token of ServiceAccount {self._account}: {outcome.message}"
            return Token(problem=problem, until=now + _RETRY_SECONDS)
        granted = (outcome.body.get("spec") or {}).get("expirationSeconds") or TOKEN_SECONDS
        return Token(text, until=now + 0.7 * float(granted))


async def _asked(request: AbstractAsyncContextManager[ClientResponse]) -> Answer:
    """Sends the request and reads the answer; what goes wrong is one too."""
    try:
        async with request as response:
            if response.status != 200:
                return Answer(problem=_REFUSALS.get(response.status, f"HTTP {response.status}"))
            return await _gate(response)
    except ClientConnectorCertificateError as error:
        return Answer(problem=f"its certificate is not trusted: {_verification(error)}")
    except ClientConnectorError as error:
        return Answer(problem=f"no connection: {error.os_error.strerror or 'refused'}")
    except TimeoutError:
        return Answer(problem=f"no answer within {TIMEOUT_SECONDS} s")
    except (ClientError, OSError) as error:
        return Answer(problem=f"no answer: {type(error).__name__}")


_REFUSALS = {
    401: "HTTP 401: it does not take the token",
    403: "HTTP 403: the right to read its metrics is missing",
}


def _verification(error: ClientConnectorCertificateError) -> str:
    cause = error.certificate_error
    return getattr(cause, "verify_message", "") or type(cause).__name__


async def _gate(response: ClientResponse) -> Answer:
    """Reads until the line is found, and no more than MAX_BYTES."""
    rest, size = b"", 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        if (found := _first(lines)) is not None:
            return Answer(found)
        if size > MAX_BYTES:
            return Answer(problem=f"its metrics are larger than {MAX_BYTES >> 20} MiB")
    return Answer(_first([rest]) or Gate.ABSENT)


def _first(lines: Iterable[bytes]) -> Gate | None:
    gates = (gate_in(line) for line in lines if line.startswith(FAMILY))
    return next((each for each in gates if each is not None), None)
