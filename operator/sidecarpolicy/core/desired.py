"""What a policy wants in a Pod template, and the revision that names this wish."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

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
from sidecarpolicy.core.noderule import Rule
from sidecarpolicy.core.nouns import NOUNS, Item
from sidecarpolicy.core.semantic import fingerprint
from sidecarpolicy.core.universal import copies

_ALWAYS: Final = "Always"
_RESTART_POLICIES: Final = (_ALWAYS, "OnFailure", "Never")


@dataclass(frozen=True)
class Wish:
    """One item that a policy adds to a list, and what tells it from others of its name."""

    noun: str
    name: str
    item: Item
    digest: str


@dataclass(frozen=True)
class Added:
    """What a policy's sidecars are in a Pod: containers, and volumes beside those of the policy.

    `init` has by sidecar, in the policy's order, the init containers that stand together for it.
    """

    init: Mapping[str, tuple[dict[str, Any], ...]]
    regular: tuple[dict[str, Any], ...] = ()
    volumes: tuple[dict[str, Any], ...] = ()

    @property
    def everything(self) -> list[dict[str, Any]]:
        """All containers and volumes."""
        init = (each for group in self.init.values() for each in group)
        return [*init, *self.regular, *self.volumes]


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
    field_dropped: bool = False
    """Whether the API server drops the restartPolicy of init containers; for mode Universal."""
    adopt: tuple[Adoption, ...] = ()

    def runs_on(self, verdict: Verdict) -> bool:
        """Whether Pods with these parts run on a node of which this is known."""
        if self.mode is Mode.UNIVERSAL:
            return verdict is not Verdict.REJECTS or self.field_dropped
        return verdict is Verdict.CAPABLE

    @property
    def rule(self) -> Rule:
        """Where the Pods may run; what is injected in mode Universal runs on almost any node."""
        if self.node_rule is NodeRule.NONE or self.field_dropped:
            return Rule.NONE
        return Rule.NOT_REJECTING if self.mode is Mode.UNIVERSAL else Rule(self.node_rule.value)

    @property
    def running(self) -> frozenset[str]:
        """Names of the containers that run along with the application, in whatever Pod."""
        return frozenset((*names(self.sidecars), *names(self.added().regular)))

    def added(self, restart_policy: str = _ALWAYS) -> Added:
        """What the sidecars are in Pods of a restart policy."""
        return self._added.get(restart_policy, self._added[_ALWAYS])

    @cached_property
    def _added(self) -> Mapping[str, Added]:
        if self.mode is Mode.NATIVE:
            return {_ALWAYS: Added({str(each["name"]): (each,) for each in self.sidecars})}
        return {policy: self._copies(policy) for policy in _RESTART_POLICIES}

    def _copies(self, restart_policy: str) -> Added:
        made = [
            copies(each, self.universal_image, restart_policy, field_dropped=self.field_dropped)
            for each in self.sidecars
        ]
        return Added(
            init={str(each.native["name"]): (each.prepare, each.native) for each in made},
            regular=tuple(each.ordinary for each in made),
            volumes=tuple(each.volume for each in made),
        )

    def pod_items(self, restart_policy: str = _ALWAYS) -> tuple[Wish, ...]:
        """What goes into lists of the Pod spec itself, in Pods of a restart policy."""
        return self._pod_items.get(restart_policy, self._pod_items[_ALWAYS])

    @cached_property
    def _pod_items(self) -> Mapping[str, tuple[Wish, ...]]:
        return {policy: tuple(self._items(added)) for policy, added in self._added.items()}

    def _items(self, added: Added) -> Iterator[Wish]:
        yield from (_wish("container", each) for group in added.init.values() for each in group)
        yield from (_wish("regularContainer", each) for each in added.regular)
        yield from (_wish("volume", each) for each in (*self.volumes, *added.volumes))
        yield from (_wish("imagePullSecret", each) for each in self.image_pull_secrets)

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


def desired(key: str, spec: SidecarPolicySpec, *, field_dropped: bool = False) -> Desired:
    """The parts of a policy, with `restartPolicy: Always` on each sidecar.

    The revision hashes only what is injected, and only what was set: neither a new
    selector nor a later version of this program with new defaults rolls anything; in mode
    Universal a new script does. `field_dropped`: the API server drops that restartPolicy,
    which is nothing to mode Native.
    """
    sidecars = tuple({**sidecar, "restartPolicy": "Always"} for sidecar in spec.sidecars)
    secrets = tuple({"name": secret.name} for secret in spec.image_pull_secrets)
    app = spec.app_containers or AppContainers()
    order = tuple(pair for rule in spec.order for pair in _pairs(rule))
    universal = spec.mode is Mode.UNIVERSAL
    content: dict[str, Any] = {
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
        "adopt": [each.model_dump(exclude_none=True) for each in spec.adopt],
    }
    wish = Desired(
        key=key,
        revision="",
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
        universal_image=spec.universal.image if universal else "",
        field_dropped=field_dropped and universal,
        adopt=spec.adopt,
    )
    if universal:
        content["universal"] = [wish.added(policy).everything for policy in _RESTART_POLICIES]
    revision = fingerprint({name: part for name, part in content.items() if part})
    return replace(wish, revision=revision)


def _pairs(rule: Order) -> Iterator[tuple[str, str]]:
    yield from ((name, rule.sidecar) for name in rule.after)
    yield from ((rule.sidecar, name) for name in rule.before)


def names(items: Iterable[dict[str, Any]]) -> list[str]:
    """The names of containers, volumes or references, in order."""
    return [str(item.get("name")) for item in items]
