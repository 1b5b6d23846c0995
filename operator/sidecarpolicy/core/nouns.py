"""Nouns: the kinds of items that policies add to lists of the Pod spec."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sidecarpolicy.core.semantic import (
    container_digest,
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
    "regularContainer": Noun("name", container_digest, shared=False),
    "volume": Noun("name", volume_digest, shared=False),
    "imagePullSecret": Noun("name", lambda _: "", shared=True),
    "env": Noun("name", env_digest, shared=True),
    "volumeMount": Noun("mountPath", mount_digest, shared=True),
}
