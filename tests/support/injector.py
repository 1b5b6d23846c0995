"""Another injector, as service meshes have one: a program that adds a sidecar of its own.

It puts a native sidecar before all init containers of what it has not seen yet. Run it as
`python -m tests.support.injector PORT DIR`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab import Lab
from tests.support import neighbour
from tests.support.waiting import eventually

JSON = dict[str, Any]
MESH = {"name": "mesh", "image": "lab.local/busybox:1", "restartPolicy": "Always"}
_PORT = 9555


def patch(obj: JSON) -> list[JSON]:
    """Adds the sidecar unless it is there."""
    path, spec = "/spec/template/spec", obj["spec"].get("template", {}).get("spec")
    if spec is None:
        path, spec = "/spec", obj["spec"]
    present = spec.get("initContainers", [])
    if any(each["name"] == MESH["name"] for each in present):
        return []
    return [{"op": "add", "path": f"{path}/initContainers", "value": [MESH, *present]}]


@contextmanager
def registered(lab: Lab, directory: Path, *, name: str, reinvocation: str) -> Iterator[None]:
    """It runs, and the API server asks it about Deployments and Pods, in the order of names."""
    system = {
        "key": "kubernetes.io/metadata.name",
        "operator": "NotIn",
        "values": ["kube-system", "sidecarpolicy-system"],
    }
    webhook = {
        "reinvocationPolicy": reinvocation,
        "rules": [neighbour.about("apps", "deployments"), neighbour.about("", "pods")],
        "namespaceSelector": {"matchExpressions": [system]},
    }
    with neighbour.registered(lab, directory, __name__, name=name, port=_PORT, webhook=webhook):
        spec = {"containers": [{"name": "x", "image": "x"}]}
        eventually(lambda: "initContainers" in neighbour.dry_run_of_pod(lab, spec)["spec"])
        yield


if __name__ == "__main__":
    neighbour.serve(patch)
