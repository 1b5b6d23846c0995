"""Mounts of volumes that Pods will not have: the API server would refuse every one of them.

A policy may count on a volume of the workload's own, so whether it has all that it mounts shows
only with a workload. To leave it to the API server would make the owner's own request fail, or
leave a ReplicaSet without Pods.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.desired import Desired, names
from sidecarpolicy.core.finding import Finding


def missing_volumes(wish: Desired, present: Container[str]) -> Iterator[Finding]:
    """One finding for each mount that has neither a volume of the policy nor one of `present`."""
    for user, volume in foreign_mounts(wish):
        if volume not in present:
            yield Finding(
                Reason.VOLUME_MISSING,
                f"{user} mounts volume {volume!r}, which neither the Pod template nor the policy "
                "has; add it to one of them",
            )


def foreign_mounts(wish: Desired) -> Iterator[tuple[str, str]]:
    """(who, volume) for each mount of a volume that the policy itself does not bring along."""
    own = names(wish.volumes)
    return (each for each in _mounts(wish) if each[1] not in own)


def users_of(volume: str, containers: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """(container, path) of all that would be invalid without the volume."""
    return tuple(
        (str(container.get("name")), str(mount.get("mountPath")))
        for container in containers
        for field in ("volumeMounts", "volumeDevices")
        for mount in container.get(field) or ()
        if mount.get("name") == volume
    )


def _mounts(wish: Desired) -> Iterator[tuple[str, str]]:
    """Who mounts, and what."""
    for sidecar in wish.sidecars:
        for field in ("volumeMounts", "volumeDevices"):
            for name in _volumes(sidecar.get(field)):
                yield f"sidecar {sidecar['name']!r}", name
    for name in _volumes(list(wish.app_mounts)):
        yield "appContainers", name


def _volumes(mounts: Any) -> Iterator[str]:
    """Names of volumes; a policy may hold anything here, what is no mount the API server says."""
    for each in mounts if isinstance(mounts, list) else ():
        if isinstance(each, Mapping) and isinstance(name := each.get("name"), str):
            yield name
