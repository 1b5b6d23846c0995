"""The status of a policy as pydantic models: what the operator reports, see models.py."""

from typing import Annotated

from pydantic import Field

from sidecarpolicy.api.models import Model


class Condition(Model):
    """A metav1.Condition."""

    type: str = Field(description="What the condition is about; one condition of each type.")
    status: str = Field(description="True, False or Unknown.")
    reason: str = Field(description="Why, as one CamelCase word for programs.")
    message: str = Field(description="Why, as a sentence for people.")
    observed_generation: int = Field(description="The generation that the condition describes.")
    last_transition_time: str = Field(description="When the status last changed, RFC 3339.")


class NodeCounts(Model):
    """How many nodes can run native sidecars."""

    capable: int = Field(default=0, description="Nodes that can run native sidecars.")
    total: int = Field(default=0, description="All nodes of the cluster.")


class WorkloadCounts(Model):
    """Selected workloads by state; `matched` is their total."""

    matched: int = Field(default=0, description="All workloads that the policy selects.")
    current: int = Field(default=0, description="Have the current sidecars, rolled out.")
    updating: int = Field(default=0, description="Have the current sidecars, rolling out.")
    pending: int = Field(default=0, description="Wait for their turn.")
    failed: int = Field(default=0, description="Their rollout failed.")
    skipped: int = Field(default=0, description="Left alone on purpose, such as opted out.")
    conflicted: int = Field(default=0, description="Contain something that is in the way.")


class PodCounts(Model):
    """Pods by what was seen of their sidecars."""

    total: int = Field(default=0, description="Pods that are to run with the policy's sidecars.")
    running: int = Field(default=0, description="Those whose sidecars were observed running.")
    stuck: int = Field(
        default=0, description="Those that something keeps from running; `problems` says what."
    )
    missed: int = Field(
        default=0, description="Pods and Jobs created without their sidecars, unseen by us."
    )


class Requests(Model):
    """What all Pods together request, at their wanted number."""

    before: dict[str, str] = Field(default={}, description="Without the policy.")
    after: dict[str, str] = Field(default={}, description="With it: `total` is the difference.")


class Overhead(Model):
    """What the sidecars request, by the rules of KEP-753."""

    per_pod: dict[str, str] = Field(
        default={}, description="What a Pod requests more; the most, where workloads differ."
    )
    total: dict[str, str] = Field(
        default={}, description="What all Pods together request more, at their wanted number."
    )
    requests: Requests | None = None


class Problem(Model):
    """One workload that is not as the policy wants it, or one thing to know, and why."""

    kind: str = Field(description="Kind of the workload, or of the policy itself.")
    name: str = Field(description="Its name.")
    namespace: str | None = Field(default=None, description="Its namespace, if it has one.")
    reason: str = Field(description="Why, as one CamelCase word for programs.")
    message: str = Field(description="Why, as a sentence for people.")


class BlockedNamespace(Model):
    """One namespace in which the policy changes nothing, and why."""

    namespace: Annotated[str, Field(min_length=1, max_length=63)] = Field(
        description="Name of the namespace."
    )
    reason: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        description="Why, as one CamelCase word for programs: Invalid, Refused, StrippedByWebhook "
        "or ApiServerDropsField."
    )
    message: Annotated[str, Field(max_length=1024)] = Field(
        description="Why, as a sentence for people; in the API server's own words where it "
        "refused a Pod."
    )


class SidecarPolicyStatus(Model):
    """What the operator saw; never what it intends."""

    observed_generation: int = Field(
        default=-1,
        description="The generation that this status describes; -1 until the first report, so "
        "that a fresh policy is not taken for finished (kstatus).",
    )
    revision: str | None = Field(default=None, description="Hash of what is injected.")
    conditions: tuple[Condition, ...] = Field(
        default=(), description="What is true of the policy, one condition of each type."
    )
    nodes: NodeCounts | None = None
    workloads: WorkloadCounts | None = None
    blocked_namespaces: Annotated[tuple[BlockedNamespace, ...], Field(max_length=100)] = Field(
        default=(),
        description="Namespaces in which dry runs of Pods showed that the policy would do harm, so "
        "that neither controller nor webhook changes anything there; the first 100 by name. With "
        "as many, the webhook changes nothing in any namespace.",
    )
    pods: PodCounts | None = None
    overhead: Overhead | None = None
    problems: Annotated[tuple[Problem, ...], Field(max_length=20)] = Field(
        default=(), description="Workloads that are not as they should be, worst first."
    )
