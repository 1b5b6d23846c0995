"""Questions of the preflight: what is asked, what an answer depends on, until when it counts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sidecarpolicy.api.models import ClusterSidecarPolicySpec
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.blocks import field_dropped
from sidecarpolicy.core.facts import PolicyFacts, Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.selection import matches
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.suspects import Hook

_OF_TEMPLATES = frozenset({Reason.INVALID, Reason.REFUSED})
"""What may be because of the workloads' own templates."""


@dataclass(frozen=True)
class Basis:
    """What an answer depends on; `sampled` if it is about a workload's own Pods."""

    uid: str
    revision: str
    labels: Mapping[str, str]
    hooks: tuple[Hook, ...]
    sampled: bool

    def same_policy(self, other: "Basis") -> bool:
        """Whether it is about the same parts of the same policy."""
        return (self.uid, self.revision) == (other.uid, other.revision)

    def same_place(self, other: "Basis") -> bool:
        """Whether nothing changed but the policy and what it selects."""
        return (self.labels, self.hooks) == (other.labels, other.hooks)


@dataclass(frozen=True)
class Question:
    """Does the policy work in the namespace? Asked with these workloads."""

    namespace: str
    policy: PolicyFacts
    workloads: tuple[Ref, ...]
    templates: int
    """What their templates hash to: a refusal may end when one of them changes."""
    basis: Basis

    @property
    def id(self) -> tuple[str, str]:
        """Namespace and key of the policy: there is one question at a time for both."""
        return self.namespace, self.policy.key


@dataclass(frozen=True)
class Known:
    """What was said to a question, and when (monotonic seconds); `open` if that was nothing."""

    question: Question
    block: Finding | None = None
    warning: Finding | None = None
    open: bool = False
    since: float = 0.0
    dropped: Finding | None = None
    """That the API server drops the field, where the policy has a variant for that, which is what
    `block` is about then.
    """

    @property
    def settled(self) -> bool:
        """Whether nobody has to ask again as long as the basis is the same."""
        return self.block is None and self.dropped is None and not self.open

    def suits(self, policy: PolicyFacts) -> bool:
        """Whether it is about the variant that the policy takes by its status as that is now."""
        return policy.desired is not None and policy.desired.field_dropped is bool(self.dropped)

    def answers(self, question: Question) -> bool:
        """Whether it still counts. What was said of workloads counts when they are gone, too."""
        if self._may_be_of_templates and self.question.templates != question.templates:
            return False
        return self.question.basis in (question.basis, replace(question.basis, sampled=True))

    @property
    def _may_be_of_templates(self) -> bool:
        return self.block is not None and self.block.reason in _OF_TEMPLATES

    def same_as(self, other: "Known") -> bool:
        """Whether the other says nothing new."""
        return replace(self, since=other.since) == other


def askable(policy: PolicyFacts, snapshot: Snapshot) -> bool:
    """Whether the policy can have anything to do with the namespace."""
    if snapshot.excluded or snapshot.namespace_opted_out or policy.deleting:
        return False
    spec = policy.spec
    if isinstance(spec, ClusterSidecarPolicySpec):
        return matches(spec.namespace_selector, snapshot.namespace_labels)
    return spec is not None


def kept(before: Known | None, question: Question) -> Finding | None:
    """The block that stays where no answer came: what was proved of this very revision, by us or,
    as the status says, by the process before us.
    """
    if before is not None:
        return before.block if before.question.basis.same_policy(question.basis) else None
    policy = question.policy
    same = policy.status.get("revision") == question.basis.revision
    return policy.block(question.namespace) if same else None


def kept_drop(before: Known | None, question: Question) -> Finding | None:
    """What was known of the API server, where no answer came."""
    if before is not None:
        return before.dropped
    policy = question.policy
    return field_dropped(policy.status) if policy.universal else None
