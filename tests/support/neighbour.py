"""Mutating webhooks of others: small programs that the lab's API server reaches on 127.0.0.1."""

import base64
import json
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from subprocess import Popen
from typing import Any

from aiohttp import web

from lab import Lab
from sidecarpolicy.webhook.pki import Pair
from tests.support.certificates import authority, serving
from tests.support.cluster import ROOT

JSON = dict[str, Any]


def serve(patch: Callable[[JSON], list[JSON]]) -> None:
    """Answers reviews with the patch of each object until it is ended; argv: PORT DIR."""

    async def mutate(request: web.Request) -> web.Response:
        asked = (await request.json())["request"]
        response: JSON = {"uid": asked["uid"], "allowed": True}
        if changes := patch(asked["object"]):
            response["patchType"] = "JSONPatch"
            response["patch"] = base64.b64encode(json.dumps(changes).encode()).decode()
        document = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
        return web.json_response({**document, "response": response})

    port, directory = int(sys.argv[1]), Path(sys.argv[2])
    tls = server_context(directory)
    app = web.Application(client_max_size=1 << 23)
    app.router.add_post("/mutate", mutate)
    web.run_app(app, host="127.0.0.1", port=port, ssl_context=tls, print=None)


@contextmanager
def registered(
    lab: Lab, directory: Path, program: str, *, name: str, port: int, webhook: JSON
) -> Iterator[None]:
    """The program runs, and a configuration of that name has the API server ask it.

    `webhook` says when; it goes with the context, whether or not somebody deleted it before.
    """
    directory.mkdir(exist_ok=True)
    ca = authority(datetime.now(UTC))
    write_pair(serving(ca, datetime.now(UTC), names=("127.0.0.1",)), directory)
    argv = [sys.executable, "-m", program, str(port), str(directory)]
    process = Popen(lab.command(argv), cwd=ROOT)
    made = configuration(name, port, ca, webhook)
    try:
        lab.kubectl("apply", "-f", "-", input=json.dumps(made))
        yield
    finally:
        lab.kubectl("delete", "--ignore-not-found", "mutatingwebhookconfiguration", name)
        process.terminate()
        process.wait(10)


def write_pair(pair: Pair, directory: Path) -> None:
    """Where `server_context` finds it."""
    (directory / "tls.crt").write_bytes(pair.chain_pem)
    (directory / "tls.key").write_bytes(pair.key_pem)


def server_context(directory: Path) -> ssl.SSLContext:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    return tls


def configuration(name: str, port: int, ca: Pair, webhook: JSON) -> JSON:
    """By which the API server asks the program on this port, and trusts certificates of the CA."""
    bundle = base64.b64encode(ca.chain_pem).decode()
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": f"{name}.example.com",
                "admissionReviewVersions": ["v1"],
                "clientConfig": {"url": f"https://127.0.0.1:{port}/mutate", "caBundle": bundle},
                "failurePolicy": "Ignore",
                "sideEffects": "None",
                **webhook,
            }
        ],
    }


def about(group: str, resource: str) -> JSON:
    """A rule: what is created or updated of one kind."""
    return {
        "operations": ["CREATE", "UPDATE"],
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "resources": [resource],
    }


def dry_run_of_pod(lab: Lab, spec: JSON, *flags: str) -> JSON:
    """What the API server and all webhooks make of a new Pod."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": spec}
    create = ("create", *flags, "--dry-run=server", "-o", "json", "-f", "-")
    found: JSON = json.loads(lab.kubectl(*create, input=json.dumps(pod)))
    return found
