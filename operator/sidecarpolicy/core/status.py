"""The status of a policy: what was seen, in the words of the Kubernetes API conventions.

Pure: the clock and the previous status are arguments. A status that says the same as
the previous one is equal to it, so that nothing is written when nothing changed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.blocks import LEFT_ALONE, MAX_PROBLEMS, Preflight, listed
from sidecarpolicy.core.capability import NodeTally
from sidecarpolicy.core.desired import desired
from sidecarpolicy.core.facts import PolicyFacts, Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.holding import blocker
from sidecarpolicy.core.resources import canonical, subtract
from sidecarpolicy.core.standing import State
from sidecarpolicy.core.summary import Summary


@dataclass(frozen=True)
class Condition:
    """A condition without its bookkeeping fields; an empty finding message is allowed."""

    type: str
    ok: bool
    reason: Reason
    message: str


def policy_status(
    policy: PolicyFacts,
    summary: Summary,
    *,
    nodes: NodeTally,
    excluded: bool,
    now: str,
    webhook: bool = True,
) -> dict[str, Any]:
    """The status to report; `now` is an RFC 3339 time for conditions that change.

    `webhook` says whether the API server asks our webhook about Pods.
    """
    if policy.universal:
        policy = as_found(policy, dropped=summary.preflight.dropped is not None)
    status: dict[str, Any] = {
        "observedGeneration": policy.generation,
        "conditions": _with_times(
            _conditions(policy, summary, nodes, excluded=excluded, webhook=webhook), policy, now
        ),
        "nodes": {"capable": nodes.capable, "total": nodes.total},
        "workloads": _counts(summary),
        "blockedNamespaces": listed(summary.preflight),
        "pods": {
            "total": summary.pods.total,
            "running": summary.pods.running,
            "stuck": summary.pods.stuck,
            "missed": summary.missed + len(summary.strays),
        },
        "problems": _problems(policy, summary),
    }
    if summary.after:
        status["overhead"] = {
            "perPod": canonical(summary.per_pod),
            "total": canonical(subtract(summary.after, summary.before)),
            "requests": {
                "before": canonical(summary.before),
                "after": canonical(summary.after),
            },
        }
    if policy.desired is not None:
        status["revision"] = policy.desired.revision
    return status


def as_found(policy: PolicyFacts, *, dropped: bool) -> PolicyFacts:
    """The policy as it will be once its status says whether the API server drops the field."""
    wish = policy.desired
    if policy.spec is None or wish is None or wish.field_dropped is dropped:
        return policy
    return replace(policy, desired=desired(policy.key, policy.spec, field_dropped=dropped))


def _counts(summary: Summary) -> dict[str, int]:
    """Workloads by state, with `matched` as their total."""
    return {
        "matched": summary.matched,
        **{state.value: summary.counts[state] for state in State},
    }


def _conditions(
    policy: PolicyFacts, summary: Summary, nodes: NodeTally, *, excluded: bool, webhook: bool
) -> list[Condition]:
    accepted = _accepted(policy, summary.preflight, excluded)
    capable = _cluster_capable(policy, summary.preflight, nodes)
    ready = _ready(policy, summary, nodes, webhook=webhook)
    harmless = summary.preflight.dropped is not None
    checked = (accepted,) if harmless else (accepted, capable)
    culprit = next((each for each in checked if not each.ok), ready)
    complete = _rollout_complete(summary)
    return [
        replace(culprit, type="Ready"),
        accepted,
        capable,
        complete,
        *_progress(policy, summary, accepted=accepted, capable=capable, complete=complete),
    ]


def _progress(
    policy: PolicyFacts,
    summary: Summary,
    *,
    accepted: Condition,
    capable: Condition,
    complete: Condition,
) -> Iterator[Condition]:
    """Stalled or Reconciling, or neither, where there is nothing to do or people have their turn.

    Stalled is what waiting does not mend: a spec that cannot be applied, a field that the API
    server drops, a rollout that stopped, or one that is over but for failures and conflicts. What
    heals once the cluster changes (a node, a webhook), is not: Ready says it. kstatus reads the
    first as Failed, the second as InProgress.
    """
    checked = (accepted,) if summary.preflight.dropped is not None else (accepted, capable)
    hopeless = next((e for e in checked if not e.ok and e.reason in _HOPELESS), None)
    on_the_way = summary.counts[State.PENDING] + summary.counts[State.UPDATING]
    moving = on_the_way - summary.waits.total()
    stopped = _stopped(policy, summary)
    if hopeless is not None:
        yield replace(hopeless, type="Stalled", ok=True)
    elif stopped is not None:
        yield Condition("Stalled", True, stopped.reason, stopped.message)
    elif moving:
        yield Condition("Reconciling", True, Reason.IN_PROGRESS, complete.message)
    elif not on_the_way and not complete.ok:
        yield replace(complete, type="Stalled", ok=True)


_HOPELESS = frozenset({Reason.INVALID, Reason.NAMESPACE_EXCLUDED, Reason.API_SERVER_DROPS_FIELD})


def _stopped(policy: PolicyFacts, summary: Summary) -> Finding | None:
    """That as many workloads failed as may, so that no other gets this revision; or None."""
    failed = summary.counts[State.FAILED]
    if policy.spec is None or failed < policy.spec.rollout.max_failed:
        return None
    message = f"failed workloads: {failed} (maxFailed: {policy.spec.rollout.max_failed})"
    return Finding(Reason.ROLLOUT_STOPPED, f"{message}; no other gets this revision")


def _accepted(policy: PolicyFacts, preflight: Preflight, excluded: bool) -> Condition:
    if policy.spec is None:
        return Condition("Accepted", False, Reason.INVALID, policy.invalid)
    if excluded:
        message = f"namespace {policy.scope} is excluded from all policies"
        return Condition("Accepted", False, Reason.NAMESPACE_EXCLUDED, message)
    invalid = preflight.everywhere(Reason.INVALID)
    if invalid is not None:
        return Condition("Accepted", False, invalid.reason, invalid.message)
    return Condition("Accepted", True, Reason.ACCEPTED, "the policy is valid")


def _cluster_capable(policy: PolicyFacts, preflight: Preflight, nodes: NodeTally) -> Condition:
    """Whether native sidecars can run at all: in the API server, past webhooks, on a node."""
    for reason in (Reason.API_SERVER_DROPS_FIELD, Reason.STRIPPED_BY_WEBHOOK):
        dropped = preflight.dropped if reason is Reason.API_SERVER_DROPS_FIELD else None
        lost = preflight.everywhere(reason) or dropped
        if lost is not None:
            return Condition("ClusterCapable", False, lost.reason, lost.message)
    found = blocker(policy, nodes, creating=True)
    if found is not None and found.reason is Reason.NO_CAPABLE_NODES:
        return Condition("ClusterCapable", False, found.reason, found.message)
    if not nodes.total:
        return Condition("ClusterCapable", True, Reason.NO_NODES, "the cluster has no nodes yet")
    return Condition("ClusterCapable", True, Reason.CAPABLE, _nodes(policy, nodes))


def _nodes(policy: PolicyFacts, nodes: NodeTally) -> str:
    """What nodes do with the policy's Pods."""
    message = f"{nodes.capable} of {nodes.total} nodes run native sidecars"
    if not policy.universal:
        return message
    others = (
        f"{number} {what}"
        for number, what in (
            (nodes.ignoring, "run them as ordinary containers"),
            (nodes.rejecting, "refuse such Pods"),
        )
        if number
    )
    return ", ".join((message, *others))


def _ready(policy: PolicyFacts, summary: Summary, nodes: NodeTally, *, webhook: bool) -> Condition:
    """Whether an object that is created now gets its sidecars; it never waits for workloads, and a
    paused policy freezes only what exists.
    """
    found = blocker(policy, nodes, creating=True, webhook=webhook)
    found = found or summary.preflight.worst or summary.denial
    if found is not None:
        return Condition("Ready", False, found.reason, found.message)
    dropped = summary.preflight.dropped
    message = dropped.message if dropped is not None else _nodes(policy, nodes)
    return Condition("Ready", True, Reason.READY, message)


def _rollout_complete(summary: Summary) -> Condition:
    unfinished = {
        state: summary.counts[state]
        for state in (State.FAILED, State.CONFLICTED, State.PENDING, State.UPDATING)
        if summary.counts[state]
    }
    if not unfinished:
        message = f"{summary.counts[State.CURRENT]} of {summary.matched} workloads are current"
        return Condition("RolloutComplete", True, Reason.COMPLETE, message)
    reasons = {
        State.FAILED: Reason.WORKLOADS_FAILED,
        State.CONFLICTED: Reason.WORKLOADS_CONFLICTED,
    }
    worst = next(iter(unfinished))
    message = ", ".join(f"{number} {state}" for state, number in unfinished.items())
    reason = reasons.get(worst, Reason.IN_PROGRESS)
    if summary.waits:
        waits = sorted(summary.waits.items(), key=lambda each: (-each[1], each[0]))
        message = f"{message}; " + ", ".join(f"{number} {_WAITS[each]}" for each, number in waits)
        reason = waits[0][0] if summary.waits.total() == sum(unfinished.values()) else reason
    return Condition("RolloutComplete", False, reason, message)


_WAITS = {
    Reason.PAUSED: "wait until the policy is no longer paused",
    Reason.ON_NEXT_UPDATE: "wait for their owners' next update, as rollout.existing says",
    Reason.WAITING_FOR_OWNER: "wait until their owners let them roll",
}


def _with_times(
    conditions: Iterable[Condition], policy: PolicyFacts, now: str
) -> list[dict[str, Any]]:
    """Adds the bookkeeping: the transition time stays while a condition's status stays."""
    before: dict[str, Mapping[str, Any]] = {
        each["type"]: each for each in policy.status.get("conditions") or ()
    }
    result = []
    for condition in conditions:
        value = "True" if condition.ok else "False"
        old = before.get(condition.type, {})
        same = old.get("status") == value
        result.append(
            {
                "type": condition.type,
                "status": value,
                "reason": condition.reason.value,
                "message": condition.message,
                "observedGeneration": policy.generation,
                "lastTransitionTime": old.get("lastTransitionTime", now) if same else now,
            }
        )
    return result


def _problems(policy: PolicyFacts, summary: Summary) -> list[dict[str, str]]:
    """What the webhook obeys, Pods that do not run, then workloads, worst first, then what is to
    say about the policy.
    """
    found = [(each.owner.ref, each.finding) for each in summary.pods.troubles]
    found += [(each.ref, each.finding) for each in summary.problems if each.finding is not None]
    found += sorted(summary.strays.items(), key=lambda each: each[0])[:MAX_PROBLEMS]
    itself = Ref(policy.kind, policy.scope, policy.name)
    said = [(replace(itself, namespace=e.namespace), e.finding) for e in summary.preflight.warnings]
    own = [*said, *((itself, finding) for finding in policy.remarks)]
    obeyed = [each for each in found if each[1].reason in LEFT_ALONE]
    others = [each for each in found if each[1].reason not in LEFT_ALONE]
    room = MAX_PROBLEMS - len(obeyed)
    own = own[:room]
    return [_problem(*each) for each in (*obeyed, *others[: room - len(own)], *own)]


def _problem(ref: Ref, finding: Finding) -> dict[str, str]:
    where = {"namespace": ref.namespace} if ref.namespace else {}
    return {
        "kind": ref.kind,
        "name": ref.name,
        **where,
        "reason": finding.reason.value,
        "message": finding.message,
    }
