"""Failure: has a workload's rollout failed, is a policy's revision to blame, and what follows.

Pure; the clock is in the snapshot. Only a rollout that brought a policy's current revision can
fail because of it (core.origin): what failed before, or because of its owner's later change,
is waited for and never taken back. A revision that failed and was taken out is kept out by a
hold on the workload (core.held), from which all this follows again after a restart.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sidecarpolicy.api.models import OnFailure, TargetKind
from sidecarpolicy.api.names import HELD_ANNOTATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.case import Case, case_of, leaving, opts_out
from sidecarpolicy.core.daemonset import kept_out
from sidecarpolicy.core.facts import PolicyFacts, WorkloadFacts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.held import Because, Hold
from sidecarpolicy.core.origin import Origin
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.times import seconds

_OURS = b"sidecarpolicy.dev/"


@dataclass(frozen=True)
class Failure:
    """That a rollout with a policy's current revision failed; `ours` if that is to blame, None if
    nobody knows yet.
    """

    ours: bool | None
    finding: Finding


def failure(policy: PolicyFacts, case: Case) -> Failure | None:
    """Whether and how the workload's rollout failed under the policy's current revision."""
    if not _rolls(policy, case) or not _late(policy, case):
        return None
    how = case.workload.rollout.message
    found = case.snapshot.origins.get(case.workload.ref)
    if found is None:
        message = f"its rollout stopped ({how}), and what it brought could not be read yet"
        return Failure(None, Finding(Reason.API_UNAVAILABLE, message))
    if policy.key not in found.policies:
        why = _why_not(policy, found)
        message = f"its rollout stopped ({how}), {why}"
        return Failure(False, Finding(Reason.PROGRESS_DEADLINE_EXCEEDED, message))
    return Failure(True, Finding(Reason.ROLLOUT_FAILED, _told(policy, case, found)))


def _why_not(policy: PolicyFacts, found: Origin) -> str:
    if policy.key in found.cleared:
        return f"because of another policy ({found.cause}): not counted as failed"
    return _FIRST if found.first else _BEFORE


_FIRST = "and no earlier one worked that it could be compared with: not counted as failed"
_BEFORE = "but not because of this policy, whose sidecars were there before: not counted as failed"


def _told(policy: PolicyFacts, case: Case, found: Origin) -> str:
    said = f"its rollout failed with {_revision(policy)}: {_cause(case, found)}"
    if policy.spec is None or policy.spec.rollout.on_failure is OnFailure.REVERT:
        return said
    return f"{said}; it is left as it is (onFailure: Pause): mend the policy or the workload"


def _cause(case: Case, found: Origin) -> str:
    """What was seen when it failed; kept in the hold, because nothing shows it afterwards."""
    parts = [case.workload.rollout.message, found.cause]
    if found.mixed:
        parts.append("its owner's own change came with the same rollout")
    return "; ".join(filter(None, parts))


def _revision(policy: PolicyFacts) -> str:
    return f"revision {policy.desired.revision}" if policy.desired is not None else "its revision"


def _rolls(policy: PolicyFacts, case: Case) -> bool:
    """Whether a change of the template is under way that has the policy's current revision; for
    its controller it may be done, while the policy's sidecar ends again and again.
    """
    workload = case.workload
    if policy.desired is None or not _changing(workload):
        return False
    under_way = not workload.rollout.finished or _idle_since(policy, case) is not None
    return under_way and case.revisions.get(policy.key) == policy.desired.revision


def unproved(policy: PolicyFacts, case: Case) -> bool:
    """Whether a rollout is done for its own controller, but not for us."""
    done = case.workload.rollout.finished
    return done and _rolls(policy, case) and _end(policy, case) is not None


def _since(case: Case) -> float | None:
    """When the rollout last got further, or began, in seconds since 1970."""
    progress = case.workload.progress
    if progress.seen:
        return _seen(case.workload)
    found = case.snapshot.origins.get(case.workload.ref)
    return max(found.began, seconds(progress.let_go)) if found is not None else None


def _seen(workload: WorkloadFacts) -> float:
    """When a Deployment last got further with its template of now.

    What it says may still be about the former one: a template whose ReplicaSet is there already
    is observed before it makes progress.
    """
    return max(seconds(workload.progress.seen), _changed(workload))


def _changed(workload: WorkloadFacts) -> float:
    """When anybody last changed the template, as far as the object tells."""
    return max(seconds(workload.written), seconds(workload.writer.at))


def _gave_up(workload: WorkloadFacts) -> bool:
    """Whether its controller gave the template of now up, not the one before.

    It waits for a second at least, and times are whole seconds: within the same one it spoke of
    the one before.
    """
    said = workload.progress.seen
    return workload.rollout.deadline_exceeded and (not said or seconds(said) > _changed(workload))


def _end(policy: PolicyFacts, case: Case) -> float | None:
    """Until when the policy waits for progress, in seconds since 1970.

    A change that arrived once has failed only if one of its Pods is without the policy's
    sidecars for as long as that, and soon after: not because of a node that went down, of more
    replicas, or of what ended after a good while.
    """
    since, spec = _since(case), policy.spec
    if since is None or spec is None:
        return None
    deadline = float(spec.rollout.progress_deadline_seconds)
    if not case.workload.progress.arrived:
        return since + deadline
    made = _idle_since(policy, case)
    if made is None:
        return None
    soon = max(2 * deadline, _AT_LEAST)
    lasts = spec.rollout.on_failure is OnFailure.PAUSE  # which leaves no other trace of it
    end = max(since, made) + deadline
    return end if lasts or case.snapshot.now < since + deadline + soon else None


_AT_LEAST = 120.0


def _idle_since(policy: PolicyFacts, case: Case) -> float | None:
    """When the oldest Pod was created whose sidecars do not run, in seconds since 1970."""
    return case.snapshot.idle.get(case.workload.ref, {}).get(policy.key)


def _late(policy: PolicyFacts, case: Case) -> bool:
    """Whether it was waited for long enough, by its own controller's measure or the policy's."""
    if _gave_up(case.workload):
        return True
    end = _end(policy, case)
    return end is not None and case.snapshot.now >= end


def deadlines(case: Case) -> Iterator[float]:
    """When, in seconds since 1970, rollouts with current revisions, or those that took them out,
    will have failed.
    """
    held = {each.policy for each in case.workload.holds}
    for policy in case.selected_by:
        end = _end(policy, case) if _rolls(policy, case) else None
        if end is None and policy.key in held:
            end = _end_without(policy, case)
        if end is not None and end > case.snapshot.now:
            yield end


def in_question(snapshot: Snapshot) -> tuple[WorkloadFacts, ...]:
    """Workloads about whose rollout more has to be known than they say themselves: it may have
    failed, or nothing in them says since when it lasts.
    """
    cases = (case_of(each, snapshot) for each in snapshot.workloads if _may_fail(each, snapshot))
    return tuple(
        case.workload for case in cases if any(_asks(each, case) for each in case.selected_by)
    )


def _asks(policy: PolicyFacts, case: Case) -> bool:
    progress = case.workload.progress
    if not _rolls(policy, case) or (progress.arrived and _idle_since(policy, case) is None):
        return False
    return not progress.seen or _late(policy, case)


def _may_fail(workload: WorkloadFacts, snapshot: Snapshot) -> bool:
    """Without a look into the template, which takes a while for ten thousand of them."""
    under_way = not workload.rollout.finished or workload.ref in snapshot.idle
    return under_way and _changing(workload) and _OURS in workload.template


def _changing(workload: WorkloadFacts) -> bool:
    """Whether there is a change to roll out, and it is not its owner's turn."""
    return bool(workload.progress.change) and not workload.rollout.waits_for


def stuck(policy: PolicyFacts, case: Case) -> bool:
    """Whether the workload's rollout failed because of somebody else, so that nothing new may
    join in.
    """
    found = case.snapshot.origins.get(case.workload.ref)
    if found is None or policy.key in found.policies:
        return False
    return any(failure(each, case) is not None for each in case.selected_by)


def kept_out_by(policy: PolicyFacts, case: Case) -> Finding | None:
    """That the policy's current revision failed here and stays out, or None."""
    if policy.desired is None:
        return None
    hold = _hold(policy, case)
    if hold is None:
        return None
    ref = case.workload.ref
    cause = f": {hold.message}" if hold.message else ""
    message = (
        f"its rollout failed with revision {hold.revision}{cause}. That was taken out and stays "
        "out until the policy's sidecars change; to try it once more: kubectl -n "
        f"{ref.namespace} annotate {ref.kind.lower()}/{ref.name} {HELD_ANNOTATION}-"
    )
    command = case.snapshot.to_delete.get(ref)
    if command is not None:
        message = f"a Pod of the failed rollout keeps it from going back: {command}. {message}"
    return Finding(Reason.ROLLOUT_FAILED, message)


def _hold(policy: PolicyFacts, case: Case) -> Hold | None:
    """The hold on the current revision; a DaemonSet's Pods know it from their template."""
    assert policy.desired is not None
    revision = policy.desired.revision
    wanted = policy.key, revision, Because.ROLLOUT_FAILED
    for each in case.workload.holds:
        if (each.policy, each.revision, each.reason) == wanted:
            return each
    return Hold(*wanted) if case.of_pod and _kept_out(policy, case) == revision else None


def _kept_out(policy: PolicyFacts, case: Case) -> str | None:
    return kept_out(case.revisions.get(policy.key, ""))


def reverts(policy: PolicyFacts, case: Case) -> bool:
    """Whether the policy's parts are to be taken out, because their revision failed here."""
    spec, wish = policy.spec, policy.desired
    if spec is None or wish is None or spec.paused or policy.key in case.waits:
        return False
    if kept_out_by(policy, case) is not None:
        return _carries(policy, case, wish.revision)
    failed = failure(policy, case)
    return spec.rollout.on_failure is OnFailure.REVERT and failed is not None and bool(failed.ours)


def _carries(policy: PolicyFacts, case: Case, revision: str) -> bool:
    """Whether Pods of the template would have a revision; a DaemonSet has to say if not."""
    if case.workload.ref.kind == TargetKind.DAEMON_SET and not case.of_pod:
        return _kept_out(policy, case) != revision
    return case.revisions.get(policy.key) == revision


def new_hold(policy: PolicyFacts, case: Case) -> Hold | None:
    """What keeps a revision out that is taken out now for having failed."""
    found = case.snapshot.origins.get(case.workload.ref)
    if policy.desired is None or found is None or kept_out_by(policy, case) is not None:
        return None
    cause = _cause(case, found)[:_MAX_CAUSE]
    return Hold(policy.key, policy.desired.revision, Because.ROLLOUT_FAILED, message=cause)


_MAX_CAUSE = 300


def ended(hold: Hold, case: Case, *, carried: str | None) -> bool:
    """Whether a hold is over: its policy has another revision in the template (`carried`), does
    not select the workload any more, is proved gone, or the owner opted out; or the workload fails
    without it as well.
    """
    if hold.policy in case.waits:
        return False
    policy = next((e for e in case.snapshot.policies if e.key == hold.policy), None)
    if policy is None:
        return hold.policy in case.snapshot.gone
    if policy.spec is None or policy.desired is None:
        return False
    left = leaving(policy, case) and not policy.spec.paused
    newer = carried == policy.desired.revision != hold.revision
    unjust = hold.reason is Because.ROLLOUT_FAILED and _fails_without(policy, case)
    return opts_out(case) or left or newer or unjust


def _fails_without(policy: PolicyFacts, case: Case) -> bool:
    """Whether the rollout that took a revision out failed as well, so that it was not to blame,
    or not alone: it waits until the owner has mended the workload.

    Only a Deployment says that much of itself; a StatefulSet may be stranded (core.stranded).
    """
    end = _end_without(policy, case)
    return end is not None and (case.snapshot.now >= end or _gave_up(case.workload))


def _end_without(policy: PolicyFacts, case: Case) -> float | None:
    """Until when the rollout that took a revision out is waited for."""
    workload, progress = case.workload, case.workload.progress
    if workload.rollout.finished or policy.key in case.revisions or policy.spec is None:
        return None
    if workload.ref.kind != TargetKind.DEPLOYMENT or progress.arrived or not progress.seen:
        return None
    return _seen(workload) + policy.spec.rollout.progress_deadline_seconds
