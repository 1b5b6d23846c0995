"""Standings: where each workload is under a policy, before and after changes were tried."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.jsonpatch import Patch
from sidecarpolicy.core.overhead import Overhead
from sidecarpolicy.core.rollout import RolloutFacts


class State(StrEnum):
    """Where a workload stands under one policy: exactly one of these."""

    CURRENT = "current"
    UPDATING = "updating"
    PENDING = "pending"
    FAILED = "failed"
    SKIPPED = "skipped"
    CONFLICTED = "conflicted"


@dataclass(frozen=True)
class Standing:
    """One workload under one policy.

    `leaving`: the policy does not select it (any more) and its parts are being taken out.
    `overhead` is what its sidecars cost each of `pods` Pods; None where it has none.
    """

    ref: Ref
    state: State
    finding: Finding | None = None
    leaving: bool = False
    overhead: Overhead | None = None
    pods: int = 0
    given_up: bool = False
    """Whether its rollout takes no place any more, because it failed."""
    restless: bool = False
    """Whether it takes a place although its own controller is done with it, or gave up: its
    sidecars do not stay, or nobody knows yet because of whom it stopped.
    """


@dataclass(frozen=True)
class TemplateChange:
    """One guarded JSON patch of a workload, and the template that it leads to.

    `difference` is the patch without its `guard`, for what no one else can have changed.
    `policies` are the keys whose parts it changes, `taken_out` those of them that have none
    afterwards; `leftovers` are, by policy key, the parts
    that have to stay although they are wanted no more.
    """

    ref: Ref
    difference: Patch
    policies: frozenset[str]
    guard: Patch = field(default_factory=list)
    template: Mapping[str, Any] = field(default_factory=dict, compare=False)
    taken_out: frozenset[str] = frozenset()
    leftovers: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    rehearsal: Patch = field(default_factory=list)
    """The difference to a template that has all that this one promises its Pods."""
    holding: Patch = field(default_factory=list)
    """What is written in the same patch about revisions that stay out (core.held)."""
    failed: frozenset[str] = frozenset()
    """Keys of those policies whose parts are taken out because their rollout failed."""
    owner: str | None = None
    """Another controller that may take the change back."""

    @property
    def trial(self) -> Patch:
        """What the API server would have to take for Pods to be created, too."""
        return [*self.guard, *(self.rehearsal or self.difference)]

    @property
    def patch(self) -> Patch:
        """What the API server is sent."""
        return [*self.guard, *self.holding, *self.difference]


@dataclass(frozen=True)
class Refusal:
    """That the API server would not take a policy's revision in a workload's generation."""

    revision: str
    generation: int
    finding: Finding


def rollout_standing(ref: Ref, rollout: RolloutFacts) -> Standing:
    """Where a workload is that carries the current revision, unless its rollout failed."""
    if rollout.waits_for:
        message = f"{rollout.waits_for} ({rollout.message})"
        return Standing(ref, State.UPDATING, Finding(Reason.WAITING_FOR_OWNER, message))
    return Standing(ref, State.CURRENT if rollout.finished else State.UPDATING)


@dataclass(frozen=True)
class Attempt:
    """How a change went: done, failed for a reason, or the workload was gone.

    `superseded`: it failed, and is to be planned anew without those who are at fault.
    `idle`: it was not made, because it would have changed nothing.
    """

    change: TemplateChange
    failure: Finding | None = None
    gone: bool = False
    superseded: bool = False
    idle: Finding | None = None


def report(
    key: str, standings: Iterable[Standing], attempts: Mapping[Ref, Attempt]
) -> tuple[Standing, ...]:
    """How one policy's workloads stand after the changes were tried."""
    after = (_after(key, standing, attempts.get(standing.ref)) for standing in standings)
    return tuple(standing for standing in after if standing is not None)


def _after(key: str, standing: Standing, attempt: Attempt | None) -> Standing | None:
    if attempt is None:
        return standing
    concerned = key in attempt.change.policies
    done = attempt.failure is None and attempt.idle is None
    if attempt.gone or (concerned and standing.leaving and done):
        return None
    if attempt.idle is not None:
        return (
            replace(standing, state=State.SKIPPED, finding=attempt.idle) if concerned else standing
        )
    if attempt.failure is not None:
        # What failed to roll out has failed, also if it could not be taken out.
        state = State.FAILED if standing.state is State.FAILED else State.PENDING
        failed = replace(standing, state=state, finding=attempt.failure)
        return failed if concerned else standing
    current = standing.state is State.CURRENT and bool(attempt.change.difference)
    rolls = current or (concerned and standing.state is State.PENDING)
    return Standing(standing.ref, State.UPDATING) if rolls else standing
