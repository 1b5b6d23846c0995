"""Parts: the list items that a policy adds to a template, and how to find each by its key.

Every part is an item of some list of the Pod spec. Its key, which the record keeps, says
which: `container/NAME`, `volume/NAME`, `imagePullSecret/NAME`, `env/CONTAINER:NAME`,
`volumeMount/CONTAINER:PATH`. So adding, finding and removing are the same for all kinds.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sidecarpolicy.core.desired import Desired, names
from sidecarpolicy.core.draft import Draft
from sidecarpolicy.core.semantic import (
    container_digest,
    covers,
    env_digest,
    mount_digest,
    volume_digest,
)

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Noun:
    """A kind of part: the field that names an item, and what identifies one as ours.

    A `shared` item may be wished for by several, users included, if they wish the same.
    """

    field: str
    digest: Callable[[Item], str]
    shared: bool


NOUNS: Mapping[str, Noun] = {
    "container": Noun("name", container_digest, shared=False),
    "volume": Noun("name", volume_digest, shared=False),
    "imagePullSecret": Noun("name", lambda _: "", shared=True),
    "env": Noun("name", env_digest, shared=True),
    "volumeMount": Noun("mountPath", mount_digest, shared=True),
}

_LISTS = {
    "container": "spec.initContainers",
    "volume": "spec.volumes",
    "imagePullSecret": "spec.imagePullSecrets",
}
_FIELDS = {"env": "env", "volumeMount": "volumeMounts"}


@dataclass(frozen=True)
class Place:
    """Where a part stands: the dotted path of its list, and its name in there."""

    noun: str
    path: str
    name: str

    def find(self, draft: Draft) -> dict[str, Any] | None:
        """The item, whoever wrote it."""
        field = NOUNS[self.noun].field
        items: list[dict[str, Any]] = draft.peek(self.path) or []
        return next((item for item in items if item.get(field) == self.name), None)

    def remove(self, draft: Draft) -> None:
        """Takes the item out of its list."""
        field = NOUNS[self.noun].field
        items: list[dict[str, Any]] = draft.edit(self.path) or []
        items[:] = [item for item in items if item.get(field) != self.name]

    def holds(self, draft: Draft, digest: str) -> bool:
        """Whether the item is there, and still what the digest was taken of."""
        item = self.find(draft)
        return item is not None and NOUNS[self.noun].digest(item) == digest


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

    @property
    def place(self) -> Place:
        """Where it belongs."""
        return place(self.key)

    @property
    def digest(self) -> str:
        """What will tell it from something that somebody puts in its place."""
        return NOUNS[self.place.noun].digest(self.item)

    def satisfied(self, draft: Draft) -> bool:
        """Whether the template says at least what is wished, whoever wrote it."""
        found = self.place.find(draft)
        return found is not None and covers(found, self.item)


def wished_parts(wish: Desired, draft: Draft) -> Iterator[Part]:
    """All parts of a policy, for the application containers that the template has."""
    for sidecar in wish.sidecars:
        yield Part(f"container/{sidecar['name']}", sidecar)
    for volume in wish.volumes:
        yield Part(f"volume/{volume['name']}", volume)
    for secret in wish.image_pull_secrets:
        yield Part(f"imagePullSecret/{secret['name']}", secret)
    present = names(draft.peek("spec.containers") or [])
    for container in present:
        if wish.app_containers and container not in wish.app_containers:
            continue
        for mount in wish.app_mounts:
            yield Part(f"volumeMount/{container}:{mount['mountPath']}", mount)
        for variable in wish.app_env:
            yield Part(f"env/{container}:{variable['name']}", variable)
