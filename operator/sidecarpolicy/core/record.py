"""The record: what each policy added to a Pod template, kept in the template itself.

It travels in the annotation `sidecarpolicy.dev/injected`, so it follows the template
through `kubectl rollout undo`, ReplicaSets and Pods. Stripping removes exactly the
parts that it names. Shape:

    {"policies": {"SidecarPolicy/log-shipper": {"revision": "7f3a9c12",
                  "parts": {"container/shipper": "<digest>", "nodeTerm/Require": ""}}},
     "made": ["spec.initContainers"]}

`made` names the lists and objects that did not exist before us, so that they can go
with their last part. A digest (see core.semantic) tells our part from one that
somebody put in its place; parts without content of their own have none.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sidecarpolicy.api.names import INJECTED_ANNOTATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.finding import Finding


@dataclass(frozen=True)
class PolicyRecord:
    """What one policy added: its revision, and a digest by part key."""

    revision: str
    parts: Mapping[str, str]


@dataclass(frozen=True)
class Record:
    """What all policies added, by policy key, and which containers we had to make."""

    policies: Mapping[str, PolicyRecord] = field(default_factory=dict)
    made: frozenset[str] = frozenset()

    def others_hold(self, part: str, *, than: str) -> bool:
        """Whether a policy other than `than` also added this part."""
        return any(part in each.parts for key, each in self.policies.items() if key != than)


def encode_record(record: Record) -> str:
    """The annotation's value; the same record always gives the same text."""
    document = {
        "policies": {
            key: {"revision": each.revision, "parts": dict(each.parts)}
            for key, each in record.policies.items()
        },
        "made": sorted(record.made),
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def read_record(template: Mapping[str, Any]) -> Record | Finding:
    """The record of a template, empty where there is none; a finding if it is unreadable."""
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    text = annotations.get(INJECTED_ANNOTATION)
    if text is None:
        return Record()
    try:
        return _decode(json.loads(text))
    except (ValueError, TypeError, AttributeError, KeyError):
        return Finding(
            Reason.RECORD_UNREADABLE,
            f"the Pod template's annotation {INJECTED_ANNOTATION} is not readable, so nothing is "
            "changed; undo the edit, or remove the annotation together with what was injected",
        )


def _decode(document: Any) -> Record:
    policies = {
        str(key): PolicyRecord(
            revision=str(each["revision"]),
            parts={str(part): str(digest) for part, digest in each["parts"].items()},
        )
        for key, each in document["policies"].items()
    }
    return Record(policies=policies, made=frozenset(map(str, document["made"])))
