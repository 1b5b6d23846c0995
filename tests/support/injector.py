"""Another injector, as service meshes have one: a program that adds a sidecar of its own.

It puts a native sidecar before all init containers of what it has not seen yet. The lab's
API server reaches it on 127.0.0.1; run it as `python -m tests.support.injector PORT DIR`.
"""

import base64
import json
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from subprocess import Popen
from typing import Any

from aiohttp import web

from lab import Lab
from tests.support.certificates import authority, serving
from tests.support.cluster import ROOT
from tests.support.waiting import eventually

JSON = dict[str, Any]
MESH = {"name": "mesh", "image": "lab.local/busybox:1", "restartPolicy": "Always"}
_PORT = 9555


async def mutate(request: web.Request) -> web.Response:
    """Adds the sidecar unless it is there."""
    asked = (await request.json())["request"]
    response: JSON = {"uid": asked["uid"], "allowed": True}
    if patch := _patch(asked["object"]):
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(json.dumps(patch).encode()).decode()
    document = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    return web.json_response({**document, "response": response})


def _patch(obj: JSON) -> list[JSON]:
    path, spec = "/spec/template/spec", obj["spec"].get("template", {}).get("spec")
    if spec is None:
        path, spec = "/spec", obj["spec"]
    present = spec.get("initContainers", [])
    if any(each["name"] == MESH["name"] for each in present):
        return []
    return [{"op": "add", "path": f"{path}/initContainers", "value": [MESH, *present]}]


def main() -> None:
    """Serves until it is ended."""
    port, directory = int(sys.argv[1]), Path(sys.argv[2])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    app = web.Application(client_max_size=1 << 23)
    app.router.add_post("/mutate", mutate)
    web.run_app(app, host="127.0.0.1", port=port, ssl_context=tls, print=None)


@contextmanager
def registered(lab: Lab, directory: Path, *, name: str, reinvocation: str) -> Iterator[None]:
    """It runs, and the API server asks it about Deployments and Pods, in the order of names."""
    ca = authority(datetime.now(UTC))
    pair = serving(ca, datetime.now(UTC), names=("127.0.0.1",))
    (directory / "tls.crt").write_bytes(pair.chain_pem)
    (directory / "tls.key").write_bytes(pair.key_pem)
    argv = [sys.executable, "-m", "tests.support.injector", str(_PORT), str(directory)]
    process = Popen(lab.command(argv), cwd=ROOT)
    bundle = base64.b64encode(ca.chain_pem).decode()
    made = _configuration(name, reinvocation, bundle)
    try:
        lab.kubectl("apply", "-f", "-", input=json.dumps(made))
        probe = {"containers": [{"name": "x", "image": "x"}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": probe}
        create = ("create", "--dry-run=server", "-o", "json", "-f", "-")
        eventually(lambda: '"mesh"' in lab.kubectl(*create, input=json.dumps(pod)))
        yield
    finally:
        lab.kubectl("delete", "mutatingwebhookconfiguration", name)
        process.terminate()
        process.wait(10)


def _configuration(name: str, reinvocation: str, bundle: str) -> JSON:
    def rule(group: str, resource: str) -> JSON:
        return {
            "operations": ["CREATE", "UPDATE"],
            "apiGroups": [group],
            "apiVersions": ["v1"],
            "resources": [resource],
        }

    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": "mesh.example.com",
                "admissionReviewVersions": ["v1"],
                "clientConfig": {"url": f"https://127.0.0.1:{_PORT}/mutate", "caBundle": bundle},
                "failurePolicy": "Ignore",
                "sideEffects": "None",
                "reinvocationPolicy": reinvocation,
                "rules": [rule("apps", "deployments"), rule("", "pods")],
                "namespaceSelector": {
                    "matchExpressions": [
                        {
                            "key": "kubernetes.io/metadata.name",
                            "operator": "NotIn",
                            "values": ["kube-system", "sidecarpolicy-system"],
                        }
                    ]
                },
            }
        ],
    }


if __name__ == "__main__":
    main()
