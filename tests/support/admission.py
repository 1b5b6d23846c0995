"""The shipped manifests on a lab whose Pods do not run: all but the Deployments, and with the
webhook at an address that the API server reaches.
"""

from typing import Any

import yaml

from lab import Lab
from tests.support.cluster import ROOT
from tests.support.processes import Webhook

JSON = dict[str, Any]

_PODS = ("Deployment", "PodDisruptionBudget", "Service")
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


def uninstall(lab: Lab) -> None:
    """What would get in other tests' way."""
    lab.kubectl("delete", CONFIGURATION)


def trusted(lab: Lab) -> bool:
    """Whether the webhook has told the API server whom to trust."""
    found: JSON = yaml.safe_load(lab.kubectl("get", CONFIGURATION, "-o", "yaml"))
    return all(each["clientConfig"].get("caBundle") for each in found["webhooks"])
