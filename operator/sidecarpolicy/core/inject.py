"""The engine: `inject(template, verdicts)` adds, replaces, keeps or removes policies' parts.

One function serves the controller, the webhook and the command line, so they cannot
disagree. Its laws, each a property test: the input is never changed; injecting twice
is injecting once; removing gives back what the user wrote; a policy that is held
keeps its parts whatever happens to the others; nothing is half applied.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from sidecarpolicy.api.names import INJECTED_ANNOTATION, INJECTED_LABEL
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core import adoption, graceperiod
from sidecarpolicy.core.conflicts import name_conflict, within
from sidecarpolicy.core.desired import Desired, names
from sidecarpolicy.core.draft import Draft
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.former import PREFIX as ADOPTED
from sidecarpolicy.core.mounts import missing_volumes, users_of
from sidecarpolicy.core.namesakes import crowded_out
from sidecarpolicy.core.noderule import (
    RULE_PARTS,
    Rule,
    add_rule,
    obstacle,
    pod_part,
    remove_rule,
    rule_holds,
    term_part,
)
from sidecarpolicy.core.nouns import NOUNS
from sidecarpolicy.core.ordering import arranged
from sidecarpolicy.core.ownership import NodeRuleSite
from sidecarpolicy.core.parts import (
    CONTAINER_PARTS,
    Part,
    container_names,
    keys_of,
    place,
    restart_policy,
    wished_parts,
)
from sidecarpolicy.core.ports import port_clashes, ports
from sidecarpolicy.core.record import (
    SELECTOR_PART,
    PolicyRecord,
    Record,
    encode_record,
    read_record,
)


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
    template: Mapping[str, Any],
    verdicts: Sequence[Verdict],
    *,
    site: NodeRuleSite,
    claims: frozenset[str] = frozenset(),
) -> Injection:
    """Carries out the verdicts on a Pod template; the very same object if nothing changes.

    A recorded policy without a verdict is held: absence of evidence removes nothing. Of
    two policies that want the same, the earlier by key wins, unless the later is held.
    `claims` are volumes that a StatefulSet makes beside the template.
    """
    record = read_record(template)
    if isinstance(record, Finding):
        return Injection(template, obstacles={each.key: (record,) for each in verdicts})
    surgery = _Surgery(template, record, site, claims)
    for key in sorted(crowded_out(template, record)):
        surgery.remove(key)
    wishes = [each.desired for each in verdicts if each.desired is not None]
    current = frozenset(wish.key for wish in wishes if surgery.is_current(wish))
    for verdict in verdicts:
        if verdict.action is Action.REMOVE:
            surgery.remove(verdict.key)
    applied = (each.desired for each in verdicts if each.action is Action.APPLY)
    surgery.apply_all(sorted(filter(None, applied), key=lambda wish: wish.key))
    return surgery.close(current)


class _Surgery:
    """One run of the engine over one template."""

    def __init__(
        self,
        template: Mapping[str, Any],
        record: Record,
        site: NodeRuleSite,
        claims: frozenset[str],
    ) -> None:
        self._template = template
        self._draft = Draft(template, record.made)
        self._policies = dict(record.policies)
        self._site = site
        self._claims = claims
        self._changed: set[str] = set()
        self._obstacles: dict[str, tuple[Finding, ...]] = {}
        self._leftovers: dict[str, tuple[Finding, ...]] = {}

    def is_current(self, wish: Desired) -> bool:
        """Whether the template carries all that a policy wishes, whoever else changed it."""
        mine = self._policies.get(wish.key)
        return (
            mine is not None
            and mine.revision == wish.revision
            and (rule_holds(self._draft, wish.rule) or pod_part(wish.rule) in mine.parts)
            and graceperiod.enough(self._draft, wish.min_grace_seconds)
            and all(
                part.satisfied(self._draft) and mine.parts.get(part.key, part.digest) == part.digest
                for part in self._wished(wish)
            )
            and adoption.complete(wish, self._draft, self._policies)
        )

    def apply_all(self, wishes: Sequence[Desired]) -> None:
        """Applies policies in their order; a later one makes way for an earlier."""
        for index, wish in enumerate(wishes):
            if self.is_current(wish):
                continue
            yielding = frozenset(later.key for later in wishes[index + 1 :])
            wished = self._wished(wish)
            obstacles = tuple(self._find_obstacles(wish, wished, yielding))
            if obstacles:
                self._obstacles[wish.key] = obstacles
                if any(each.reason is Reason.NOTHING_TO_ADOPT for each in obstacles):
                    self.remove(wish.key)  # an older revision wanted something here
            else:
                self._apply(wish, wished, yielding)

    def remove(self, key: str, *, wanted_again: frozenset[str] = frozenset()) -> None:
        """Takes a policy's parts out, volumes last, when nothing of it mounts them any more.

        What has to stay is a leftover, unless it is `wanted_again`.
        """
        mine = self._policies.get(key)
        if mine is None:
            return
        record = self._record
        del self._policies[key]
        self._changed.add(key)
        adoption.put_back(self._draft, mine.parts, self._policies)
        leftovers = []
        parts = (each for each in mine.parts.items() if not each[0].startswith(ADOPTED))
        for part, digest in sorted(parts, key=lambda each: each[0].startswith("volume/")):
            if part == graceperiod.PART:
                reason = graceperiod.lower(self._draft, digest, self._others(part))
            elif record.others_hold(part, than=key):
                reason = None
            elif part.startswith(RULE_PARTS):
                remove_rule(self._draft, part, digest)
                reason = None
            else:
                reason = self._remove_item(part, digest, wanted_again=part in wanted_again)
            if reason is not None and part not in wanted_again:
                leftovers.append(Finding(Reason.PART_CHANGED, f"{part} stays: {reason}"))
        if leftovers:
            self._leftovers[key] = tuple(leftovers)

    def close(self, current: frozenset[str]) -> Injection:
        """Writes the record and the label, and returns the finished template."""
        template: Mapping[str, Any] = self._template
        if self._changed:
            self._write_record()
            template = self._draft.template
        changed = frozenset(self._changed)
        return Injection(template, current, changed, self._obstacles, self._leftovers)

    def _wished(self, wish: Desired) -> tuple[Part, ...]:
        recorded = [part for each in self._policies.values() for part in each.parts]
        return tuple(wished_parts(wish, self._draft, recorded=recorded))

    @property
    def _record(self) -> Record:
        return Record(dict(self._policies), self._draft.made)

    def _others(self, part: str) -> list[str]:
        """Digests of a part in the records of the remaining policies."""
        return [each.parts[part] for each in self._policies.values() if part in each.parts]

    def _write_record(self) -> None:
        if self._policies:
            self._draft.prune()
            self._draft.mapping("metadata.labels")[INJECTED_LABEL] = "true"
            annotations = self._draft.mapping("metadata.annotations")
            annotations[INJECTED_ANNOTATION] = encode_record(self._record)
        else:
            (self._draft.edit("metadata.labels") or {}).pop(INJECTED_LABEL, None)
            (self._draft.edit("metadata.annotations") or {}).pop(INJECTED_ANNOTATION, None)
            self._draft.prune()

    def _find_obstacles(
        self, wish: Desired, wished: Sequence[Part], yielding: frozenset[str]
    ) -> Iterator[Finding]:
        yield from within(wish, wished, restart_policy(self._draft))
        for part in wished:
            yield from self._clash(part, wish.key, yielding)
        yield from port_clashes(wish, self._containers_beside(wish, yielding))
        yield from missing_volumes(wish, self._volumes_beside(wish, yielding))
        yield from filter(None, [obstacle(self._draft, wish.rule, site=self._site)])
        yield from adoption.obstacles(wish, self._draft, self._policies, yielding=yielding)
        adopted = adoption.prospects(wish, self._draft)
        others = self._foreign_init_containers(wish.key, but=names(adopted))
        arrangement = arranged(wish, others, earlier=(), adopted=adopted)
        if isinstance(arrangement, Finding):
            yield arrangement

    def _clash(self, part: Part, key: str, yielding: frozenset[str]) -> Iterator[Finding]:
        """Why a part cannot be added: somebody else has its place, or changed ours."""
        noun, name = part.place.noun, part.place.name
        taken = part.place.find(self._draft)
        twin = part.place.twin
        if twin is not None and twin.find(self._draft) is not None:
            other = self._holder(f"{twin.noun}/{name}")
            if other is None or other not in (key, *yielding):
                yield name_conflict(part, f"added by {other}" if other else "the workload's own")
        if noun == "volume" and name in self._claims:
            yield name_conflict(part, "made by its volumeClaimTemplates")
        if taken is None or (NOUNS[noun].shared and part.satisfied(self._draft)):
            return
        holder = self._holder(part.key)
        if holder is None:
            yield name_conflict(part, "the workload's own")
        elif holder == key and not part.place.holds(
            self._draft, self._policies[key].parts[part.key]
        ):
            yield Finding(
                Reason.PART_CHANGED,
                f"{part.key} was changed after it was injected; undo that change, or give it "
                "another name in the policy",
            )
        elif holder != key and holder not in yielding:
            yield name_conflict(part, f"added by {holder}")

    def _containers_beside(
        self, wish: Desired, yielding: frozenset[str]
    ) -> Iterator[Mapping[str, Any]]:
        """Containers that stay when this policy and those that make way for it are out."""
        ours = {name for key in (wish.key, *yielding) for name in self._containers_of(key)}
        return (each for each in self._foreign_containers() if each.get("name") not in ours)

    def _volumes_beside(self, wish: Desired, yielding: frozenset[str]) -> frozenset[str]:
        """Volumes that stay, whatever becomes of this policy and of those that make way for it."""
        staying = self._policies.keys() - {wish.key, *yielding}
        kept = {part for key in staying for part in self._policies[key].parts}
        added = {part for each in self._policies.values() for part in each.parts} - kept
        present = names(self._draft.peek("spec.volumes") or [])
        return self._claims | {name for name in present if f"volume/{name}" not in added}

    def _containers_of(self, key: str) -> frozenset[str]:
        """Names of the containers that a policy added."""
        mine = self._policies.get(key)
        return container_names(mine.parts if mine else ())

    def _foreign_containers(self) -> list[dict[str, Any]]:
        init, regular = map(self._draft.peek, ("spec.initContainers", "spec.containers"))
        return [*(init or ()), *(regular or ())]

    def _foreign_init_containers(self, key: str, *, but: Iterable[str]) -> list[dict[str, Any]]:
        mine = {*self._containers_of(key), *but}
        present = self._draft.peek("spec.initContainers") or []
        return [each for each in present if each.get("name") not in mine]

    def _holder(self, part: str) -> str | None:
        return next((key for key, each in self._policies.items() if part in each.parts), None)

    def _apply(self, wish: Desired, wished: Sequence[Part], yielding: frozenset[str]) -> None:
        for rival in self._rivals(wish, wished, yielding):
            self.remove(rival)
        self.remove(wish.key, wanted_again=keys_of(wish, wished))
        self._changed.add(wish.key)
        self._policies[wish.key] = PolicyRecord(wish.revision, dict(self._add(wish, wished)))

    def _rivals(
        self, wish: Desired, wished: Sequence[Part], yielding: frozenset[str]
    ) -> frozenset[str]:
        """Later policies that hold what this one wants; each loses all that it added."""
        if not yielding:
            return yielding
        holders = {
            self._holder(key)
            for part in wished
            if not (NOUNS[part.place.noun].shared and part.satisfied(self._draft))
            for key in part.names
        }
        holders |= adoption.rivals(wish, self._draft, self._policies, yielding=yielding)
        wanted = {port for sidecar in wish.sidecars for port in ports(sidecar)}
        for key in yielding:
            own = self._containers_of(key)
            used = (each for each in self._foreign_containers() if each.get("name") in own)
            if any(port in wanted for container in used for port in ports(container)):
                holders.add(key)
        return frozenset(key for key in yielding if key in holders)

    def _add(self, wish: Desired, wished: Sequence[Part]) -> Iterator[tuple[str, str]]:
        adopted = adoption.take(wish, self._draft, self._policies)
        arrangement = arranged(
            wish,
            self._draft.items("spec.initContainers"),
            earlier=self._earlier(wish.key),
            adopted=[each.container for each in adopted],
            restart_policy=restart_policy(self._draft),
        )
        if not isinstance(arrangement, Finding):
            self._draft.items("spec.initContainers")[:] = arrangement
        yield from ((each.part, each.was) for each in adopted)
        for part in wished:
            if part.place.noun == "container":
                yield part.key, part.digest
            elif part.place.find(self._draft) is None:
                self._draft.items(part.place.path_in(self._draft)).append(dict(part.item))
                yield part.key, part.digest
            elif self._others(part.key):
                yield part.key, part.digest  # the same wish of another policy: kept for both
        yield from self._node_rule_part(wish)
        others = self._others(graceperiod.PART)
        wanted = wish.min_grace_seconds
        if wanted and (others or not graceperiod.enough(self._draft, wanted)):
            yield graceperiod.PART, graceperiod.raised(self._draft, wanted, others)

    def _earlier(self, key: str) -> frozenset[str]:
        """Names of the sidecars of policies that come before this one."""
        keys = (other for other in self._policies if other < key)
        return frozenset(name for other in keys for name in self._containers_of(other))

    def _node_rule_part(self, wish: Desired) -> Iterator[tuple[str, str]]:
        if wish.rule is Rule.NONE:
            return
        if not rule_holds(self._draft, wish.rule):
            yield add_rule(self._draft, wish.rule, site=self._site)
            return
        for part in (term_part(wish.rule), SELECTOR_PART):
            yield from ((part, digest) for digest in self._others(part)[:1])

    def _remove_item(self, key: str, digest: str, *, wanted_again: bool) -> str | None:
        """Takes an item out; returns the reason if it has to stay."""
        where = place(key)
        if where.find(self._draft) is None:
            return None
        if not where.holds(self._draft, digest):
            return "it was changed after it was injected"
        freed = where.noun == "volume" and not wanted_again
        mounting = users_of(where.name, self._foreign_containers()) if freed else ()
        if heir := next(filter(None, (self._owner(*each) for each in mounting)), None):
            self._bequeath(heir, key, digest)
            return None
        for container, _ in mounting:
            return f"container {container!r} mounts it"
        where.remove(self._draft)
        return None

    def _owner(self, container: str, path: str) -> str | None:
        """The policy that mounts: by its own sidecar, or in an application container."""
        keys = (*(noun + container for noun in CONTAINER_PARTS), f"volumeMount/{container}:{path}")
        return next(filter(None, map(self._holder, keys)), None)

    def _bequeath(self, heir: str, part: str, digest: str) -> None:
        """Leaves a volume to another policy that needs it, to go when that one goes."""
        record = self._policies[heir]
        self._policies[heir] = replace(record, parts={**record.parts, part: digest})
