"""An admission webhook that admits everything, and requests that need it: what certificates
are for, without what the operator decides.
"""

import asyncio
import json
import ssl
import time
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web
from cryptography import x509

from lab import Lab
from sidecarpolicy.cluster.connection import Connection
from tests.support.waiting import soon

JSON = dict[str, Any]
PORT = 9443
_WORKERS = 4


class Clock:
    """Time that a test sets, and that runs on from there at the test's speed."""

    def __init__(self, start: datetime, *, speed: float = 0) -> None:
        self.set(start, speed=speed)

    def set(self, time_: datetime, *, speed: float = 0) -> None:
        self._start, self._speed, self._mark = time_, speed, time.monotonic()

    def __call__(self) -> datetime:
        return self._start + timedelta(seconds=self._speed * (time.monotonic() - self._mark))


def configuration(namespace: str, *, name: str) -> JSON:
    """Two webhooks for ConfigMaps of one namespace; without them no ConfigMap is created."""
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["configmaps"],
        "operations": ["CREATE"],
    }
    webhook = {
        "clientConfig": {"url": f"https://127.0.0.1:{PORT}/review"},
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 5,
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{**webhook, "name": f"{each}.sidecarpolicy.dev"} for each in ("one", "two")],
    }


def bundles(raw: JSON) -> list[tuple[x509.Certificate, ...]]:
    """The CAs that each webhook of a configuration trusts."""
    texts = [b64decode(each["clientConfig"].get("caBundle", "")) for each in raw["webhooks"]]
    return [tuple(x509.load_pem_x509_certificates(text)) if text else () for text in texts]


@asynccontextmanager
async def serving(context: ssl.SSLContext) -> AsyncIterator[None]:
    """A replica of the webhook; several share the port. Every review is a new handshake."""

    async def review(request: web.Request) -> web.Response:
        asked = json.loads(await request.read())
        verdict = {"uid": asked["request"]["uid"], "allowed": True}
        answer = web.json_response({**asked, "request": None, "response": verdict})
        answer.force_close()
        return answer

    app = web.Application()
    app.router.add_post("/review", review)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", PORT, ssl_context=context, reuse_port=True).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def served(context: ssl.SSLContext, host: str) -> x509.Certificate:
    """The certificate that the server presents to a client, who verifies it for this name."""
    _, writer = await asyncio.open_connection("127.0.0.1", PORT, ssl=context, server_hostname=host)
    try:
        presented = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(presented)
    finally:
        writer.close()
        await writer.wait_closed()


class Requests:
    """Dry runs that create ConfigMaps, several at a time, without a pause."""

    def __init__(self, connection: Connection, namespace: str) -> None:
        self._session = connection.session
        self._url = f"{connection.server}/api/v1/namespaces/{namespace}/configmaps"
        self._stopping = False
        self.admitted = 0
        self.failures: list[str] = []

    async def create(self) -> str:
        """Asks once; what went wrong, or nothing."""
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "load-"}}
        async with self._session.post(self._url, json=body, params={"dryRun": "All"}) as answer:
            return "" if answer.status == 201 else await answer.text()

    @asynccontextmanager
    async def constantly(self) -> AsyncIterator[None]:
        """Requests are under way all the time while the context is open."""
        self._stopping = False
        workers = [asyncio.ensure_future(self._work()) for _ in range(_WORKERS)]
        try:
            yield
        finally:
            # Not cancelled: an API server that is left alone with a review keeps its connection.
            self._stopping = True
            await asyncio.wait(workers)

    async def answered(self, count: int) -> None:
        """Returns after so many more requests."""
        wanted = self._count() + count

        async def enough() -> bool:
            return self._count() >= wanted

        await soon(enough)

    def _count(self) -> int:
        return self.admitted + len(self.failures)

    async def _work(self) -> None:
        while not self._stopping:
            failure = await self.create()
            if failure:
                self.failures.append(failure)
            else:
                self.admitted += 1


def remove(lab: Lab, name: str) -> None:
    lab.kubectl("delete", "mutatingwebhookconfiguration", name, "--ignore-not-found")
