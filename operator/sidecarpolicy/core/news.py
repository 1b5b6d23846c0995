"""News: what a pass saw happen to workloads, in the words of their and the policies' Events.

    Injected · Updated · Reverted   what a template carries differs from what it carried before
    Skipped · Conflicted · failed   how a workload stands, as long as it stands so

Decided from what the cluster shows, so a change counts only once it was written, whoever wrote it:
the controller, or the webhook with an owner's own request. Telling each but once is the
business of controller.herald.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.facts import PolicyFacts, Ref, WorkloadFacts, policy_scope, policy_title
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.plan import Plan
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.standing import Attempt, Standing, State, report

_NOTHING: Final[Mapping[str, str]] = {}
_NOTHING_WRONG: Final = frozenset({Reason.OPTED_OUT, Reason.IMMUTABLE_TEMPLATE})
"""Why a workload is rightly left alone."""


Chronicle = Mapping[str, Mapping[str, str]]
"""What a namespace's workloads carried at one time: by uid, revisions by policy key."""


@dataclass(frozen=True)
class Author:
    """The policy that news are of, as its own Events name it."""

    ref: Ref
    uid: str
    revision: str


@dataclass(frozen=True)
class News:
    """One thing that one policy did to one workload; of equal `topic` is the same.

    `of_many` says it of as many workloads as have it, for the policy's own Event, which
    names the latest. `author` is None where that has none, as when it is gone.
    """

    ref: Ref
    uid: str
    reason: Reason
    message: str
    of_many: str
    topic: tuple[str, ...]
    author: Author | None
    normal: bool = False
    lasting: bool = False
    """Whether it is how the workload stands, and not what happened to it."""

    @property
    def finding(self) -> Finding:
        """For the workload."""
        return Finding(self.reason, self.message)

    def summed_up(self, number: int) -> Finding:
        """For the policy, if it is the latest of so many."""
        noun = "workload" if number == 1 else "workloads"
        latest = "" if number == 1 else "the latest "
        return Finding(self.reason, f"{self.of_many} {number} {noun}: {latest}{self.ref}")


def chronicle(snapshot: Snapshot, decided: Plan) -> Chronicle:
    """What the workloads carry. Jobs carry for ever what they were created with."""
    return {
        each.uid: given
        for each in snapshot.workloads
        if (given := decided.revisions.get(each.ref)) and each.ref.kind != TargetKind.JOB
    }


def news(
    snapshot: Snapshot,
    decided: Plan,
    attempts: Mapping[Ref, Attempt],
    *,
    before: Chronicle,
    after: Chronicle,
) -> tuple[News, ...]:
    """What is to tell after a pass that began with this snapshot, and `before` the last one."""
    return (*_changes(snapshot, before, after), *_standings(snapshot, decided, attempts))


def _changes(snapshot: Snapshot, before: Chronicle, after: Chronicle) -> Iterator[News]:
    known = {policy.key: policy for policy in snapshot.policies}
    for workload in snapshot.workloads:
        old, new = before.get(workload.uid, _NOTHING), after.get(workload.uid, _NOTHING)
        if old is new:  # what nobody decided about anew, is still the same object
            continue
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                yield _change(workload, key, known.get(key), old=old.get(key), new=new.get(key))


def _change(
    workload: WorkloadFacts,
    key: str,
    policy: PolicyFacts | None,
    *,
    old: str | None,
    new: str | None,
) -> News:
    title = policy_title(policy_scope(key, workload.ref.namespace), key)
    if new is None:
        reason, message = Reason.REVERTED, f"what {title} had added was taken out"
        of_many = "what it had added was taken out of"
    elif old is None:
        reason, message = Reason.INJECTED, f"revision {new} of {title} was added"
        of_many = f"revision {new} was added to"
    else:
        reason, message = Reason.UPDATED, f"revision {new} of {title} replaced revision {old}"
        of_many = f"revision {new} replaced another in"
    return News(
        workload.ref,
        workload.uid,
        reason,
        message,
        of_many,
        # A generation is written once, so the same can come and go, and be told each time.
        topic=(workload.uid, key, reason, str(workload.generation)),
        author=_author(policy, new or ""),
        normal=True,
    )


def _author(policy: PolicyFacts | None, revision: str) -> Author | None:
    if policy is None:
        return None
    return Author(Ref(policy.kind, policy.scope, policy.name), policy.uid, revision)


def _standings(
    snapshot: Snapshot, decided: Plan, attempts: Mapping[Ref, Attempt]
) -> Iterator[News]:
    uids = {each.ref: each.uid for each in snapshot.workloads}
    for policy in snapshot.policies:
        planned = decided.standings[policy.key]
        concerned = (each for each in planned if each.state in _TOLD or each.ref in attempts)
        standings = report(policy.key, concerned, attempts)
        stopped = _stopped(policy, standings, snapshot)
        for each in standings:
            found = _standing(policy, each, uids.get(each.ref, ""), stopped=stopped)
            if found is not None:
                yield found


def _stopped(policy: PolicyFacts, standings: Iterable[Standing], snapshot: Snapshot) -> bool:
    """Whether as many workloads failed as may."""
    elsewhere = snapshot.elsewhere.get(policy.key)
    failed = sum(each.state is State.FAILED for each in standings)
    failed += elsewhere.failed if elsewhere is not None else 0
    return policy.spec is not None and failed >= policy.spec.rollout.max_failed


def _standing(policy: PolicyFacts, standing: Standing, uid: str, *, stopped: bool) -> News | None:
    found = standing.finding
    if found is None or standing.leaving or standing.state not in _TOLD:
        return None
    revision = policy.desired.revision if policy.desired is not None else ""
    reason, message, of_many = _words(policy, standing.state, found, stopped=stopped)
    missed = found.reason is Reason.MISSED_ADMISSION  # as of Pods, counted in the status
    return News(
        standing.ref,
        uid,
        reason,
        message,
        of_many,
        topic=(uid, policy.key, reason, found.reason, revision),
        author=None if missed else _author(policy, revision),
        normal=found.reason in _NOTHING_WRONG,
        lasting=True,
    )


_TOLD: Final = frozenset({State.SKIPPED, State.CONFLICTED, State.FAILED})


def _words(
    policy: PolicyFacts, state: State, found: Finding, *, stopped: bool
) -> tuple[Reason, str, str]:
    """(reason, words for the workload, words for the policy)."""
    why = f"{found.reason}: {found.message}"
    if found.reason is Reason.MISSED_ADMISSION:
        return found.reason, f"{policy}: {found.message}", ""
    if state is State.SKIPPED:
        return Reason.SKIPPED, f"{policy} leaves it alone: {why}", "left alone:"
    if state is State.CONFLICTED:
        return Reason.CONFLICTED, f"{policy} is not applied: {why}", "not applied to"
    if stopped:
        message = f"{policy} goes no further, its revision failed here: {found.message}"
        return Reason.ROLLOUT_STOPPED, message, "the revision goes no further, it failed in"
    message = f"the revision of {policy} failed here: {found.message}"
    return found.reason, message, "the revision failed in"
