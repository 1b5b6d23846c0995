"""The shipped manifests on a lab whose Pods do not run: all but the Deployments, and with the
webhook at an address that the API server reaches.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from lab import Lab
from tests.support.cluster import ROOT, Namespace, cron_job, policy
from tests.support.processes import Controller, Webhook
from tests.support.users import account
from tests.support.waiting import eventually

JSON = dict[str, Any]

_PODS = ("Deployment", "PodDisruptionBudget", "Service")
SYSTEM = "sidecarpolicy-system"
CONFIGURATION = "mutatingwebhookconfiguration/sidecarpolicy"


def install(lab: Lab) -> None:
    """Namespace, rights and configurations as `kubectl apply -k .` brings them."""
    objects = yaml.safe_load_all(lab.kubectl("kustomize", str(ROOT)))
    wanted = [_reachable(each) for each in objects if each["kind"] not in _PODS]
    lab.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(wanted))
    lab.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")


def _reachable(obj: JSON) -> JSON:
    for webhook in obj.get("webhooks", ()):
        assert webhook["clientConfig"]["service"]["path"] == "/mutate"
        webhook["clientConfig"] = {"url": Webhook.URL}
    return obj


def trusted(lab: Lab) -> bool:
    """Whether the webhook has told the API server whom to trust."""
    found: JSON = yaml.safe_load(lab.kubectl("get", CONFIGURATION, "-o", "yaml"))
    return all(each["clientConfig"].get("caBundle") for each in found["webhooks"])


def own_rights(lab: Lab, name: str, place: Path) -> Path:
    """A kubeconfig of the ServiceAccount that we ship for a process."""
    kubeconfig = place / f"{name}.json"
    user = account(lab, namespace=SYSTEM, name=f"sidecarpolicy-{name}", kubeconfig=kubeconfig)
    return user.kubeconfig


@contextmanager
def _uninstalled_after(lab: Lab) -> Iterator[None]:
    """Takes away what would get in other tests' way."""
    try:
        yield
    finally:
        lab.kubectl("delete", CONFIGURATION)


@contextmanager
def running(lab: Lab, place: Path) -> Iterator[tuple[Controller, Webhook]]:
    """Controller and webhook as installed, beside a capable node and one that is not."""
    install(lab)
    lab.add_fake_nodes(1, kubelet="1.36.3", prefix="new")
    lab.add_fake_nodes(1, kubelet="1.28.15", prefix="old")
    own = {name: own_rights(lab, name, place) for name in ("controller", "webhook")}
    with (
        _uninstalled_after(lab),
        Controller(lab, place / "controller.log", kubeconfig=own["controller"]) as controller,
        Webhook(lab, place / "webhook.log", kubeconfig=own["webhook"]) as webhook,
    ):
        controller.start("--log-format", "json")
        webhook.start("--log-format", "json")
        eventually(lambda: trusted(lab))
        yield controller, webhook


EVERY_KIND = [
    {"kind": kind} for kind in ("Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job", "Pod")
]


def known(space: Namespace, made: JSON) -> None:
    """Applies a policy, and waits until the webhook knows it (it has no status of its own)."""
    space.apply(made)
    spec = {"containers": [{"name": "probe", "image": "x"}]}
    labels = made["spec"]["selector"].get("matchLabels", {})
    pods = [{"kind": "Pod"}]
    probe = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "labels": labels}}
    assert pods[0] in made["spec"]["targets"], "a policy that Pods cannot probe"
    eventually(
        lambda: "initContainers" in dry_run(space, {**probe, "spec": spec})["spec"],
        seconds=10,
    )


def dry_run(space: Namespace, obj: JSON) -> JSON:
    """The object as it would be stored."""
    text = space.lab.kubectl(
        *("-n", space.name, "create", "--dry-run=server", "-o", "json", "-f", "-"),
        input=json.dumps(obj),
    )
    found: JSON = json.loads(text)
    return found


def created(space: Namespace, obj: JSON) -> tuple[JSON, str]:
    """The object as it was stored, and what kubectl printed on standard error."""
    done = space.lab.run(
        ["kubectl", "-n", space.name, "create", "-o", "json", "-f", "-"], input=json.dumps(obj)
    )
    return json.loads(done.stdout), done.stderr


def every(name: str = "log-shipper", **spec: Any) -> JSON:
    return policy(name, targets=EVERY_KIND, **spec)


def names(spec: JSON) -> list[str]:
    return [each["name"] for each in spec.get("initContainers", ())]


def job(name: str = "run") -> JSON:
    """A Job that does not start: the nodes here would let it end at once."""
    spec = {**cron_job()["spec"]["jobTemplate"]["spec"], "suspend": True}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def pod(name: str = "alone", **meta: Any) -> JSON:
    spec = {"containers": [{"name": "web", "image": "lab.local/busybox:1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **meta}, "spec": spec}
