"""Wishes: what a policy wants by its spec and status, and what is to say about that."""

from collections.abc import Mapping
from typing import Any

from sidecarpolicy.api.models import Mode, SidecarPolicySpec
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.blocks import field_dropped
from sidecarpolicy.core.desired import Desired, desired
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.overhead import overhead


def wish_of(key: str, spec: SidecarPolicySpec, status: Mapping[str, Any]) -> Desired:
    """What a policy wants. In mode Universal it depends on what its own status says of the API
    server, by which controller and webhook agree, also after a restart of either.
    """
    dropped = spec.mode is Mode.UNIVERSAL and field_dropped(status) is not None
    return desired(key, spec, field_dropped=dropped)


def remarks(spec: SidecarPolicySpec) -> tuple[Finding, ...]:
    """Sidecars that nodes keep nothing free for."""
    native = [{**sidecar, "restartPolicy": "Always"} for sidecar in spec.sidecars]
    alone = overhead({}, {"spec": {"initContainers": native}})
    return tuple(e for e in alone.findings if e.reason is Reason.NO_RESOURCE_REQUEST)
