"""A Pod template being changed: a private copy that remembers what it had to make.

Lists and objects that did not exist before are noted as *made*, so that taking the
last part out also takes them out, and a template that never had `affinity` has none
again.
"""

import copy
from collections.abc import Mapping
from typing import Any


class Draft:
    """A changeable deep copy of a Pod template."""

    def __init__(self, template: Mapping[str, Any], made: frozenset[str] = frozenset()) -> None:
        self.template: dict[str, Any] = copy.deepcopy(dict(template))
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
            if isinstance(value, list):  # a list of named items, such as containers
                value = next((item for item in value if item.get("name") == step), None)
            elif isinstance(value, Mapping):
                value = value.get(step)
            else:
                return None
        return value

    def prune(self) -> None:
        """Removes what we made and what is empty now, innermost first."""
        for path in sorted(self._made, key=lambda each: each.count("."), reverse=True):
            if not self.peek(path):
                self.drop(path)

    def drop(self, path: str) -> None:
        """Removes the value at a dotted path, if it is there."""
        self._made.discard(path)
        parent_path, _, key = path.rpartition(".")
        parent = self.peek(parent_path) if parent_path else self.template
        if isinstance(parent, dict):
            parent.pop(key, None)

    def _parent(self, path: str) -> dict[str, Any]:
        if not path:
            return self.template
        found = self.peek(path)
        return found if isinstance(found, dict) else self.mapping(path)

    def _ensure(self, path: str, empty: Any) -> Any:
        parent_path, _, key = path.rpartition(".")
        parent = self._parent(parent_path)
        if parent.get(key) is None:
            parent[key] = empty
            self._made.add(path)
        return parent[key]
