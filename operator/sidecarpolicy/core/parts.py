"""Parts: the list items that a policy adds to a template, and how to find each by its key.

Every part is an item of some list of the Pod spec. Its key, which the record keeps, says
which: `container/NAME` among the init containers, `regularContainer/NAME`, `volume/NAME`,
`imagePullSecret/NAME`, `env/CONTAINER:NAME`, `volumeMount/CONTAINER:PATH`. So adding,
finding and removing are the same for all kinds.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sidecarpolicy.core import graceperiod
from sidecarpolicy.core.desired import Desired, names
from sidecarpolicy.core.draft import Draft
from sidecarpolicy.core.former import adopted_names
from sidecarpolicy.core.nouns import NOUNS, Item
from sidecarpolicy.core.semantic import covers
from sidecarpolicy.core.universal import ORDINARY_PART

_LISTS = {
    "container": "spec.initContainers",
    "regularContainer": "spec.containers",
    "volume": "spec.volumes",
    "imagePullSecret": "spec.imagePullSecrets",
}
_TWINS = {"container": "regularContainer", "regularContainer": "container"}
_REGULAR, _INIT = "spec.containers.", "spec.initContainers."
_FIELDS = {"env": "env", "volumeMount": "volumeMounts"}


@dataclass(frozen=True)
class Place:
    """Where a part stands: the dotted path of its list, and its name in there."""

    noun: str
    path: str
    name: str

    def path_in(self, draft: Draft) -> str:
        """The dotted path of its list in this draft: an adopted container is among the init
        containers, with all that policies added to it.
        """
        holder, _, field = self.path.rpartition(".")
        moved = holder.replace(_REGULAR, _INIT)
        if moved == holder or draft.peek(holder) is not None or draft.peek(moved) is None:
            return self.path
        return f"{moved}.{field}"

    def find(self, draft: Draft) -> dict[str, Any] | None:
        """The item, whoever wrote it."""
        field = NOUNS[self.noun].field
        items: list[dict[str, Any]] = draft.peek(self.path_in(draft)) or []
        return next((item for item in items if item.get(field) == self.name), None)

    def remove(self, draft: Draft) -> None:
        """Takes the item out of its list."""
        field = NOUNS[self.noun].field
        items: list[dict[str, Any]] = draft.edit(self.path_in(draft)) or []
        items[:] = [item for item in items if item.get(field) != self.name]

    def holds(self, draft: Draft, digest: str) -> bool:
        """Whether the item is there, and still what the digest was taken of."""
        item = self.find(draft)
        return item is not None and NOUNS[self.noun].digest(item) == digest

    @property
    def twin(self) -> "Place | None":
        """Where a container of this name would be in the Pod's other list; names are unique."""
        other = _TWINS.get(self.noun)
        return None if other is None else place(f"{other}/{self.name}")


@lru_cache(maxsize=1024)
def place(key: str) -> Place:
    """The place that a part key names."""
    noun, _, name = key.partition("/")
    if noun in _LISTS:
        return Place(noun, _LISTS[noun], name)
    container, _, item = name.partition(":")
    return Place(noun, f"spec.containers.{container}.{_FIELDS[noun]}", item)


@dataclass(frozen=True)
class Part:
    """One part that a policy wishes for."""

    key: str
    item: Item
    digest: str
    """What will tell it from something that somebody puts in its place."""

    @property
    def place(self) -> Place:
        """Where it belongs."""
        return place(self.key)

    @property
    def names(self) -> tuple[str, ...]:
        """Its key, and that of a container of its name in the Pod's other list."""
        twin = self.place.twin
        return (self.key,) if twin is None else (self.key, f"{twin.noun}/{twin.name}")

    def satisfied(self, draft: Draft) -> bool:
        """Whether the template says at least what is wished, whoever wrote it."""
        found = self.place.find(draft)
        if found is None or not covers(found, self.item):
            return False
        # `emptyDir: {}` says nothing that another source would not cover, but is another volume.
        return self.place.noun != "volume" or self.item.keys() <= found.keys()


CONTAINER_PARTS: Final = ("container/", ORDINARY_PART)
"""How the part keys of containers that policies add begin."""


def container_names(parts: Iterable[str]) -> frozenset[str]:
    """Names of the containers that part keys say were added."""
    return frozenset(place(part).name for part in parts if part.startswith(CONTAINER_PARTS))


def restart_policy(draft: Draft) -> str:
    """The restart policy of the template's Pods; what is none is the API server's to refuse."""
    found = draft.peek("spec.restartPolicy")
    return found if isinstance(found, str) else "Always"


def wished_parts(wish: Desired, draft: Draft, *, recorded: Collection[str]) -> Iterator[Part]:
    """All parts of a policy, for the application containers that the template has.

    Containers that policies added, by the `recorded` part keys of all, are none of the
    application's. Those that they adopted go on to be: what one policy adds to them does not depend
    on what another adopts. Only its own are no application's to a policy, unless it names them.
    """
    for each in wish.pod_items(restart_policy(draft)):
        yield Part(f"{each.noun}/{each.name}", each.item, each.digest)
    own = wish.app_containers or {each.container for each in wish.adopt}
    for container in _of_the_owner(draft, recorded):
        if (container in own) is bool(wish.app_containers):
            for each in wish.app_items:
                yield Part(f"{each.noun}/{container}:{each.name}", each.item, each.digest)


def _of_the_owner(draft: Draft, recorded: Collection[str]) -> Iterator[str]:
    """Names of the regular containers that the workload has without any policy."""
    added, init = container_names(recorded), names(draft.peek("spec.initContainers") or [])
    regular = names(draft.peek("spec.containers") or [])
    yield from (each for each in regular if each not in added)
    yield from (each for each in adopted_names(recorded) if each in init)


def keys_of(wish: Desired, wished: Iterable[Part]) -> frozenset[str]:
    """Keys of all that a policy wishes for, apart from the node rule, which never has to stay."""
    keys = frozenset(part.key for part in wished)
    return keys if wish.min_grace_seconds is None else keys | {graceperiod.PART}
