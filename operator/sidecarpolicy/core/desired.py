"""What a policy wants in a Pod template, and the revision that names this wish."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sidecarpolicy.api.models import NodeRule, SidecarPolicySpec
from sidecarpolicy.core.semantic import fingerprint


@dataclass(frozen=True)
class Desired:
    """The parts that one policy adds. `key` is "<kind>/<name>" and orders policies."""

    key: str
    revision: str
    sidecars: tuple[dict[str, Any], ...]
    volumes: tuple[dict[str, Any], ...]
    image_pull_secrets: tuple[dict[str, Any], ...]
    node_rule: NodeRule


def desired(key: str, spec: SidecarPolicySpec) -> Desired:
    """The parts of a policy, with `restartPolicy: Always` on each sidecar.

    The revision hashes only what is injected, and only what was set: neither a new
    selector nor a later version of this program with new defaults rolls anything.
    """
    sidecars = tuple({**sidecar, "restartPolicy": "Always"} for sidecar in spec.sidecars)
    secrets = tuple({"name": secret.name} for secret in spec.image_pull_secrets)
    content = {
        "sidecars": sidecars,
        "volumes": spec.volumes,
        "imagePullSecrets": secrets,
        "nodeRule": spec.node_rule,
    }
    return Desired(
        key=key,
        revision=fingerprint({name: part for name, part in content.items() if part}),
        sidecars=sidecars,
        volumes=spec.volumes,
        image_pull_secrets=secrets,
        node_rule=spec.node_rule,
    )


def names(items: Iterable[dict[str, Any]]) -> list[str]:
    """The names of containers, volumes or references, in order."""
    return [str(item.get("name")) for item in items]
