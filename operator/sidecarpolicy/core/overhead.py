"""What sidecars cost a Pod: what it requests more, its QoS class, and what to know about both.

Compares two Pod templates, one without and one with the sidecars; who made them does not
matter. Not to be confused with a Pod's own `overhead`, which is its sandbox's (RuntimeClass).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.former import adopted_names
from sidecarpolicy.core.parts import container_names
from sidecarpolicy.core.qos import COMPUTE, QosClass, qos_class
from sidecarpolicy.core.record import Record, read_record
from sidecarpolicy.core.resources import (
    ContainerResources,
    PodResources,
    ResourceList,
    ResourceRequirements,
    pod_resources,
    positive,
    subtract,
)
from sidecarpolicy.core.universal import sidecars_of


@dataclass(frozen=True)
class Overhead:
    """What one Pod requests, and its QoS class, without and with the sidecars."""

    before: ResourceList
    after: ResourceList
    qos_before: QosClass
    qos_after: QosClass
    findings: tuple[Finding, ...] = ()

    @cached_property
    def requests(self) -> ResourceList:
        """What it requests more, without zeros: a big init container may leave nothing to add. An
        amount is negative where the Pod requests less, which `findings` explain.
        """
        return subtract(self.after, self.before)


def overhead(before: Mapping[str, Any], after: Mapping[str, Any]) -> Overhead:
    """What the raw Pod template `after` costs more than `before`."""
    new = pod_resources(after)
    return _compared(pod_resources(before), new, qos_class(new), {})


def _compared(
    old: PodResources, new: PodResources, new_class: QosClass, sidecars: Mapping[str, str]
) -> Overhead:
    """`sidecars`: what to call the containers that belong to one."""
    old_class = qos_class(old)
    findings = [*_uncounted(old, new, sidecars), *_lowered(old, new)]
    if new_class.worse_than(old_class):
        causes = _causes(new, sidecars)
        findings.append(_worse_class(new, causes, before=old_class, after=new_class))
    return Overhead(old.requests, new.requests, old_class, new_class, tuple(findings))


def by_policy(template: Mapping[str, Any]) -> dict[str, Overhead]:
    """What the sidecars of each recorded policy cost a Pod of the template, by policy key."""
    record = read_record(template)
    if not isinstance(record, Record):
        return {}
    pod = pod_resources(template)
    sidecars = sidecars_of(part for each in record.policies.values() for part in each.parts)
    after = qos_class(pod)
    return {
        key: _compared(_without(pod, each.parts), pod, after, sidecars)
        for key, each in record.policies.items()
    }


def _without(pod: PodResources, parts: Iterable[str]) -> PodResources:
    """The Pod without a policy's sidecars, and what it adopted back among its containers; nothing
    else of a policy requests anything.
    """
    parts = tuple(parts)
    names, adopted = container_names(parts), adopted_names(parts)
    back = (replace(e, native=False) for e in pod.init_containers if e.name in adopted)
    init = (each for each in pod.init_containers if each.name not in (*names, *adopted))
    regular = (each for each in pod.containers if each.name not in names)
    return replace(pod, init_containers=tuple(init), containers=(*regular, *back))


def _uncounted(
    old: PodResources, new: PodResources, sidecars: Mapping[str, str]
) -> Iterator[Finding]:
    """New sidecars that the scheduler does not see, or not all of; each once, however often it
    is in the Pod.
    """
    known = {each.name for each in (*old.containers, *old.init_containers)}
    added = {sidecars.get(e.name, e.name): e for e in new.running if e.name not in known}
    for sidecar, each in added.items():
        missing = [name for name in COMPUTE if not _counted(name, each, new)]
        if missing:
            yield Finding(
                Reason.NO_RESOURCE_REQUEST,
                f"sidecar {sidecar!r} requests no {' and no '.join(missing)}: nodes keep none "
                f"free for it, and a HorizontalPodAutoscaler on {' or '.join(missing)} utilization "
                "stops scaling; set its resources.requests in the policy",
            )


def _counted(name: str, container: ContainerResources, pod: PodResources) -> bool:
    """Whether the container's share is requested, by itself or by the Pod as a whole."""
    if name in container.resources.requests:
        return True
    if pod.written is None or pod.pod_level is None:
        return False
    from_limit = name in pod.pod_level.requests and name not in pod.container_requests
    return name in pod.written.requests or from_limit


def _lowered(old: PodResources, new: PodResources) -> Iterator[Finding]:
    """A Pod-level limit is also the request, but only until a container requests something."""
    if new.written is None or new.pod_level is None:
        return
    defaulted = set(new.pod_level.requests) - set(new.written.requests)
    for name, more in subtract(new.requests, old.requests).items():
        if name in defaulted and more.amount < 0:
            yield Finding(
                Reason.POD_REQUEST_LOWERED,
                f"the Pod requests {name} {new.requests[name]} instead of {old.requests[name]}, "
                f"because its own resources limit {name} without a request, and then its "
                f"containers' requests count; set spec.resources.requests.{name} in the Pod "
                "template",
            )


def _worse_class(
    pod: PodResources, causes: Iterable[str], *, before: QosClass, after: QosClass
) -> Finding:
    if pod.pod_level is not None:
        step = "set spec.resources.requests in the Pod template to the limits there"
    else:
        step = "set cpu and memory limits on it in the policy, and no other requests than those"
    because = ", and ".join(causes)
    return Finding(
        Reason.QOS_CLASS_CHANGED,
        f"the Pod's QoS class changes from {before} to {after}, because {because}; {step}",
    )


def _causes(pod: PodResources, sidecars: Mapping[str, str]) -> list[str]:
    """What keeps the Pod from being Guaranteed, each said once."""
    if pod.pod_level is not None:
        return [_cause("the Pod as a whole", pod.pod_level)]
    containers = (*pod.init_containers, *pod.containers)
    found = (_cause(_title(each, sidecars), each.resources) for each in containers)
    return list(dict.fromkeys(filter(None, found)))


def _title(container: ContainerResources, sidecars: Mapping[str, str]) -> str:
    name = sidecars.get(container.name, container.name)
    ours = container.native or container.name in sidecars
    return f"{'sidecar' if ours else 'container'} {name!r}"


def _cause(who: str, own: ResourceRequirements) -> str:
    """What keeps it from being Guaranteed; empty where nothing does."""
    faults = list(_faults(own))
    return f"{who} has {' and '.join(faults)}" if faults else ""


def _faults(own: ResourceRequirements) -> Iterator[str]:
    limits = positive(own.limits)
    for name in COMPUTE:
        if name not in limits:
            yield f"no {name} limit"
        elif own.requests.get(name) != limits[name]:
            yield f"a {name} request of {own.requests.get(name)} with a limit of {limits[name]}"
