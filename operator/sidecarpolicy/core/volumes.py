"""Which claims do the Pods of a workload use, and to which nodes does that tie them?"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sidecarpolicy.core.facts import WorkloadFacts

RawObject = Mapping[str, Any]


def shared_claims(template: RawObject) -> frozenset[str]:
    """Names of the claims that every Pod made from a template uses."""
    volumes = (template.get("spec") or {}).get("volumes") or ()
    sources = (each.get("persistentVolumeClaim") or {} for each in volumes)
    return frozenset(each["claimName"] for each in sources if "claimName" in each)


def claims_of_pods(
    workload: WorkloadFacts, template: RawObject, present: Mapping[str, str]
) -> Iterator[frozenset[str]]:
    """The claims of each Pod that has some of its own, or of all Pods where none has.

    `present` are the namespace's bound claims with the names of their volumes. A StatefulSet
    makes a claim NAME-SET-ORDINAL of each volumeClaimTemplate for each of its Pods.
    """
    shared = shared_claims(template).intersection(present)
    own: dict[str, set[str]] = {}
    for claim in workload.claims:
        pattern = re.compile(re.escape(f"{claim}-{workload.ref.name}-") + r"(\d+)")
        for name in present:
            if found := pattern.fullmatch(name):
                own.setdefault(found[1], set()).add(name)
    yield from (shared | frozenset(names) for names in own.values())
    if not own and shared:
        yield shared


def bound_volume(claim: RawObject) -> tuple[str, str] | None:
    """(claim, volume) of a raw PersistentVolumeClaim; None until it is bound."""
    volume = (claim.get("spec") or {}).get("volumeName")
    return (claim["metadata"]["name"], volume) if volume else None


def reachable_from(volume: RawObject) -> RawObject | None:
    """The node selector of a raw PersistentVolume; None where every node reaches it."""
    selector: RawObject | None = (volume["spec"].get("nodeAffinity") or {}).get("required")
    return selector
