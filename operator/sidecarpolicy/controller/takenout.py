"""What was taken out of which workload, for as long as that rolls because of it.

Those workloads hold a place (core.pace). Once its owner changes the template, too, a workload
rolls because of its owner: who edits all the time must not keep others from being set back.
"""

from collections.abc import Mapping

from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.standing import TemplateChange


class TakenOut:
    """Policy keys by workload, and the template that it was left with, as a hash."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._held: dict[Ref, tuple[frozenset[str], int]] = {}

    def note(self, change: TemplateChange) -> None:
        """Takes in a change that was made, and that the inventory knows of."""
        workload = self._inventory.workload(change.ref)
        if change.taken_out and workload is not None:
            self._held[change.ref] = change.taken_out, hash(workload.template)

    def rolling(self) -> Mapping[Ref, frozenset[str]]:
        """By workload, what was taken out; forgets those that came to rest, or were changed."""
        self._held = {ref: held for ref, held in self._held.items() if self._rolls(ref, held[1])}
        return {ref: keys for ref, (keys, _) in self._held.items()}

    def _rolls(self, ref: Ref, template: int) -> bool:
        workload = self._inventory.workload(ref)
        same = workload is not None and hash(workload.template) == template
        return same and self._inventory.rolling(ref)
