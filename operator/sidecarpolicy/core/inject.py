"""The engine: `inject(template, verdicts)` adds, replaces, keeps or removes policies' parts.

One function serves the controller, the webhook and the command line, so they cannot
disagree. Its laws, each a property test: the input is never changed; injecting twice
is injecting once; removing gives back what the user wrote; a policy that is held
keeps its parts whatever happens to the others; nothing is half applied.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sidecarpolicy.api.models import NodeRule
from sidecarpolicy.api.names import INJECTED_ANNOTATION, INJECTED_LABEL
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.desired import Desired, names
from sidecarpolicy.core.draft import Draft
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.noderule import (
    SELECTOR_PART,
    add_rule,
    obstacle,
    remove_rule,
    rule_holds,
    term_part,
)
from sidecarpolicy.core.ownership import NodeRuleSite
from sidecarpolicy.core.record import PolicyRecord, Record, encode_record, read_record
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
    """The resulting template and, by policy key, what stood in the way."""

    template: Mapping[str, Any]
    findings: Mapping[str, tuple[Finding, ...]]


def inject(
    template: Mapping[str, Any], verdicts: Sequence[Verdict], *, site: NodeRuleSite
) -> Injection:
    """Carries out the verdicts on a Pod template; the very same object if nothing changes.

    A recorded policy without a verdict is held: absence of evidence removes nothing.
    """
    record = read_record(template)
    if isinstance(record, Finding):
        return Injection(template, {each.key: (record,) for each in verdicts})
    surgery = _Surgery(template, record, site)
    for verdict in sorted(verdicts, key=lambda each: (each.action is not Action.REMOVE, each.key)):
        surgery.perform(verdict)
    return Injection(surgery.close(), surgery.findings)


class _Surgery:
    """One run of the engine over one template."""

    def __init__(self, template: Mapping[str, Any], record: Record, site: NodeRuleSite) -> None:
        self._template = template
        self._draft = Draft(template, record.made)
        self._policies = dict(record.policies)
        self._site = site
        self._changed = False
        self.findings: dict[str, tuple[Finding, ...]] = {}

    def perform(self, verdict: Verdict) -> None:
        """Carries out one verdict, or notes why that cannot be."""
        if verdict.action is Action.REMOVE:
            self._note(verdict.key, self._remove(verdict.key))
        elif verdict.action is Action.APPLY and verdict.desired is not None:
            self._apply(verdict.desired)

    def close(self) -> Mapping[str, Any]:
        """Writes the record and the label, and returns the finished template."""
        if not self._changed:
            return self._template
        if self._policies:
            self._draft.prune()
            self._draft.mapping("metadata.labels")[INJECTED_LABEL] = "true"
            annotations = self._draft.mapping("metadata.annotations")
            annotations[INJECTED_ANNOTATION] = encode_record(self._record)
        else:
            (self._draft.peek("metadata.labels") or {}).pop(INJECTED_LABEL, None)
            (self._draft.peek("metadata.annotations") or {}).pop(INJECTED_ANNOTATION, None)
            self._draft.prune()
        return self._draft.template

    @property
    def _record(self) -> Record:
        return Record(self._policies, self._draft.made)

    def _apply(self, wish: Desired) -> None:
        if self._is_current(wish):
            return
        obstacles = tuple(self._obstacles(wish))
        if obstacles:
            self._note(wish.key, obstacles)
            return
        self._remove(wish.key)
        self._changed = True
        self._policies[wish.key] = PolicyRecord(wish.revision, dict(self._add(wish)))

    def _is_current(self, wish: Desired) -> bool:
        mine = self._policies.get(wish.key)
        if mine is None or mine.revision != wish.revision:
            return False
        return rule_holds(self._draft, wish.node_rule) and all(
            any(covers(live, item) for live in self._draft.peek(path) or [])
            and mine.parts.get(part, "") in ("", digest)
            for path, part, item, digest in _list_parts(wish)
        )

    def _obstacles(self, wish: Desired) -> Iterator[Finding]:
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
            holder = next((key for key, each in self._policies.items() if part in each.parts), None)
            owner = f"added by {holder}" if holder else "the workload's own"
            yield Finding(
                Reason.NAME_CONFLICT,
                f"{noun} {name!r} is already in the Pod template ({owner}); rename it in the "
                "policy",
            )

    def _remove(self, key: str) -> tuple[Finding, ...]:
        record = self._record
        mine = self._policies.pop(key, None)
        if mine is None:
            return ()
        self._changed = True
        leftovers = []
        for part, digest in mine.parts.items():
            if record.others_hold(part, than=key):
                continue
            if part.startswith(("nodeTerm/", "nodeSelector/")):
                remove_rule(self._draft, part, digest)
            elif not self._remove_item(part, mine.parts):
                leftovers.append(part)
        return tuple(
            Finding(Reason.PART_CHANGED, f"{part} was changed after it was injected and stays")
            for part in leftovers
        )

    def _remove_item(self, part: str, parts: Mapping[str, str]) -> bool:
        """Removes a list item; False if something else stands in its place."""
        noun, _, name = part.partition("/")
        items = self._items(_LISTS[noun])
        found = next((item for item in items if item.get("name") == name), None)
        if found is None:
            return True
        if not _is_ours(part, found, parts):
            return False
        items.remove(found)
        return True

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

    def _note(self, key: str, findings: tuple[Finding, ...]) -> None:
        if findings:
            self.findings[key] = findings


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
