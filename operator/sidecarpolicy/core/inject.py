"""The engine: `inject(template, verdicts)` adds, replaces, keeps or removes policies' parts.

One function serves the controller, the webhook and the command line, so they cannot
disagree. Its laws, each a property test: the input is never changed; injecting twice
is injecting once; removing gives back what the user wrote; a policy that is held
keeps its parts whatever happens to the others; nothing is half applied.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sidecarpolicy.api.models import NodeRule
from sidecarpolicy.api.names import INJECTED_ANNOTATION, INJECTED_LABEL
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.desired import Desired, names
from sidecarpolicy.core.draft import Draft
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.noderule import (
    add_rule,
    obstacle,
    remove_rule,
    rule_holds,
    term_part,
)
from sidecarpolicy.core.ownership import NodeRuleSite
from sidecarpolicy.core.record import (
    SELECTOR_PART,
    PolicyRecord,
    Record,
    encode_record,
    read_record,
)
from sidecarpolicy.core.semantic import container_digest, covers, volume_digest


class Action(StrEnum):
    """What to do with one policy's parts."""

    APPLY = "apply"
    """Take its old parts out and put the current ones in."""
    HOLD = "hold"
    """Leave its parts exactly as they are."""
    REMOVE = "remove"
    """Take its parts out."""


@dataclass(frozen=True)
class Verdict:
    """The decision about one policy; `desired` is needed to apply."""

    key: str
    action: Action
    desired: Desired | None = None


@dataclass(frozen=True)
class Injection:
    """The resulting template and what is to say about policies, by their keys.

    `current` were as they should be before, `changed` are different now; `obstacles`
    kept a policy from being applied; `leftovers` could not be taken out with the rest.
    """

    template: Mapping[str, Any]
    current: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    obstacles: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    leftovers: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)


def inject(
    template: Mapping[str, Any], verdicts: Sequence[Verdict], *, site: NodeRuleSite
) -> Injection:
    """Carries out the verdicts on a Pod template; the very same object if nothing changes.

    A recorded policy without a verdict is held: absence of evidence removes nothing.
    """
    record = read_record(template)
    if isinstance(record, Finding):
        return Injection(template, obstacles={each.key: (record,) for each in verdicts})
    surgery = _Surgery(template, record, site)
    wishes = [each.desired for each in verdicts if each.desired is not None]
    current = frozenset(wish.key for wish in wishes if surgery.is_current(wish))
    for verdict in sorted(verdicts, key=lambda each: (each.action is not Action.REMOVE, each.key)):
        surgery.perform(verdict)
    return surgery.close(current)


class _Surgery:
    """One run of the engine over one template."""

    def __init__(self, template: Mapping[str, Any], record: Record, site: NodeRuleSite) -> None:
        self._template = template
        self._draft = Draft(template, record.made)
        self._policies = dict(record.policies)
        self._site = site
        self._changed: set[str] = set()
        self._obstacles: dict[str, tuple[Finding, ...]] = {}
        self._leftovers: dict[str, tuple[Finding, ...]] = {}

    def perform(self, verdict: Verdict) -> None:
        """Carries out one verdict, or notes why that cannot be."""
        if verdict.action is Action.REMOVE:
            self._remove(verdict.key, wanted_again=frozenset())
        elif verdict.action is Action.APPLY and verdict.desired is not None:
            self._apply(verdict.desired)

    def close(self, current: frozenset[str]) -> Injection:
        """Writes the record and the label, and returns the finished template."""
        template: Mapping[str, Any] = self._template
        if self._changed:
            self._write_record()
            template = self._draft.template
        changed = frozenset(self._changed)
        return Injection(template, current, changed, self._obstacles, self._leftovers)

    def is_current(self, wish: Desired) -> bool:
        """Whether the template carries all that a policy wishes, whoever else changed it."""
        mine = self._policies.get(wish.key)
        if mine is None or mine.revision != wish.revision:
            return False
        return rule_holds(self._draft, wish.node_rule) and all(
            any(covers(live, item) for live in self._draft.peek(path) or [])
            and mine.parts.get(part, "") in ("", digest)
            for path, part, item, digest in _list_parts(wish)
        )

    def _write_record(self) -> None:
        if self._policies:
            self._draft.prune()
            self._draft.mapping("metadata.labels")[INJECTED_LABEL] = "true"
            annotations = self._draft.mapping("metadata.annotations")
            annotations[INJECTED_ANNOTATION] = encode_record(self._record)
        else:
            (self._draft.peek("metadata.labels") or {}).pop(INJECTED_LABEL, None)
            (self._draft.peek("metadata.annotations") or {}).pop(INJECTED_ANNOTATION, None)
            self._draft.prune()

    @property
    def _record(self) -> Record:
        return Record(self._policies, self._draft.made)

    def _apply(self, wish: Desired) -> None:
        if self.is_current(wish):
            return
        obstacles = tuple(self._find_obstacles(wish))
        if obstacles:
            self._obstacles[wish.key] = obstacles
            return
        parts = frozenset(part for _, part, _, _ in _list_parts(wish))
        self._remove(wish.key, wanted_again=parts)
        self._changed.add(wish.key)
        self._policies[wish.key] = PolicyRecord(wish.revision, dict(self._add(wish)))

    def _find_obstacles(self, wish: Desired) -> Iterator[Finding]:
        containers = [*self._items("spec.initContainers"), *self._items("spec.containers")]
        yield from self._clashes(wish, "container", names(wish.sidecars), containers)
        yield from self._clashes(wish, "volume", names(wish.volumes), self._items("spec.volumes"))
        rule = obstacle(self._draft, wish.node_rule, site=self._site)
        if rule is not None:
            yield rule

    def _clashes(
        self, wish: Desired, noun: str, wanted: Iterable[str], present: Iterable[Mapping[str, Any]]
    ) -> Iterator[Finding]:
        mine = self._policies.get(wish.key)
        for item in present:
            name = str(item.get("name"))
            part = f"{noun}/{name}"
            if name not in wanted or (mine and _is_ours(part, item, mine.parts)):
                continue
            if mine and part in mine.parts:
                yield Finding(
                    Reason.PART_CHANGED,
                    f"{noun} {name!r} was changed after it was injected; undo that change, or give "
                    "it another name in the policy",
                )
                continue
            holder = next((key for key, each in self._policies.items() if part in each.parts), None)
            owner = f"added by {holder}" if holder else "the workload's own"
            yield Finding(
                Reason.NAME_CONFLICT,
                f"{noun} {name!r} is already in the Pod template ({owner}); rename it in the "
                "policy",
            )

    def _remove(self, key: str, *, wanted_again: frozenset[str]) -> None:
        """Takes a policy's parts out, containers first, so that volumes are free to go."""
        record = self._record
        mine = self._policies.pop(key, None)
        if mine is None:
            return
        self._changed.add(key)
        leftovers = []
        for part, digest in sorted(mine.parts.items()):
            if record.others_hold(part, than=key):
                continue
            if part.startswith(("nodeTerm/", "nodeSelector/")):
                remove_rule(self._draft, part, digest)
            elif reason := self._reason_to_stay(part, mine.parts, part in wanted_again):
                leftovers.append(Finding(Reason.PART_CHANGED, f"{part} stays: {reason}"))
            else:
                self._remove_item(part)
        if leftovers:
            self._leftovers[key] = tuple(leftovers)

    def _reason_to_stay(
        self, part: str, parts: Mapping[str, str], wanted_again: bool
    ) -> str | None:
        noun, _, name = part.partition("/")
        found = next((item for item in self._items(_LISTS[noun]) if item.get("name") == name), None)
        if found is not None and not _is_ours(part, found, parts):
            return "it was changed after it was injected"
        if noun == "volume" and not wanted_again and (user := self._mounting(name)):
            return f"container {user!r} mounts it"
        return None

    def _mounting(self, volume: str) -> str | None:
        """A container that would be invalid without the volume."""
        for container in [*self._items("spec.initContainers"), *self._items("spec.containers")]:
            mounts = [
                *(container.get("volumeMounts") or ()),
                *(container.get("volumeDevices") or ()),
            ]
            if volume in names(mounts):
                return str(container.get("name"))
        return None

    def _remove_item(self, part: str) -> None:
        noun, _, name = part.partition("/")
        items = self._items(_LISTS[noun])
        items[:] = [item for item in items if item.get("name") != name]

    def _add(self, wish: Desired) -> Iterator[tuple[str, str]]:
        at = self._first_free_place(wish.key)
        for path, part, item, digest in _list_parts(wish):
            items = self._draft.items(path)
            if part.startswith("container/"):
                items.insert(at, dict(item))
                at += 1
            elif item.get("name") not in names(items):
                items.append(dict(item))
            elif not self._record.others_hold(part, than=wish.key):
                continue  # a pull secret that the user already has is not ours
            yield part, digest
        yield from self._node_rule_part(wish)

    def _first_free_place(self, key: str) -> int:
        """Index before all init containers but after those of policies that come earlier."""
        earlier = {
            part for other, each in self._policies.items() if other < key for part in each.parts
        }
        init_containers = self._items("spec.initContainers")
        for index, container in enumerate(init_containers):
            if f"container/{container.get('name')}" not in earlier:
                return index
        return len(init_containers)

    def _node_rule_part(self, wish: Desired) -> Iterator[tuple[str, str]]:
        if wish.node_rule is NodeRule.NONE:
            return
        if not rule_holds(self._draft, wish.node_rule):
            yield add_rule(self._draft, wish.node_rule, site=self._site)
            return
        for each in self._policies.values():
            for part in {term_part(wish.node_rule), SELECTOR_PART} & each.parts.keys():
                yield part, each.parts[part]

    def _items(self, path: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self._draft.peek(path) or []
        return items


_LISTS = {
    "container": "spec.initContainers",
    "volume": "spec.volumes",
    "imagePullSecret": "spec.imagePullSecrets",
}


def _list_parts(wish: Desired) -> Iterator[tuple[str, str, Mapping[str, Any], str]]:
    """(path of the list, part key, item, digest) of each part that is a list item."""
    for sidecar in wish.sidecars:
        yield (
            _LISTS["container"],
            f"container/{sidecar['name']}",
            sidecar,
            container_digest(sidecar),
        )
    for volume in wish.volumes:
        yield _LISTS["volume"], f"volume/{volume['name']}", volume, volume_digest(volume)
    for secret in wish.image_pull_secrets:
        yield _LISTS["imagePullSecret"], f"imagePullSecret/{secret['name']}", secret, ""


def _is_ours(part: str, item: Mapping[str, Any], parts: Mapping[str, str]) -> bool:
    """Whether the item still is what the record says we put there."""
    if part not in parts:
        return False
    digests = {"container": container_digest, "volume": volume_digest}
    digest = digests.get(part.partition("/")[0])
    return digest is None or digest(item) == parts[part]
