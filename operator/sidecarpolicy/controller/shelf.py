"""A shelf: the latest facts of one kind by key. Facts on it only ever move forward."""

from collections.abc import Hashable, Iterator
from dataclasses import replace
from typing import Generic, TypeVar

from sidecarpolicy.core.facts import NamespaceFacts, NodeFacts, PolicyFacts, WorkloadFacts

Key = TypeVar("Key", bound=Hashable)
Fact = TypeVar("Fact", NodeFacts, NamespaceFacts, PolicyFacts, WorkloadFacts)


class Shelf(Generic[Key, Fact]):
    """Facts by key. An event older than what is held (our own write is newer than events
    still on their way) is ignored, unless the object was re-created.
    """

    def __init__(self) -> None:
        self._facts: dict[Key, Fact] = {}

    def __iter__(self) -> Iterator[Fact]:
        return iter(self._facts.values())

    def get(self, key: Key) -> Fact | None:
        """The facts of one object."""
        return self._facts.get(key)

    def keys(self) -> frozenset[Key]:
        """All keys held."""
        return frozenset(self._facts)

    def put(self, key: Key, fact: Fact) -> bool:
        """Takes facts in; whether they say something new."""
        held = self._facts.get(key)
        if held is not None and held.uid == fact.uid and held.version > fact.version > 0:
            return False
        self._facts[key] = fact
        return held is None or replace(held, version=fact.version) != fact

    def refresh(self, key: Key, fact: Fact) -> bool:
        """As `put`, for what a write of ours returned: brings back nothing that was dropped."""
        return key in self._facts and self.put(key, fact)

    def drop(self, key: Key) -> bool:
        """Forgets an object; whether it was held."""
        return self._facts.pop(key, None) is not None
