"""The few calls the lab itself makes to its API server; others bring a real client."""

import http.client
import json
import ssl
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from lab import namespace
from lab.errors import LabError
from lab.layout import Layout


@dataclass(frozen=True)
class Response:
    """Status 0 stands for no answer at all."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


def _connect(layout: Layout) -> http.client.HTTPSConnection:
    context = ssl.create_default_context(cafile=str(layout.pki / "ca.crt"))
    context.load_cert_chain(layout.pki / "admin.crt", layout.pki / "admin.key")
    connection = http.client.HTTPSConnection("127.0.0.1", 443, timeout=10, context=context)
    with namespace.entered(layout.namespace_path):
        connection.connect()  # the socket stays in the namespace when we leave it
    return connection


def _send(connection: http.client.HTTPSConnection, method: str, path: str, body: Any) -> Response:
    data = None if body is None else json.dumps(body).encode()
    connection.request(method, path, data, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return Response(answer.status, answer.read())


def request(layout: Layout, method: str, path: str, body: Any = None) -> Response:
    """One call as administrator; no answer is a value too."""
    try:
        with closing(_connect(layout)) as connection:
            return _send(connection, method, path, body)
    except (OSError, http.client.HTTPException) as error:
        return Response(0, str(error).encode())


def create_all(layout: Layout, path: str, objects: list[dict[str, Any]]) -> None:
    """Creates many objects over one connection; those that exist already stay as they are."""
    try:
        with closing(_connect(layout)) as connection:
            for item in objects:
                answer = _send(connection, "POST", path, item)
                if answer.status not in {201, 409}:
                    name = item["metadata"]["name"]
                    raise LabError(f"creating {name}: {answer.status} {answer.body.decode()}")
    except (OSError, http.client.HTTPException) as error:
        raise LabError(f"no answer from the API server: {error}") from error


def wait_until(what: str, done: Callable[[], bool], *, seconds: float) -> None:
    """Polls; an error that names what did not come about in time."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)
