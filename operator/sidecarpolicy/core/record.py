"""The record: what each policy added to a Pod template, kept in the template itself.

It travels in the annotation `sidecarpolicy.dev/injected`, so it follows the template
through `kubectl rollout undo`, ReplicaSets and Pods. Stripping removes exactly the
parts that it names. Shape:

    {"policies": {"SidecarPolicy/log-shipper": {"revision": "7f3a9c12",
                  "parts": {"container/shipper": "<digest>", "nodeTerm/Require": ""}}},
     "made": ["spec.initContainers"]}

A container that a policy adopted is the part `adopted/NAME`; instead of a digest it has where and
how the container was before (see core.former).

`made` names the lists and objects that did not exist before us, so that they can go
with their last part. A digest (see core.semantic) tells our part from one that
somebody put in its place; parts without content of their own have none.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sidecarpolicy.api.names import CAPABILITY_LABEL, INJECTED_ANNOTATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.former import PREFIX, former

SELECTOR_PART = f"nodeSelector/{CAPABILITY_LABEL}"
"""Part key of a node rule that stands as a nodeSelector entry."""

_NAME = r"[a-z0-9][-a-z0-9.]{0,252}"
_POLICY = re.compile(f"(?:Cluster)?SidecarPolicy/{_NAME}")
_PART = re.compile(
    f"(?:container|regularContainer|volume)/{_NAME}|imagePullSecret/.{{1,253}}"
    "|(?:podN|n)odeTerm/(?:Require|Avoid|NotRejecting)"
    f"|(?:env|volumeMount)/{_NAME}:.{{1,4096}}|gracePeriod|{re.escape(SELECTOR_PART)}"
    f"|{PREFIX}{_NAME}"
)
_MADE = re.compile(
    r"metadata(?:\.labels|\.annotations)?"
    r"|spec(?:\.initContainers|\.volumes|\.imagePullSecrets|\.nodeSelector)?"
    r"|spec\.affinity(?:\.nodeAffinity)?"
    r"|spec\.(?:c|initC)ontainers\.[-a-z0-9]{1,63}\.(?:env|volumeMounts)"
)


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


def has_record(template: Mapping[str, Any]) -> bool:
    """Whether a template carries a record, readable or not."""
    return INJECTED_ANNOTATION in ((template.get("metadata") or {}).get("annotations") or {})


def read_record(template: Mapping[str, Any]) -> Record | Finding:
    """The record of a template, empty where there is none; a finding if it is unreadable."""
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    text = annotations.get(INJECTED_ANNOTATION)
    if text is None:
        return Record()
    try:
        return _decode(json.loads(text))
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return Finding(
            Reason.RECORD_UNREADABLE,
            f"the Pod template's annotation {INJECTED_ANNOTATION} is not readable, so nothing is "
            "changed; undo the edit, or remove the annotation together with what was injected",
        )


def _decode(document: Any) -> Record:
    """The record in a document; ValueError and its kin for anything that we did not write."""
    policies = {_checked(_POLICY, key): _policy(each) for key, each in document["policies"].items()}
    return Record(
        policies=policies, made=frozenset(_checked(_MADE, path) for path in document["made"])
    )


def _policy(document: Any) -> PolicyRecord:
    parts = {_checked(_PART, part): str(digest) for part, digest in document["parts"].items()}
    for part, was in parts.items():
        if part.startswith(PREFIX):
            former(was)
    return PolicyRecord(revision=str(document["revision"]), parts=parts)


def _checked(pattern: re.Pattern[str], text: str) -> str:
    """The text, if it is what we write: the annotation is the user's to change, or a newer us's."""
    if not pattern.fullmatch(text):
        raise ValueError(f"not written by this version: {text[:80]!r}")
    return text
