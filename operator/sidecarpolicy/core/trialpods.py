"""Pods for dry runs: what a workload's controller would create, with and without a policy's parts.

They are never stored. Names are fixed, so that the API server's words about them, which end in a
status, are the same each time.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidecarpolicy.api.names import INJECT_ANNOTATION
from sidecarpolicy.core.desired import Desired, names
from sidecarpolicy.core.facts import PolicyFacts, WorkloadFacts
from sidecarpolicy.core.inject import Action, Injection, Verdict, inject
from sidecarpolicy.core.marker import as_pods_are
from sidecarpolicy.core.mounts import foreign_mounts
from sidecarpolicy.core.native import native_names
from sidecarpolicy.core.ownership import NodeRuleSite

JSON = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """One Pod with the policy's parts, and the same without them."""

    injected: JSON
    plain: JSON
    sidecars: tuple[str, ...] = ()
    """Names of the native sidecars that it has because of the policy."""


def sample_of(workload: WorkloadFacts, desired: Desired) -> Sample | None:
    """The Pods of a workload; None if something in its template is in the policy's way."""
    template = as_pods_are(json.loads(workload.template), claims=workload.claims)
    return _sample(template, desired, name=workload.ref.name, claims=workload.claims)


def neutral_sample(policy: PolicyFacts, desired: Desired) -> Sample | None:
    """Pods of no workload, in which there is all that the sidecars could ask for.

    What the API server refuses even here is the policy's own fault. The container fits the
    restricted Pod Security Standard, so that only the policy's own parts can violate it.
    """
    labels = dict(neutral_labels(policy))
    adopted = {each.container for each in desired.adopt}
    app = [*(sorted(desired.app_containers - adopted) or [_PROBE]), *sorted(adopted)]
    template: JSON = {
        "metadata": {"labels": labels},
        "spec": {
            "securityContext": _POD_SECURITY,
            "containers": [_container(each) for each in app],
            "volumes": [
                {"name": each, "persistentVolumeClaim": {"claimName": _PROBE}}
                for each in sorted({volume for _, volume in foreign_mounts(desired)})
            ],
        },
    }
    return _sample(template, desired, name=_PROBE)


def neutral_labels(policy: PolicyFacts) -> Mapping[str, str]:
    """Labels of a Pod of no workload that the policy could select."""
    return policy.spec.selector.match_labels if policy.spec is not None else {}


def bare_sample(labels: Mapping[str, str]) -> Sample:
    """A Pod of no policy with one native sidecar, BARE_SIDECAR, and the same without it.

    Our own webhook adds nothing to either.
    """
    alone: JSON = {
        "metadata": {"labels": dict(labels), "annotations": {INJECT_ANNOTATION: "false"}},
        "spec": {"securityContext": _POD_SECURITY, "containers": [_container(_PROBE)]},
    }
    sidecar = {**_container(BARE_SIDECAR), "restartPolicy": "Always"}
    injected = {**alone, "spec": {**alone["spec"], "initContainers": [sidecar]}}
    return Sample(_pod(_PROBE, injected, ()), _pod(_PROBE, alone, ()), (BARE_SIDECAR,))


BARE_SIDECAR: Final = "sidecar"
_PROBE: Final = "sidecarpolicy-probe"
_IMAGE: Final = "registry.k8s.io/pause:3.10"
_POD_SECURITY: Final = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
_SECURITY: Final = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _container(name: str) -> JSON:
    return {"name": name, "image": _IMAGE, "securityContext": _SECURITY}


def _sample(
    template: Mapping[str, Any],
    desired: Desired,
    *,
    name: str,
    claims: frozenset[str] = frozenset(),
) -> Sample | None:
    """Nobody owns a Pod's affinity, whoever owns the template's: a node rule finds its place."""

    def made(verdict: Verdict) -> Injection:
        return inject(template, [verdict], site=NodeRuleSite.AFFINITY, claims=claims)

    done = made(Verdict(desired.key, Action.APPLY, desired))
    if done.obstacles:
        return None
    plain = _pod(name, made(Verdict(desired.key, Action.REMOVE)).template, claims)
    # Our own webhook would add to it what it lacks.
    plain["metadata"]["annotations"][INJECT_ANNOTATION] = "false"
    return Sample(_pod(name, done.template, claims), plain, _sidecars(done.template, desired))


def _sidecars(template: Mapping[str, Any], desired: Desired) -> tuple[str, ...]:
    """What the policy adds, and what it adopts of what is there."""
    mine = {*names(desired.sidecars), *(each.container for each in desired.adopt)}
    return tuple(sorted(native_names(template) & mine))


def _pod(title: str, template: Mapping[str, Any], claims: Iterable[str]) -> JSON:
    """The Pod that a workload's controller would make; a StatefulSet's brings its claims along."""
    meta, spec = template.get("metadata") or {}, template["spec"]
    claimed = [
        {"name": each, "persistentVolumeClaim": {"claimName": each}} for each in sorted(claims)
    ]
    volumes = [e for e in spec.get("volumes") or () if e.get("name") not in claims] + claimed
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{title[:200].rstrip('.-')}-probe",
            "labels": dict(meta.get("labels") or {}),
            "annotations": dict(meta.get("annotations") or {}),
        },
        "spec": {**spec, "volumes": volumes} if volumes else spec,
    }


def made_loud(pod: JSON, sidecars: Iterable[str]) -> JSON:
    """The Pod with a `lifecycle` on each sidecar: one that is stripped is refused, and at once.

    The API server validates a Pod before it asks Pod Security, admission policies and quotas.
    """
    spec, wanted = pod["spec"], set(sidecars)
    loud = [
        {**each, "lifecycle": each.get("lifecycle") or _NOTHING} if each["name"] in wanted else each
        for each in spec["initContainers"]
    ]
    return {**pod, "spec": {**spec, "initContainers": loud}}


_NOTHING: Final = {"preStop": {"exec": {"command": ["true"]}}}
