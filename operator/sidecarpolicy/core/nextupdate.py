"""On the owner's next update: policies that touch nothing that exists.

With `rollout.existing: OnNextUpdate`, the controller changes no template of its own accord. What
is created gets its parts, and so does what its owner changes, in the same rollout; until then
a workload keeps what it has, also of an older revision. Taking back is no matter of it.
"""

from typing import Final

from sidecarpolicy.api.models import ExistingWorkloads
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.facts import PolicyFacts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.snapshot import Snapshot

_LEFT: Final = Finding(
    Reason.ON_NEXT_UPDATE,
    "rollout.existing is OnNextUpdate: its owner's next change of its Pod template brings it in",
)


def left_to_owner(policy: PolicyFacts, snapshot: Snapshot) -> Finding | None:
    """That a policy waits for the owners of the snapshot's workloads, or None."""
    if policy.spec is None or snapshot.creating or snapshot.editing:
        return None
    waits = policy.spec.rollout.existing is ExistingWorkloads.ON_NEXT_UPDATE
    return _LEFT if waits else None
