"""A Pod template being changed: a draft that shares with it what it does not touch.

An object or list is copied when it is first edited, with all that it stands in; so the
template itself never changes, and comparing the two stops wherever they share.
Lists and objects that did not exist before are noted as *made*, so that taking the
last part out also takes them out, and a template that never had `affinity` has none
again.
"""

from collections.abc import Mapping
from typing import Any


class Draft:
    """A changeable Pod template; what `peek` returns is only to be read."""

    def __init__(self, template: Mapping[str, Any], made: frozenset[str] = frozenset()) -> None:
        self._copies: dict[int, Any] = {}  # by id; kept, so that none is given out again
        self.template: dict[str, Any] = dict(template)
        self._made = set(made)

    @property
    def made(self) -> frozenset[str]:
        """Dotted paths of the lists and objects that exist only because of us."""
        return frozenset(self._made)

    @property
    def spec(self) -> dict[str, Any]:
        """The Pod spec."""
        return self.mapping("spec")

    def mapping(self, path: str) -> dict[str, Any]:
        """The object at a dotted path, made (and noted) where it is missing."""
        found: dict[str, Any] = self._ensure(path, {})
        return found

    def items(self, path: str) -> list[dict[str, Any]]:
        """The list at a dotted path, made (and noted) where it is missing."""
        found: list[dict[str, Any]] = self._ensure(path, [])
        return found

    def peek(self, path: str) -> Any:
        """The value at a dotted path, or None; makes nothing."""
        value: Any = self.template
        for step in path.split("."):
            if isinstance(value, dict):
                value = value.get(step)
            elif isinstance(value, list):  # a list of named items, such as containers
                value = next((item for item in value if item.get("name") == step), None)
            else:
                return None
        return value

    def edit(self, path: str) -> Any:
        """The value at a dotted path, to be changed in place, or None; makes nothing."""
        value: Any = self.template
        for step in path.split("."):
            key = _key(value, step)
            if key is None:
                return None
            value[key] = self._own(value[key])
            value = value[key]
        return value

    def moved(self, source: str, target: str) -> None:
        """Notes that what stood at a dotted path is at another now, with all that we made in it."""
        inner = {each for each in self._made if each.startswith(f"{source}.")}
        self._made -= inner
        self._made |= {target + each.removeprefix(source) for each in inner}

    def prune(self) -> None:
        """Removes what we made and what is empty now, innermost first."""
        for path in sorted(self._made, key=lambda each: each.count("."), reverse=True):
            if not self.peek(path):
                self.drop(path)

    def drop(self, path: str) -> None:
        """Removes the value at a dotted path, if it is there."""
        self._made.discard(path)
        parent_path, _, key = path.rpartition(".")
        parent = self.edit(parent_path) if parent_path else self.template
        if isinstance(parent, dict):
            parent.pop(key, None)

    def _parent(self, path: str) -> dict[str, Any]:
        if not path:
            return self.template
        found = self.edit(path)
        return found if isinstance(found, dict) else self.mapping(path)

    def _ensure(self, path: str, empty: Any) -> Any:
        parent_path, _, key = path.rpartition(".")
        parent = self._parent(parent_path)
        if parent.get(key) is None:
            parent[key] = empty
            self._made.add(path)
        parent[key] = self._own(parent[key])
        return parent[key]

    def _own(self, value: Any) -> Any:
        """The draft's own copy of an object or list, without what stands in it."""
        if not isinstance(value, (dict, list)) or id(value) in self._copies:
            return value
        own = value.copy()
        self._copies[id(own)] = own
        return own


def _key(value: Any, step: str) -> Any:
    """Where a step of a path leads: a key, or the index of a named item; None if nowhere."""
    if isinstance(value, list):
        return next((at for at, item in enumerate(value) if item.get("name") == step), None)
    return step if isinstance(value, dict) and value.get(step) is not None else None
