"""Checks of the operator itself: is it installed, does it run, may it do its work, is it asked?

That it is not installed at all is no problem; that some of it is missing is one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidecarpolicy.api.names import (
    CLUSTER_PLURAL,
    GROUP,
    PLURAL,
    SYSTEM_NAMESPACE,
    WEBHOOK_CONFIGURATION,
)
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.checkup import (
    Check,
    Checked,
    Unread,
    fine,
    problem,
    shortened,
    unknown,
    unread,
)
from sidecarpolicy.core.registration import sees_pods
from sidecarpolicy.core.rights import Right

RawObject = Mapping[str, Any]

CRDS: Final = (f"{PLURAL}.{GROUP}", f"{CLUSTER_PLURAL}.{GROUP}")
_INSTALL: Final = "Apply the operator's manifests again"


@dataclass(frozen=True)
class Part:
    """One of the two processes: its Deployment, and the rights that its account lacks.

    `deployment` is None where there is none, `lacking` where nobody asked.
    """

    deployment: RawObject | Unread | None = None
    lacking: Sequence[Right] | Unread | None = None


@dataclass(frozen=True)
class Operator:
    """What was found of the operator.

    `crds`: whether each CRD that is there is Established. `registration` is None where there is
    none. `endpoints`: how many addresses of the webhook's Service are ready; None where it is
    not asked by a Service.
    """

    crds: Mapping[str, bool] | Unread
    registration: RawObject | Unread | None
    controller: Part = Part()
    webhook: Part = Part()
    endpoints: int | Unread | None = None
    namespace: str = SYSTEM_NAMESPACE

    @property
    def seen(self) -> bool:
        """Whether anything of it is there."""
        parts = (self.crds, self.registration, self.controller.deployment, self.webhook.deployment)
        return any(each and not isinstance(each, Unread) for each in parts)


def operator(found: Operator) -> tuple[Checked, ...]:
    """All checks of the operator; one line where it is not installed."""
    if not found.seen:
        # Who may read nothing else sees the CRDs: whether they are served is told to everybody.
        if isinstance(found.crds, Unread):
            return (unread(Check.OPERATOR, "whether it is installed", found.crds),)
        return (fine(Check.OPERATOR, "not installed"),)
    controller, webhook = found.controller, found.webhook
    checked = (
        crds(found.crds),
        running(Check.CONTROLLER, controller.deployment, found.namespace),
        rights(Check.CONTROLLER_RIGHTS, controller.lacking),
        running(Check.WEBHOOK, webhook.deployment, found.namespace),
        rights(Check.WEBHOOK_RIGHTS, webhook.lacking),
        registered(found.registration),
        reached(found.endpoints),
    )
    return tuple(each for each in checked if each is not None)


def crds(found: Mapping[str, bool] | Unread) -> Checked:
    """Whether both kinds of policies are there, and the API server serves them."""
    if isinstance(found, Unread):
        return unread(Check.CRDS, "CustomResourceDefinitions", found)
    missing = [each for each in CRDS if each not in found]
    if missing:
        return problem(Check.CRDS, f"not installed: {', '.join(missing)}", next_step=_INSTALL)
    waiting = [each for each in CRDS if not found[each]]
    if waiting:
        return problem(
            Check.CRDS,
            f"not Established: {', '.join(waiting)}",
            next_step=f"See why with kubectl describe crd {waiting[0]}",
        )
    return fine(Check.CRDS, "installed and Established")


def running(check: Check, deployment: RawObject | Unread | None, namespace: str) -> Checked:
    """Whether a process is available, in the Deployment controller's own judgement."""
    if isinstance(deployment, Unread):
        return unread(check, "its Deployment", deployment)
    if deployment is None:
        return problem(
            check,
            f"there is no Deployment of it in namespace {namespace}",
            next_step=f"{_INSTALL}; if it runs in another namespace, name that with "
            "--operator-namespace",
        )
    name, spec = deployment["metadata"]["name"], deployment.get("spec") or {}
    status, wanted = deployment.get("status") or {}, spec.get("replicas", 1)
    number = f"{status.get('availableReplicas', 0)} of {wanted} Pods are available"
    if not wanted:
        scale = f"kubectl -n {namespace} scale deployment {name} --replicas=1"
        return problem(check, "it is scaled to 0", next_step=scale)
    if _condition(status, "Available") != "True":
        describe = f"kubectl -n {namespace} describe pods, and their logs"
        return problem(check, number, next_step=f"See why with {describe}")
    return fine(check, number)


def _condition(status: RawObject, wanted: str) -> str:
    conditions = status.get("conditions") or ()
    return next((str(e.get("status")) for e in conditions if e.get("type") == wanted), "")


def rights(check: Check, lacking: Sequence[Right] | Unread | None) -> Checked | None:
    """Whether a process may do its work; None where there is no process to ask about."""
    if lacking is None:
        return None
    if isinstance(lacking, Unread):
        return unknown(
            check, f"not asked, which takes create on subjectaccessreviews: {lacking.why}"
        )
    if not lacking:
        return fine(check, "its ServiceAccount has every right that it needs")
    return problem(
        check,
        f"its ServiceAccount lacks {len(lacking)} rights that it needs",
        next_step=f"{_INSTALL}, or grant them",
        reason=Reason.FORBIDDEN,
        details=shortened([str(each) for each in lacking]),
    )


def registered(found: RawObject | Unread | None) -> Checked:
    """Whether the API server asks our webhook about Pods, and knows whom to trust."""
    check, title = (
        Check.WEBHOOK_REGISTRATION,
        f"MutatingWebhookConfiguration {WEBHOOK_CONFIGURATION}",
    )
    if isinstance(found, Unread):
        return unread(check, title, found)
    if found is None:
        return problem(
            check,
            f"there is no {title}, so Pods and Jobs get no sidecars at their creation",
            next_step=_INSTALL,
            reason=Reason.WEBHOOK_NOT_REGISTERED,
        )
    webhooks: Sequence[RawObject] = found.get("webhooks") or ()
    blind = [
        e.get("name", "") for e in webhooks if not (e.get("clientConfig") or {}).get("caBundle")
    ]
    if blind or not sees_pods(found):
        return problem(
            check,
            f"no caBundle in {', '.join(blind)}"
            if blind
            else "no webhook of it is asked about Pods",
            next_step="The webhook fills in caBundle when it starts; see its log"
            if blind
            else _INSTALL,
            reason=Reason.WEBHOOK_NOT_REGISTERED,
        )
    policies = sorted({str(each.get("failurePolicy", "Fail")) for each in webhooks})
    return fine(check, f"registered with a caBundle, failurePolicy {' and '.join(policies)}")


def reached(endpoints: int | Unread | None) -> Checked | None:
    """Whether somebody answers at the webhook's Service; None where it has none."""
    check = Check.WEBHOOK_ENDPOINTS
    if endpoints is None:
        return None
    if isinstance(endpoints, Unread):
        return unread(check, "the EndpointSlices of its Service", endpoints)
    if not endpoints:
        return problem(
            check,
            "its Service has no ready endpoint, so no admission review is answered",
            next_step="See why the webhook's Pods are not ready",
        )
    return fine(check, f"its Service has {endpoints} ready endpoint{'s' * (endpoints > 1)}")
