"""The CustomResourceDefinitions, generated from the models, so that they cannot disagree.

Decides what the API server refuses, also while the operator is down: pydantic gives
types, bounds, defaults and descriptions; the tables here add what only Kubernetes
knows (list types, CEL rules, columns). Reads and writes no file: `make crds` stores
what this module prints, and a golden test holds the stored files to it.
"""

import sys
from dataclasses import dataclass
from typing import Any, Final

import yaml
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema, to_jsonable_python

from sidecarpolicy.api.models import (
    ClusterSidecarPolicySpec,
    Model,
    SidecarPolicySpec,
)
from sidecarpolicy.api.names import (
    CATEGORY,
    CLUSTER_KIND,
    CLUSTER_PLURAL,
    GROUP,
    KIND,
    PLURAL,
    VERSION,
)
from sidecarpolicy.api.specrules import SPEC_RULES, rules
from sidecarpolicy.api.statusmodels import SidecarPolicyStatus

Json = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """What tells our two kinds apart; all else they share."""

    name: str
    plural: str
    short: str
    scope: str
    spec: type[SidecarPolicySpec]
    description: str

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition, and of its file in crds/."""
        return f"{self.plural}.{GROUP}"


_TELLS: Final = "and tells what became of them."
KINDS: Final = (
    Kind(
        name=KIND,
        plural=PLURAL,
        short="scpol",
        scope="Namespaced",
        spec=SidecarPolicySpec,
        description="Adds native sidecar containers to the workloads of its own namespace that it "
        f"selects, {_TELLS}",
    ),
    Kind(
        name=CLUSTER_KIND,
        plural=CLUSTER_PLURAL,
        short="cscpol",
        scope="Cluster",
        spec=ClusterSidecarPolicySpec,
        description="Adds native sidecar containers to the workloads that it selects, in all "
        f"namespaces that it selects, {_TELLS}",
    ),
)

_ATOMIC: Final[Json] = {"x-kubernetes-list-type": "atomic"}
_DNS_LABEL: Final = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


def _map_by(key: str) -> Json:
    """Items told apart by one key: duplicates are refused, appliers can own single items."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def _text(description: str, max_length: int, **more: Any) -> Json:
    """A bounded string. Every bound counts: CEL's cost is estimated from the largest input."""
    return {"type": "string", "description": description, "maxLength": max_length, **more}


_NAME: Final = _text("A DNS label, unique in the list.", 63, minLength=1, pattern=_DNS_LABEL)


def _raw(description: str, *required: str, **properties: Json) -> Json:
    """An object of Kubernetes' own type, kept as it is; CEL sees the named properties only."""
    return {
        "type": "object",
        "description": description,
        "required": ["name", *required],
        "properties": {"name": _NAME, **properties},
        "x-kubernetes-preserve-unknown-fields": True,
    }


def _object(description: str, **properties: Json) -> Json:
    """An object of which CEL has to see some fields; all others are kept, too."""
    kept = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return kept | {"description": description} | ({"properties": properties} if properties else {})


_LIFECYCLE: Final = _object(
    "Hooks; in mode Universal only preStop with exec or sleep.",
    postStart=_object("Not in mode Universal."),
    preStop=_object(
        "What to do before the container is stopped.",
        httpGet=_object("Not in mode Universal."),
        tcpSocket=_object("Not in mode Universal."),
    ),
)
_COMMAND: Final = {
    "type": "array",
    "items": {"type": "string", "maxLength": 131072},  # the kernel's bound (MAX_ARG_STRLEN)
    "maxItems": 1024,
    "description": "What to run instead of the image's entrypoint; required in mode Universal.",
} | _ATOMIC
_SIDECAR: Final = _raw(
    "A core/v1 Container.",
    image=_text("The image to run; required.", 1024),
    restartPolicy=_text("Absent or Always.", 63),
    command=_COMMAND,
    lifecycle=_LIFECYCLE,
) | rules(
    (
        "has(self.image) && self.image != ''",
        "a sidecar needs an image",
        "'sidecar ' + self.name + ' needs an image'",
    ),
    (
        "!has(self.restartPolicy) || self.restartPolicy == 'Always'",
        "the restartPolicy of a sidecar must be absent or Always",
        "'sidecar ' + self.name + ': restartPolicy must be absent or Always, not '"
        " + self.restartPolicy",
    ),
)
_REQUIREMENT_RULES: Final = rules(
    (
        "!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)",
        "the operators In and NotIn need values",
        "'operator ' + self.operator + ' on label ' + self.key + ' needs values'",
    ),
    (
        "self.operator in ['In', 'NotIn'] || !has(self.values) || size(self.values) == 0",
        "the operators Exists and DoesNotExist take no values",
        "'operator ' + self.operator + ' on label ' + self.key"
        " + ' takes no values; use In or NotIn to compare values'",
    ),
)
_TARGET_RULES: Final = rules(
    (
        "self.all(a, self.exists_one(b, a == b))",
        "each target may be listed once",
        # map with a condition, not filter().map(): that one forgets how long a name can be,
        # and the estimated cost explodes.
        "'target ' + self.map(a, !self.exists_one(b, a == b),"
        " a.kind + (has(a.name) ? ' ' + a.name : ''))[0] + ' is listed more than once'",
    ),
)

_MOUNT: Final = _raw(
    "A core/v1 VolumeMount.",
    "mountPath",
    mountPath=_text("Path in the container, unique in the list.", 4096, minLength=1),
)
_VARIABLE: Final = _raw("A core/v1 EnvVar.", name=_text("Unique in the list.", 253, minLength=1))
_ORDER_RULES: Final = rules(
    (
        "!(has(self.before) && self.sidecar in self.before)"
        " && !(has(self.after) && self.sidecar in self.after)",
        "a sidecar cannot be ordered before or after itself",
        "'sidecar ' + self.sidecar + ' cannot be ordered before or after itself'",
    ),
)
_NUMBER_OR_PERCENT_RULES: Final = rules(
    (
        "type(self) == int ? self >= 1 : self.matches('^(100|[1-9][0-9]?)%$')",
        "must be a number from 1, or a percentage from 1% to 100%",
        "(type(self) == int ? string(self) : self)"
        " + ' is neither a number from 1 nor a percentage from 1% to 100%'",
    ),
)

# Laid over what pydantic says, by model or by model and field. A name that no longer
# exists raises KeyError: better than a rule that silently got lost.
_OVERLAYS: Final[dict[str, Json]] = {
    "LabelSelector": {"x-kubernetes-map-type": "atomic"},
    "LabelSelector.matchExpressions": _ATOMIC,
    "Requirement": _REQUIREMENT_RULES,
    "Requirement.values": _ATOMIC,
    "AppContainers.names": {"x-kubernetes-list-type": "set"},
    "AppContainers.volumeMounts": _map_by("mountPath") | {"items": _MOUNT},
    "AppContainers.env": _map_by("name") | {"items": _VARIABLE},
    "Order": _ORDER_RULES,
    "Order.before": {"x-kubernetes-list-type": "set"},
    "Order.after": {"x-kubernetes-list-type": "set"},
    "SidecarPolicySpec": SPEC_RULES,
    "SidecarPolicySpec.order": _ATOMIC,
    "Rollout.maxConcurrent": {"maxLength": 16} | _NUMBER_OR_PERCENT_RULES,
    "SidecarPolicySpec.targets": _ATOMIC | _TARGET_RULES,
    "SidecarPolicySpec.sidecars": _map_by("name") | {"items": _SIDECAR},
    "SidecarPolicySpec.volumes": _map_by("name") | {"items": _raw("A core/v1 Volume.")},
    "SidecarPolicySpec.imagePullSecrets": _map_by("name"),
    "SidecarPolicySpec.adopt": _map_by("container"),
    # Present from the start: kstatus takes an object without a status for finished.
    "SidecarPolicyStatus": {"default": {"observedGeneration": -1}},
    "SidecarPolicyStatus.conditions": _map_by("type"),
    "SidecarPolicyStatus.problems": _ATOMIC,
    "SidecarPolicyStatus.blockedNamespaces": _map_by("namespace"),
    # The bounds of metav1.Condition.
    "Condition.type": {"maxLength": 316},
    "Condition.status": {"enum": ["True", "False", "Unknown"]},
    "Condition.reason": {"minLength": 1, "maxLength": 1024},
    "Condition.message": {"maxLength": 32768},
    "Condition.observedGeneration": {"minimum": 0},
    "Condition.lastTransitionTime": {"format": "date-time"},
}

_READY: Final = '.status.conditions[?(@.type=="Ready")]'
# Name, type, path, priority (1: with -o wide only), description.
_COLUMNS: Final[list[tuple[str, str, str, int, str]]] = [
    ("Ready", "string", f"{_READY}.status", 0, "Whether a new object gets its sidecars."),
    ("Mode", "string", ".spec.mode", 0, "How sidecars are injected."),
    ("Nodes", "integer", ".status.nodes.capable", 0, "Nodes that can run native sidecars."),
    ("Matched", "integer", ".status.workloads.matched", 0, "Workloads that are selected."),
    ("Current", "integer", ".status.workloads.current", 0, "Workloads that are up to date."),
    ("Pending", "integer", ".status.workloads.pending", 0, "Workloads that wait for their turn."),
    ("Failed", "integer", ".status.workloads.failed", 0, "Workloads whose rollout failed."),
    ("Age", "date", ".metadata.creationTimestamp", 0, "Time since the policy was created."),
    ("Reason", "string", f"{_READY}.reason", 1, "One word why the policy is or is not ready."),
    ("Message", "string", f"{_READY}.message", 1, "Why the policy is or is not ready."),
]


class _Generator(GenerateJsonSchema):
    """pydantic's generator without null: in Kubernetes an optional field is absent."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Json:
        return self.generate_inner(schema["schema"])

    def encode_default(self, dft: Any) -> Any:
        return to_jsonable_python(dft, by_alias=True, exclude_none=True)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> Json:
        node = super().default_schema(schema)
        # An empty default says no more than an absent field. Written into every object it
        # is noise, and inside a list item Argo CD takes it for drift that never ends.
        if node.get("default") in (None, [], {}):
            node.pop("default", None)
        return node


def _structural(node: Json, definitions: Json) -> Json:
    """The node in the dialect that Kubernetes calls structural: no references, no titles."""
    if "$ref" in node:  # what stands beside a reference wins
        node = definitions[node["$ref"].rpartition("/")[2]] | node
    node = {key: value for key, value in node.items() if key not in ("$ref", "title")}
    for key in ("items", "additionalProperties"):
        if key in node:
            node[key] = _structural(node[key], definitions)
    if "properties" in node:
        node["properties"] = {
            name: _structural(child, definitions) for name, child in node["properties"].items()
        }
    return node


def _properties(spec: type[SidecarPolicySpec]) -> Json:
    """The schemas of spec and status, overlays included."""
    models: dict[str, type[Model]] = {"spec": spec, "status": SidecarPolicyStatus}
    references, generated = models_json_schema(
        [(model, "validation") for model in models.values()], schema_generator=_Generator
    )
    definitions = generated["$defs"]
    for path, overlay in _OVERLAYS.items():
        model, _, field = path.partition(".")
        node = definitions[spec.__name__ if model == SidecarPolicySpec.__name__ else model]
        (node["properties"][field] if field else node).update(overlay)
    return {
        name: _structural(references[model, "validation"], definitions)
        for name, model in models.items()
    }


def _columns() -> list[Json]:
    """The columns of `kubectl get`; priority 0 is the API server's default, so unwritten."""
    keys = ("name", "type", "jsonPath", "priority", "description")
    columns = (dict(zip(keys, column, strict=True)) for column in _COLUMNS)
    return [{key: value for key, value in column.items() if value != 0} for column in columns]


def _version(kind: Kind) -> Json:
    """The one version that is served; `metadata` is the API server's own business."""
    root = {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            **_properties(kind.spec),
        },
    }
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": _columns(),
        "schema": {"openAPIV3Schema": root},
    }


def crd(kind: Kind) -> Json:
    """The CustomResourceDefinition of a kind (apiextensions.k8s.io/v1)."""
    names = {
        "kind": kind.name,
        "listKind": f"{kind.name}List",
        "plural": kind.plural,
        "singular": kind.name.lower(),
        "shortNames": [kind.short],
        "categories": [CATEGORY],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name},
        "spec": {
            "group": GROUP,
            "names": names,
            "scope": kind.scope,
            "versions": [_version(kind)],
        },
    }


class _Dumper(yaml.SafeDumper):
    """Without anchors: that the tables above share constants is no reader's business."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def crd_yaml(kind: Kind) -> str:
    """The text of the file in crds/; keys are sorted, so that pydantic's order is no matter."""
    text = yaml.dump(crd(kind), Dumper=_Dumper, sort_keys=True, width=100)
    return f"# Generated by `make crds`; do not edit.\n{text}"


if __name__ == "__main__":
    sys.stdout.writelines(crd_yaml(each) for each in KINDS if each.crd_name == sys.argv[1])
