"""Which workloads are scaled by utilization: a mirror of HorizontalPodAutoscalers.

Watched, not asked for: an autoscaler may come after the sidecar that it cannot count.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

from sidecarpolicy.core.autoscaling import Autoscaler, autoscaler
from sidecarpolicy.core.facts import RawObject

Held = tuple[str, str, Autoscaler | None]
"""Namespace, name, and what it scales; None for one that needs no requests."""


class ScalerMirror:
    """Feeds autoscalers from a reflector; most are written every few seconds, and seldom new."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        """`changed` is told the namespace in which something else is scaled now."""
        self._changed = changed
        self._held: defaultdict[str, dict[str, Autoscaler]] = defaultdict(dict)

    def of(self, namespace: str) -> tuple[Autoscaler, ...]:
        """Those of a namespace, in the order of their names."""
        return tuple(each for _, each in sorted(self._held.get(namespace, {}).items()))

    def facts(self, obj: RawObject) -> Held:
        """What is kept of a raw object."""
        meta = obj["metadata"]
        return meta["namespace"], meta["name"], autoscaler(obj)

    def replace(self, held: Iterable[Held]) -> None:
        """Takes in a complete list."""
        listed = list(held)
        present = {(namespace, name) for namespace, name, _ in listed}
        for namespace, known in list(self._held.items()):
            for name in [each for each in known if (namespace, each) not in present]:
                self._put(namespace, name, None)
        for each in listed:
            self.store(each)

    def store(self, held: Held) -> None:
        """Takes in one autoscaler."""
        self._put(*held)

    def forget(self, held: Held) -> None:
        """Drops one autoscaler."""
        self._put(held[0], held[1], None)

    def _put(self, namespace: str, name: str, found: Autoscaler | None) -> None:
        known = self._held[namespace]
        if known.get(name) == found:
            return
        if found is None:
            del known[name]
        else:
            known[name] = found
        self._changed(namespace)
