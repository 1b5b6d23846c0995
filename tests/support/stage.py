"""The pairs of tests/data on an API server: all at once, each case in a namespace of its own."""

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping

import yaml

from lab import Lab
from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.api.names import CLUSTER_KIND, WEBHOOK_CONFIGURATION
from tests.support.pairs import JSON, Case, documents, template_of, workloads

_REGISTRATION: JSON = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingWebhookConfiguration",
    "metadata": {"name": WEBHOOK_CONFIGURATION},
    "webhooks": [
        {
            "name": "pods.sidecarpolicy.dev",
            "clientConfig": {"url": "https://127.0.0.1:1/", "caBundle": b64encode(b"x").decode()},
            "rules": [
                {
                    "operations": ["CREATE"],
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "resources": ["pods"],
                }
            ],
            "namespaceSelector": {"matchLabels": {"none": "such"}},
            "failurePolicy": "Ignore",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
    ],
}

Templates = Mapping[str, JSON]
"""Pod templates by kind and name of their workloads."""

_PLAIN = "pairs-plain"
"""A namespace without policies."""

_NAME_LABEL = "kubernetes.io/metadata.name"


class Stage:
    """Namespaces of a lab for some cases."""

    def __init__(self, lab: Lab, cases: Iterable[Case]) -> None:
        self._lab = lab
        self._cases = {namespace_of(case): case for case in cases}

    def set_up(self) -> None:
        """Creates namespaces and inputs: everything but the policies. The webhook counts as
        registered, as it does for `render`, and is asked about nothing.
        """
        self._kubectl([_REGISTRATION], "apply")
        placed = [each for case in self._cases.values() for each in _placed_input(case)]
        spaces = [each for each in placed if each["kind"] == "Namespace"]
        self._kubectl([_namespace(_PLAIN), *spaces], "create")
        by_writer: dict[tuple[str, ...], list[JSON]] = {}
        for each in placed:
            if each["kind"] != "Namespace":
                by_writer.setdefault(_write_command(each), []).append(each)
        for command, objects in by_writer.items():
            self._kubectl(objects, *command)

    def create_policies(self) -> None:
        self._kubectl(self._policies(), "create")

    def delete_policies(self) -> None:
        self._kubectl(self._policies(), "delete", "--wait=false")

    def take_down(self) -> None:
        """Deletes the namespaces, and does not wait for it."""
        self._kubectl([_REGISTRATION], "delete")
        spaces = [_namespace(name) for name in (_PLAIN, *self._cases)]
        self._kubectl(spaces, "delete", "--wait=false")

    def templates(self) -> dict[Case, Templates]:
        """What the server has now."""
        found = workloads(self._get("deployments,statefulsets,cronjobs"))
        return {
            case: _by_name(each for each in found if each["metadata"]["namespace"] == namespace)
            for namespace, case in self._cases.items()
        }

    def policies(self) -> dict[Case, list[JSON]]:
        """The policies that the server has now, with their statuses."""
        found = self._get("sidecarpolicies,clustersidecarpolicies")
        return {
            case: [each for each in found if _namespace_reached(each) == namespace]
            for namespace, case in self._cases.items()
        }

    def stored(self, printed: Mapping[Case, list[JSON]]) -> dict[Case, Templates]:
        """What the server would store of such workloads, its defaults included."""
        groups = {case: workloads(objects) for case, objects in printed.items()}
        objects = [each for group in groups.values() for each in group]
        flags = ("--dry-run=server", "-o", "json", "-n", _PLAIN)
        answers = _json_stream(self._kubectl(objects, "create", *flags))
        return {case: _by_name(next(answers) for _ in group) for case, group in groups.items()}

    def _policies(self) -> list[JSON]:
        """In the order in which the controller reports: who has the last status, has them all."""
        found = [
            _placed(each, namespace)
            for namespace, case in self._cases.items()
            if not case.strips
            for each in documents(case.policies)
        ]
        return sorted(found, key=lambda e: (e["kind"] == CLUSTER_KIND, e["metadata"]["name"]))

    def _kubectl(self, objects: list[JSON], *command: str) -> str:
        return self._lab.kubectl(*command, "-f", "-", input=yaml.safe_dump_all(objects))

    def _get(self, kinds: str) -> list[JSON]:
        items: list[JSON] = json.loads(self._lab.kubectl("get", kinds, "-A", "-o", "json"))["items"]
        return items


def namespace_of(case: Case) -> str:
    """Where the case is on the server."""
    return f"pairs-{case}".replace("/", "-")


def _namespace(name: str) -> JSON:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _placed_input(case: Case) -> list[JSON]:
    """The input in the case's namespace, which it may describe itself, and without Pods."""
    space = _namespace(namespace_of(case))
    for each in documents(case.input):
        if each["kind"] == "Namespace":
            space["metadata"] = {**each["metadata"], **space["metadata"]}
    others = [each for each in documents(case.input) if each["kind"] != "Namespace"]
    for each in others:
        if each["kind"] in (TargetKind.DEPLOYMENT, TargetKind.STATEFUL_SET):
            each["spec"]["replicas"] = 0
    return [space, *(_placed(each, namespace_of(case)) for each in others)]


def _placed(obj: JSON, namespace: str) -> JSON:
    """In a namespace; a policy of the cluster is confined to it, by a label that all have."""
    if obj["kind"] != CLUSTER_KIND:
        return {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}
    selector = obj["spec"]["namespaceSelector"]
    labels = {**selector.get("matchLabels", {}), _NAME_LABEL: namespace}
    confined = {**selector, "matchLabels": labels}
    return {**obj, "spec": {**obj["spec"], "namespaceSelector": confined}}


def _namespace_reached(policy: JSON) -> str | None:
    if policy["kind"] != CLUSTER_KIND:
        return str(policy["metadata"]["namespace"])
    labels: dict[str, str] = policy["spec"]["namespaceSelector"].get("matchLabels", {})
    return labels.get(_NAME_LABEL)


def _write_command(obj: JSON) -> tuple[str, ...]:
    """How an object is to be created, so that its fields are managed as it says."""
    for entry in obj["metadata"].pop("managedFields", ()):
        how = ("apply", "--server-side") if entry["operation"] == "Apply" else ("create",)
        return (*how, f"--field-manager={entry['manager']}")
    return ("create",)


def _by_name(found: Iterable[JSON]) -> Templates:
    return {f"{each['kind']} {each['metadata']['name']}": template_of(each) for each in found}


def _json_stream(text: str) -> Iterator[JSON]:
    """Objects that stand one after the other, as kubectl prints several."""
    decoder = json.JSONDecoder()
    while text := text.strip():
        obj, end = decoder.raw_decode(text)
        yield obj
        text = text[end:]
