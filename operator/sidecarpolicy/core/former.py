"""Former: where and how an ordinary container was before a policy adopted it.

Kept in the record, as the value of the part `adopted/NAME`. The container itself is not: it
goes on to be its owner's, and what he changes in it meanwhile goes back with it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

PREFIX = "adopted/"
"""How the part keys of adopted containers begin."""


@dataclass(frozen=True)
class Former:
    """The index in spec.containers, where all adopted ones would be back; fields that adopting
    added; and what those that it replaced said before.
    """

    at: int
    added: tuple[str, ...] = ()
    replaced: Mapping[str, Any] = field(default_factory=dict)

    def written(self) -> str:
        """The value of the part; the same former always gives the same text."""
        document = {"at": self.at, "added": self.added, "replaced": self.replaced}
        kept = {key: each for key, each in document.items() if each or key == "at"}
        return json.dumps(kept, sort_keys=True, separators=(",", ":"))


def former(text: str) -> Former:
    """What a part's value says; ValueError and its kin for anything that we did not write."""
    document = json.loads(text)
    at, added, replaced = document["at"], document.get("added", ()), document.get("replaced", {})
    if not isinstance(at, int) or at < 0 or not isinstance(replaced, dict):
        raise ValueError(f"not written by this version: {text[:80]!r}")
    return Former(at, tuple(map(str, added)), replaced)


def adopted_names(parts: Iterable[str]) -> tuple[str, ...]:
    """The containers that part keys say were adopted, in the order of the keys."""
    return tuple(part.removeprefix(PREFIX) for part in parts if part.startswith(PREFIX))
