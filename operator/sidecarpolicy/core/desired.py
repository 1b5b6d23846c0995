"""What a policy wants in a Pod template, and the revision that names this wish."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sidecarpolicy.api.models import (
    Adoption,
    AppContainers,
    Mode,
    NodeRule,
    Order,
    Placement,
    SidecarPolicySpec,
)
from sidecarpolicy.core.capability import Verdict
from sidecarpolicy.core.nouns import NOUNS, Item
from sidecarpolicy.core.semantic import fingerprint


@dataclass(frozen=True)
class Wish:
    """One item that a policy adds to a list, and what tells it from others of its name."""

    noun: str
    name: str
    item: Item
    digest: str


@dataclass(frozen=True)
class Desired:
    """The parts that one policy adds. `key` is "<kind>/<name>" and orders policies."""

    key: str
    revision: str
    sidecars: tuple[dict[str, Any], ...]
    volumes: tuple[dict[str, Any], ...]
    image_pull_secrets: tuple[dict[str, Any], ...]
    node_rule: NodeRule
    placement: Placement = Placement.FIRST
    order: tuple[tuple[str, str], ...] = ()
    """Pairs of names of init containers: (earlier, later)."""
    app_containers: frozenset[str] = frozenset()
    """Names of the containers that get env and mounts; empty: all regular ones."""
    app_mounts: tuple[dict[str, Any], ...] = ()
    app_env: tuple[dict[str, Any], ...] = ()
    min_grace_seconds: int | None = None
    mode: Mode = Mode.NATIVE
    universal_image: str = ""
    """Where Pods in mode Universal get their busybox from."""
    adopt: tuple[Adoption, ...] = ()

    def runs_on(self, verdict: Verdict) -> bool:
        """Whether Pods with these parts run on a node of which this is known."""
        if self.mode is Mode.UNIVERSAL:
            return verdict is not Verdict.REJECTS
        return verdict is Verdict.CAPABLE

    @cached_property
    def pod_items(self) -> tuple[Wish, ...]:
        """What goes into lists of the Pod spec itself."""
        return (
            *(_wish("container", each) for each in self.sidecars),
            *(_wish("volume", each) for each in self.volumes),
            *(_wish("imagePullSecret", each) for each in self.image_pull_secrets),
        )

    @cached_property
    def app_items(self) -> tuple[Wish, ...]:
        """What goes into lists of each application container."""
        return (
            *(_wish("volumeMount", each) for each in self.app_mounts),
            *(_wish("env", each) for each in self.app_env),
        )


def _wish(noun: str, item: Item) -> Wish:
    kind = NOUNS[noun]
    return Wish(noun, item[kind.field], item, kind.digest(item))


def desired(key: str, spec: SidecarPolicySpec) -> Desired:
    """The parts of a policy, with `restartPolicy: Always` on each sidecar.

    The revision hashes only what is injected, and only what was set: neither a new
    selector nor a later version of this program with new defaults rolls anything.
    """
    sidecars = tuple({**sidecar, "restartPolicy": "Always"} for sidecar in spec.sidecars)
    secrets = tuple({"name": secret.name} for secret in spec.image_pull_secrets)
    app = spec.app_containers or AppContainers()
    order = tuple(pair for rule in spec.order for pair in _pairs(rule))
    content = {
        "sidecars": sidecars,
        "volumes": spec.volumes,
        "imagePullSecrets": secrets,
        "nodeRule": spec.node_rule,
        "placement": spec.placement if spec.placement is not Placement.FIRST else None,
        "order": order,
        "appContainers": sorted(app.names) if app.env or app.volume_mounts else None,
        "appMounts": app.volume_mounts,
        "appEnv": app.env,
        "minGraceSeconds": spec.min_termination_grace_period_seconds,
        "universal": spec.universal.image if spec.mode is Mode.UNIVERSAL else None,
        "adopt": [each.model_dump(exclude_none=True) for each in spec.adopt],
    }
    return Desired(
        key=key,
        revision=fingerprint({name: part for name, part in content.items() if part}),
        sidecars=sidecars,
        volumes=spec.volumes,
        image_pull_secrets=secrets,
        node_rule=spec.node_rule,
        placement=spec.placement,
        order=order,
        app_containers=frozenset(app.names),
        app_mounts=app.volume_mounts,
        app_env=app.env,
        min_grace_seconds=spec.min_termination_grace_period_seconds,
        mode=spec.mode,
        universal_image=spec.universal.image,
        adopt=spec.adopt,
    )


def _pairs(rule: Order) -> Iterator[tuple[str, str]]:
    yield from ((name, rule.sidecar) for name in rule.after)
    yield from ((rule.sidecar, name) for name in rule.before)


def names(items: Iterable[dict[str, Any]]) -> list[str]:
    """The names of containers, volumes or references, in order."""
    return [str(item.get("name")) for item in items]
