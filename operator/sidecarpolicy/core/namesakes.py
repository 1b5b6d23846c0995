"""Namesakes: what an owner adds to a Pod template under a name that is a sidecar's already.

A GitOps tool merges its container into the live object, which has ours. Names are unique in a
Pod, so the API server would refuse the owner's change because of us. The user's names win.
"""

from collections.abc import Mapping
from typing import Any

from sidecarpolicy.core.parts import place
from sidecarpolicy.core.record import PolicyRecord, Record


def crowded_out(template: Mapping[str, Any], record: Record) -> frozenset[str]:
    """Keys of the policies with a sidecar that a regular container shares its name with.

    None in any template that the API server stored: only a change that is being admitted can
    look so.
    """
    spec = template.get("spec") or {}
    regular, init = _names(spec.get("containers")), _names(spec.get("initContainers"))
    return frozenset(
        key
        for key, each in record.policies.items()
        if not _sidecars(each).isdisjoint(regular & init)
    )


def _names(containers: Any) -> frozenset[str]:
    return frozenset(str(each.get("name")) for each in containers or ())


def _sidecars(record: PolicyRecord) -> frozenset[str]:
    parts = (place(part) for part in record.parts if part.startswith("container/"))
    return frozenset(each.name for each in parts)
