"""A webhook built with an old client: it drops the fields of Pods that it does not know.

`restartPolicy` of init containers is one of them, so native sidecars become ordinary init
containers. Run it as `python -m tests.support.stripper PORT DIR`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab import Lab
from tests.support import neighbour
from tests.support.cluster import Namespace
from tests.support.waiting import eventually

JSON = dict[str, Any]
NAME = "stripper"
_PORT = 9556


def patch(pod: JSON) -> list[JSON]:
    """Removes what a client from before Kubernetes 1.28 would not send back."""
    return [
        {"op": "remove", "path": f"/spec/initContainers/{index}/restartPolicy"}
        for index, each in enumerate(pod["spec"].get("initContainers", []))
        if "restartPolicy" in each
    ]


@contextmanager
def registered(space: Namespace, directory: Path) -> Iterator[None]:
    """It runs, and is asked about the Pods of one namespace."""
    webhook = {
        "rules": [neighbour.about("", "pods")],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}},
    }
    native = {"name": "n", "image": "x", "restartPolicy": "Always"}
    spec = {"containers": [{"name": "x", "image": "x"}], "initContainers": [native]}
    with neighbour.registered(
        space.lab, directory, __name__, name=NAME, port=_PORT, webhook=webhook
    ):
        eventually(lambda: not _kept(space.lab, spec, space.name))
        yield


def _kept(lab: Lab, spec: JSON, namespace: str) -> bool:
    made = neighbour.dry_run_of_pod(lab, spec, "-n", namespace)
    return any(
        each["name"] == "n" and each.get("restartPolicy") == "Always"
        for each in made["spec"]["initContainers"]
    )


if __name__ == "__main__":
    neighbour.serve(patch)
