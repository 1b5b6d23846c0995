"""Truce: a policy's revision stays out of a workload from which another writer took it.

Controller and webhook obey the hold on the workload's metadata (core.held), so nothing rolls any
more, also after a restart; how it ends is for core.failure to say, as of any hold. The policy's
status names the writer, and what ends the fight itself.
"""

from collections.abc import Callable, Mapping
from typing import Final

from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.api.names import FIELD_MANAGER, HELD_ANNOTATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.case import Case
from sidecarpolicy.core.facts import PolicyFacts, Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.held import Because, Hold


def fought(policy: PolicyFacts, case: Case) -> Finding | None:
    """That the policy's current revision stays out, because somebody takes it out; or None."""
    if policy.desired is None:
        return None
    wanted, ref = (policy.key, policy.desired.revision, Because.FIGHT), case.workload.ref
    for hold in (*case.snapshot.fought.get(ref, ()), *case.workload.holds):
        if (hold.policy, hold.revision, hold.reason) == wanted:
            return Finding(Reason.FIGHT, _message(hold, ref))
    return None


def gives_in(policy: PolicyFacts, case: Case) -> bool:
    """Whether a fight about the policy's parts is given up now: what is left of them goes.

    Half of them could do harm: a sidecar without its node rule hangs on a node that does not know
    native sidecars.
    """
    return any(
        each.policy == policy.key for each in case.snapshot.fought.get(case.workload.ref, ())
    )


def _message(hold: Hold, ref: Ref) -> str:
    who = f" ({hold.manager} wrote its Pod template last)" if hold.manager else ""
    remedy = _REMEDIES.get(hold.manager, _any_other)(ref)
    return (
        f"the sidecars of revision {hold.revision} were taken out of it again and again{who}, so "
        "they stay out until the policy's sidecars change. To end the fight, "
        f"{remedy}; or set injectAt: Pod in the policy. Ten minutes later the same revision can be "
        f"tried again: kubectl -n {ref.namespace} annotate {ref.kind.lower()}/{ref.name} "
        f"{HELD_ANNOTATION}-"
    )


def _argo_cd(ref: Ref) -> str:
    group = "batch" if ref.kind == TargetKind.CRON_JOB else "apps"
    return (
        f"in its Argo CD Application set ignoreDifferences: [{{group: {group}, kind: {ref.kind}, "
        f"name: {ref.name}, managedFieldsManagers: [{FIELD_MANAGER}]}}] and syncOptions: "
        "[RespectIgnoreDifferences=true], without Replace=true"
    )


def _flux(ref: Ref) -> str:
    return (
        "ignore: [{paths: [/spec/template/spec/affinity, /spec/template/spec/nodeSelector], "
        f"target: {{kind: {ref.kind}, name: {ref.name}}}}}]"
    )


def _kubectl_replace(_: Ref) -> str:
    return "have its writer use kubectl apply, which keeps what others added"


def _any_other(_: Ref) -> str:
    return "have its writer leave alone what it did not write, as server-side apply does"


_REMEDIES: Final[Mapping[str, Callable[[Ref], str]]] = {
    "argocd-controller": _argo_cd,
    "argocd-application-controller": _argo_cd,
    "kustomize-controller": lambda ref: f"in spec of its Flux Kustomization set {_flux(ref)}",
    "helm-controller": lambda ref: f"in driftDetection of its Flux HelmRelease set {_flux(ref)}",
    "kubectl-replace": _kubectl_replace,
}
"""What ends a fight, by field manager (docs/gitops.md)."""
