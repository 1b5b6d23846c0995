"""Holding: what keeps a policy back from changing a workload, or any workload at all.

Each answer is a finding for the policy's status, or None where nothing stands in the way.
Reads the case only; what follows from it is for core.decision to say.
"""

from sidecarpolicy.api.models import Mode, NodeRule
from sidecarpolicy.api.names import WEBHOOK_CONFIGURATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.blocks import halted
from sidecarpolicy.core.capability import NodeTally
from sidecarpolicy.core.case import Case, at_pods
from sidecarpolicy.core.desired import Desired
from sidecarpolicy.core.facts import PolicyFacts
from sidecarpolicy.core.failure import kept_out_by, stuck
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.nextupdate import left_to_owner
from sidecarpolicy.core.retries import too_few_retries
from sidecarpolicy.core.times import seconds


def blocker(
    policy: PolicyFacts, nodes: NodeTally, *, creating: bool = False, webhook: bool = True
) -> Finding | None:
    """What keeps a policy from changing any workload, or None.

    A paused policy freezes what exists; what is being created now still gets its sidecars.
    `webhook` says whether the API server asks our webhook about Pods.
    """
    if policy.spec is None:
        return Finding(Reason.INVALID, policy.invalid)
    paused = pause_of(policy)
    if paused is not None and not creating:
        return paused
    if at_pods(policy) and not webhook:
        return NO_WEBHOOK
    return nowhere_to_run(policy.desired, nodes) if policy.desired is not None else None


NO_WEBHOOK = Finding(
    Reason.WEBHOOK_NOT_REGISTERED,
    f"the webhook adds this to Pods, and MutatingWebhookConfiguration {WEBHOOK_CONFIGURATION} has "
    "no webhook for Pods that works; install it",
)


def nowhere_to_run(wish: Desired, nodes: NodeTally) -> Finding | None:
    """That no node runs Pods with these parts, so that their node rule lets them only wait; or
    None. Where the API server drops the field, there is no rule, and no kubelet sees the field.
    """
    if not nodes.total or wish.node_rule is NodeRule.NONE or wish.field_dropped:
        return None
    if wish.mode is Mode.UNIVERSAL:
        return _ALL_REJECT if nodes.rejecting == nodes.total else None
    if nodes.capable:
        return None
    instead = ", or set mode: Universal" if nodes.ignoring else ""
    return Finding(
        Reason.NO_CAPABLE_NODES,
        f"none of {nodes.total} nodes runs native sidecars; upgrade a kubelet to 1.29 or later"
        f"{instead}",
    )


_ALL_REJECT = Finding(
    Reason.NO_CAPABLE_NODES,
    "all nodes refuse Pods with native sidecars, which mode Universal has, too; upgrade a kubelet "
    "to 1.29 or later, with its feature gate SidecarContainers on",
)


def pause_of(policy: PolicyFacts) -> Finding | None:
    """That its author paused a policy, or None."""
    if policy.spec is None or not policy.spec.paused:
        return None
    return Finding(Reason.PAUSED, "paused: existing workloads stay as they are")


def kept_off_by(policy: PolicyFacts, case: Case) -> Finding | None:
    """Why this policy may not be applied here, or None; a mere annotation may, whoever owns it."""
    owner, wish = case.workload.owner, policy.desired
    first = (each.desired for each in case.selected_by if each.key < policy.key)
    allowed, earlier = case.workload.retries, filter(None, first)
    failing = too_few_retries(wish, allowed, earlier=earlier) if wish is not None else None
    if case.refusal is not None or failing is not None:
        return case.refusal or failing
    if owner is None or at_pods(policy):
        return None
    return Finding(
        Reason.OWNED_BY_CONTROLLER,
        f"{owner} controls it and would undo any change; set injectAt: Pod in the policy to have "
        "the sidecars added to its Pods",
    )


def held_back(policy: PolicyFacts, case: Case) -> Finding | None:
    """What keeps a policy from changing this workload now, or None."""
    return (
        kept_out_by(policy, case)
        or _blocker(policy, case)
        or refused_here(policy, case)
        or left_to_owner(policy, case.snapshot)
        or _stopped(policy, case)
        or _unsettled(policy, case)
    )


def _stopped(policy: PolicyFacts, case: Case) -> Finding | None:
    """That the revision failed too often, where its owner's change would bring it in.

    The controller counts (core.pace); the webhook, which sees one workload, goes by the status.
    """
    seen = policy.status.get("observedGeneration"), policy.status.get("revision")
    if not case.snapshot.editing or policy.desired is None:
        return None
    return halted(policy.status) if seen == (policy.generation, policy.desired.revision) else None


def _unsettled(policy: PolicyFacts, case: Case) -> Finding | None:
    """That a workload without the policy's parts is rolling or failing: let it come to rest first.

    Then its failure is not taken for ours, nor ours for that of another policy whose parts roll
    out; and many that roll for another policy are no way around `maxConcurrent`. One that came
    along with the policy, or later, is not waited for: it may need its sidecar to become available
    at all.
    """
    workload = case.workload
    if stuck(policy, case):
        return _not_settled(case)
    rollout = workload.rollout
    if case.snapshot.creating or policy.key in case.revisions:
        return None
    if rollout.finished or rollout.waits_for:
        return None
    if seconds(workload.created) > seconds(policy.created) - _TOGETHER_SECONDS:
        return None
    return _not_settled(case)


def _not_settled(case: Case) -> Finding:
    how = case.workload.rollout.message
    return Finding(
        Reason.NOT_SETTLED, f"its own rollout is not finished ({how}), and is waited for"
    )


def _blocker(policy: PolicyFacts, case: Case) -> Finding | None:
    snapshot = case.snapshot
    return blocker(policy, snapshot.nodes, creating=snapshot.creating, webhook=snapshot.webhook)


def refused_here(policy: PolicyFacts, case: Case) -> Finding | None:
    """Why the API server would not take the policy here: in the whole namespace, or in just
    this generation of the workload, as far as it was asked.
    """
    if policy.key in case.snapshot.blocked:
        return case.snapshot.blocked[policy.key]
    if case.snapshot.obedient and policy.leaves_alone(case.workload.ref):
        return Finding(Reason.REFUSED, "it would do harm; see the policy's status")
    refusal = case.snapshot.refused.get((case.workload.ref, policy.key))
    if refusal is None or policy.desired is None:
        return None
    asked = (refusal.revision, refusal.generation)
    same = asked == (policy.desired.revision, case.workload.generation)
    return refusal.finding if same else None


_TOGETHER_SECONDS = 30.0
"""What is applied together with a policy may be a little older than it."""
