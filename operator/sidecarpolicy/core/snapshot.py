"""The snapshot: all that the plan of one namespace depends on, as values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.autoscaling import Autoscaler
from sidecarpolicy.core.capability import NodeTally
from sidecarpolicy.core.facts import PolicyFacts, Ref, WorkloadFacts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.gate import Gate
from sidecarpolicy.core.held import Hold
from sidecarpolicy.core.origin import Origin
from sidecarpolicy.core.standing import Refusal

Refusals = Mapping[tuple[Ref, str], Refusal]
"""What the API server would not take, by workload and policy key."""


@dataclass(frozen=True)
class Elsewhere:
    """What a cluster policy has to do with in all other namespaces: numbers of workloads."""

    matched: int = 0
    rolling: int = 0
    failed: int = 0


def blocked_by_status(policies: Iterable[PolicyFacts], namespace: str) -> Mapping[str, Finding]:
    """What the policies' own statuses say of a namespace."""
    found = ((each.key, each.block(namespace)) for each in policies)
    return {key: block for key, block in found if block is not None}


def untried(policies: Iterable[PolicyFacts], gate: Gate) -> Mapping[str, Finding]:
    """What waits until the controller has said, in the policies' statuses, whether the API server
    keeps the field: an owner's request must not be refused for a probe that goes with it. `gate`
    is what is known otherwise; an API server whose version says that it keeps it is not waited for.
    """
    if gate is Gate.ON:
        return {}
    return {each.key: _UNTRIED for each in policies if not each.server_known}


_UNTRIED = Finding(
    Reason.PREFLIGHT, "whether the API server keeps the field is tried as a dry run first"
)


@dataclass(frozen=True)
class Snapshot:
    """Everything that the plan of one namespace depends on.

    `policies` are those of the namespace and all of the cluster, in the order of their keys.
    `gone` holds the keys of policies whose absence is proved; a recorded policy that
    is neither here nor in `policies` is held, because a missed event is no proof.
    `revert_share` is a number or a percentage of workloads to revert at one time.
    """

    namespace: str
    policies: tuple[PolicyFacts, ...] = ()
    workloads: tuple[WorkloadFacts, ...] = ()
    nodes: NodeTally = field(default_factory=NodeTally)
    gone: frozenset[str] = frozenset()
    revert_share: str = "10%"
    excluded: bool = False
    namespace_opted_out: bool = False
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    refused: Refusals = field(default_factory=dict)
    elsewhere: Mapping[str, Elsewhere] = field(default_factory=dict)
    blocked: Mapping[str, Finding] = field(default_factory=dict)
    """Why policies may change nothing in the namespace (core.blocks), by their keys."""
    obedient: bool = False
    """Whether a refusal that a policy's status names counts: who cannot ask the API server, as at
    admission, believes it, so that no owner's request fails because of a policy.
    """
    resting: frozenset[Ref] = frozenset()
    """Workloads whose change failed, or would change nothing, and is not tried now."""
    taken_out: Mapping[Ref, frozenset[str]] = field(default_factory=dict)
    """Policies whose parts were taken out of a workload that is rolling because of that."""
    fought: Mapping[Ref, tuple[Hold, ...]] = field(default_factory=dict)
    """Holds of fights that we give in to now, to be written."""
    creating: bool = False
    """Whether the workloads are being created now: a paused policy freezes only what exists."""
    editing: bool = False
    """Whether the workloads' owners are changing their templates now, which rolls them anyway."""
    webhook: bool = True
    """Whether the API server asks our webhook about new Pods, as far as is known."""
    now: float = 0.0
    """The time in seconds since 1970, by which rollouts are late; 0 where nothing is judged."""
    autoscalers: tuple[Autoscaler, ...] = ()
    """What scales workloads of the namespace by utilization."""
    idle: Mapping[Ref, Mapping[str, float]] = field(default_factory=dict)
    """By workload and policy key, when the oldest Pod was created whose sidecars do not run."""
    origins: Mapping[Ref, Origin] = field(default_factory=dict)
    """Where rollouts come from that may have failed, as far as that was read."""
    to_delete: Mapping[Ref, str] = field(default_factory=dict)
    """The command for a Pod that keeps a StatefulSet from going back, where we may not."""
