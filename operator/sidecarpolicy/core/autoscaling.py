"""Would a sidecar stop the autoscaling of a workload?

A HorizontalPodAutoscaler with a target utilization divides what Pods use by what *all* their
containers request, restartable init containers included. One container without a request of
that resource, and it cannot say a number any more: it stops scaling, without a word to the
workload's owner (kube-controller-manager, `calculatePodRequests`: "missing request for cpu").
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.native import native_sidecars

RawObject = Mapping[str, Any]


@dataclass(frozen=True)
class Autoscaler:
    """A HorizontalPodAutoscaler: its target, and the resources that it scales by utilization."""

    name: str
    kind: str
    target: str
    resources: tuple[str, ...]


def autoscaler(hpa: RawObject) -> Autoscaler | None:
    """What a raw autoscaling/v2 object scales by utilization of all containers; None if nothing.

    A ContainerResource metric looks at one container only, and other targets than a
    utilization need no request.
    """
    spec = hpa["spec"]
    metrics = (each.get("resource") or {} for each in spec.get("metrics") or ())
    resources = tuple(
        each["name"] for each in metrics if (each.get("target") or {}).get("type") == "Utilization"
    )
    reference = spec["scaleTargetRef"]
    found = Autoscaler(hpa["metadata"]["name"], reference["kind"], reference["name"], resources)
    return found if resources else None


@dataclass(frozen=True)
class Stopped:
    """The container that would stop an autoscaler, and what to say about it."""

    container: str
    message: str


def stopped(
    autoscalers: Iterable[Autoscaler], ref: Ref, *, before: RawObject, after: RawObject
) -> Stopped | None:
    """Which autoscaler of a workload a change of its template would stop, or None.

    One that is stopped already is not our doing.
    """
    for each in autoscalers:
        if (each.kind, each.target) != (ref.kind, ref.name):
            continue
        for resource in each.resources:
            missing = next(_without(after, resource), None)
            if missing is not None and next(_without(before, resource), None) is None:
                return Stopped(
                    missing,
                    f"HorizontalPodAutoscaler {each.name} scales it by the utilization of "
                    f"{resource}, which container {missing} does not request, so that it would "
                    f"stop scaling; give the sidecar a request of {resource}",
                )
    return None


def hindrance(
    autoscalers: Iterable[Autoscaler], ref: Ref, template: RawObject, *, added: Collection[str]
) -> Stopped | None:
    """Which autoscaler of a workload cannot scale because of sidecars that policies `added`.

    One that the workload's own containers keep from scaling is not our doing.
    """
    for each in autoscalers:
        for resource in each.resources if (each.kind, each.target) == (ref.kind, ref.name) else ():
            missing = tuple(_without(template, resource))
            if missing and all(name in added for name in missing):
                return Stopped(
                    missing[0],
                    f"HorizontalPodAutoscaler {each.name} cannot scale it by the utilization of "
                    f"{resource}, which sidecar {missing[0]} does not request; give the sidecar a "
                    f"request of {resource}",
                )
    return None


def _without(template: RawObject, resource: str) -> Iterator[str]:
    """Containers that run along with the application and do not request the resource."""
    containers = (template.get("spec") or {}).get("containers") or ()
    for container in (*native_sidecars(template), *containers):
        asked = container.get("resources") or {}
        # A limit without a request is a request, by the API server's default.
        if not any(resource in (asked.get(kind) or {}) for kind in ("requests", "limits")):
            yield container["name"]
