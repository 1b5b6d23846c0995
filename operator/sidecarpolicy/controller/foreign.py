"""Foreign controllers: an annotation that a workload's owner takes away again is not written twice.

Each of the two writes makes the Pods roll, so two controllers that both insist would never
let them rest. What was written is remembered for as long as this process lives.
"""

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.semantic import fingerprint
from sidecarpolicy.core.standing import TemplateChange


class Foreign:
    """The last change that was made to each workload that another controller owns."""

    def __init__(self) -> None:
        self._made: dict[Ref, str] = {}

    def made(self, change: TemplateChange) -> None:
        """Notes that a change was made."""
        if change.owner is not None:
            self._made[change.ref] = _digest(change)

    def undone(self, change: TemplateChange) -> Finding | None:
        """That the very change was made before, and is gone again; or None."""
        if change.owner is None or self._made.get(change.ref) != _digest(change):
            return None
        return Finding(
            Reason.OWNED_BY_CONTROLLER,
            f"{change.owner} took our annotation out of the Pod template again; its next change of "
            "the template brings it back through the webhook",
        )

    def forget(self, ref: Ref) -> None:
        """Drops a workload that is gone."""
        self._made.pop(ref, None)


def _digest(change: TemplateChange) -> str:
    """The change without the generation that it is guarded by."""
    return fingerprint([change.guard[:1], change.difference])
