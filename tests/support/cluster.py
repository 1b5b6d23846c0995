"""A running cluster as tests see it: objects by name, statuses, and what was written."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from lab import Lab
from tests.support.audit import writes
from tests.support.waiting import eventually

JSON = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
CRDS = ROOT / "crds"


class Namespace:
    """One namespace of a lab, with the verbs that tests need."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.name = name

    def apply(self, *objects: JSON, server_side: bool = False, manager: str = "") -> None:
        documents = [self._placed(obj) for obj in objects]
        flags = ["--server-side"] if server_side else []
        flags += [f"--field-manager={manager}"] if manager else []
        self.lab.kubectl("apply", *flags, "-f", "-", input=yaml.safe_dump_all(documents))

    def kubectl(self, *args: str) -> str:
        return self.lab.kubectl("-n", self.name, *args)

    def get(self, kind: str, name: str) -> JSON:
        found: JSON = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def all(self, kind: str) -> list[JSON]:
        items: list[JSON] = json.loads(self.kubectl("get", kind, "-o", "json"))["items"]
        return items

    def patch(self, kind: str, name: str, patch: Any) -> None:
        style = "json" if isinstance(patch, list) else "merge"
        self.kubectl("patch", kind, name, "--type", style, "-p", json.dumps(patch))

    def delete(self, kind: str, name: str) -> None:
        self.kubectl("delete", kind, name)

    def status(self, policy: str) -> JSON:
        return self.get("scpol", policy).get("status") or {}

    def wait_status(self, policy: str, *, seconds: float = 30, **wanted: int) -> JSON:
        """The status as soon as it counts workloads so and is about the current generation."""

        def as_wanted(obj: JSON) -> bool:
            status = obj.get("status") or {}
            fresh = status.get("observedGeneration") == obj["metadata"]["generation"]
            counts = status.get("workloads") or {}
            return fresh and wanted.items() <= counts.items()

        found: JSON = eventually(
            lambda: self.get("scpol", policy), until=as_wanted, seconds=seconds
        )["status"]
        return found

    def pods_template(self, deployment: str) -> JSON:
        template: JSON = self.get("deployment", deployment)["spec"]["template"]
        return template

    def sidecars(self, deployment: str) -> list[str]:
        """Names of the init containers of a Deployment's template."""
        spec = self.pods_template(deployment)["spec"]
        return [each["name"] for each in spec.get("initContainers", [])]

    def revisions(self, deployment: str) -> int:
        """How many ReplicaSets the Deployment has had."""
        owned = (each["metadata"]["ownerReferences"][0]["name"] for each in self.all("replicaset"))
        return list(owned).count(deployment)

    def _placed(self, obj: JSON) -> JSON:
        return {**obj, "metadata": {"namespace": self.name, **obj["metadata"]}}


def writes_in(space: Namespace) -> list[JSON]:
    """Our writes there, or to no namespace: objects of other tests may still be going."""
    places = (space.name, None)
    return [each for each in writes(space.lab) if each["objectRef"].get("namespace") in places]


def persisted(events: Iterable[JSON]) -> list[tuple[str, str]]:
    """(verb, what) of the writes that the API server took."""
    return [
        (event["verb"], "/".join(filter(None, (
            event["objectRef"].get("resource"), event["objectRef"].get("name"),
            event["objectRef"].get("subresource")))))
        for event in events
        if event["responseStatus"]["code"] < 300
    ]  # fmt: skip


def problems(status: JSON) -> list[JSON]:
    """What is said of workloads; most sidecars of tests request nothing, which is said too."""
    found = status.get("problems", [])
    return [each for each in found if not each["kind"].endswith("SidecarPolicy")]


def conditions(status: JSON) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in status.get("conditions", [])}


def deployment(name: str = "web", *, replicas: int = 0, **fields: Any) -> JSON:
    """A Deployment; without replicas it has ReplicaSets but no Pods."""
    pod = {
        "containers": [{"name": "web", "image": "lab.local/busybox:1"}],
        **fields.get("pod", {}),
    }
    metadata = {"labels": {"app": name, **fields.get("labels", {})}, **fields.get("template", {})}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": metadata, "spec": pod},
        },
    }


def stateful_set(name: str = "db", **fields: Any) -> JSON:
    made = deployment(name, **fields)
    return {**made, "kind": "StatefulSet", "spec": {**made["spec"], "serviceName": name}}


def cron_job(name: str = "nightly", **fields: Any) -> JSON:
    """A CronJob that starts nothing."""
    pod = {**fields.pop("pod", {}), "restartPolicy": "Never"}
    template = deployment(name, pod=pod, **fields)["spec"]["template"]
    job = {"spec": {"template": template}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name},
        "spec": {"schedule": "0 3 * * *", "suspend": True, "jobTemplate": job},
    }


def cluster_policy(name: str = "log-shipper", **spec: Any) -> JSON:
    """Of every namespace, unless the spec says otherwise."""
    made = policy(name, **{"namespaceSelector": {}, **spec})
    return {**made, "kind": "ClusterSidecarPolicy"}


def policy(name: str = "log-shipper", **spec: Any) -> JSON:
    return {
        "apiVersion": "sidecarpolicy.dev/v1alpha1",
        "kind": "SidecarPolicy",
        "metadata": {"name": name},
        "spec": {
            "selector": {},
            "sidecars": [{"name": "shipper", "image": "lab.local/busybox:1"}],
            **spec,
        },
    }
