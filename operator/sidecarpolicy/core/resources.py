"""What a Pod of a template requests and may use, as the scheduler and `kubectl` count it.

Reads a raw Pod template, fills in the defaults that the API server would, and adds up:
init containers run one after the other, but each together with the native sidecars that
stand before it, so their order matters. An amount that cannot be read counts as absent.

Not known here: what admission adds later, such as the overhead of a RuntimeClass or the
defaults of a LimitRange. Pod-level resources count where a template has them: an API server
that does not know them (before 1.34, by default) does not keep them either.

Sources: KEP-753 "Resources calculation", KEP-2837 (Pod-level resources);
k8s.io/component-helpers/resource PodRequests and PodLimits; SetDefaults_Pod.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property, reduce
from typing import Any, Final

from sidecarpolicy.core.native import is_native
from sidecarpolicy.core.quantity import Quantity, parse_quantity

ResourceList = Mapping[str, Quantity]
"""Amounts by name of resource: cpu in cores, memory in bytes, extended resources in pieces."""

_NOTHING: Final[ResourceList] = {}


@dataclass(frozen=True)
class ResourceRequirements:
    """The requests and limits of a container, or of a Pod as a whole."""

    requests: ResourceList = field(default_factory=dict)
    limits: ResourceList = field(default_factory=dict)


_Pick = Callable[[ResourceRequirements], ResourceList]


@dataclass(frozen=True)
class ContainerResources:
    """What a container asks for, an absent request being its limit. `native`: a native sidecar."""

    name: str
    resources: ResourceRequirements
    native: bool = False


@dataclass(frozen=True)
class PodResources:
    """What the containers of a Pod ask for, and what that comes to.

    `written` holds the Pod-level resources as they are in the template; None where there
    are none. An empty object is not none: it makes the API server ignore the containers
    when it computes the QoS class.
    """

    containers: tuple[ContainerResources, ...] = ()
    init_containers: tuple[ContainerResources, ...] = ()
    written: ResourceRequirements | None = None
    overhead: ResourceList = field(default_factory=dict)

    @cached_property
    def requests(self) -> ResourceList:
        """The effective requests: what a node must have free to take the Pod."""
        return add(self._effective(_requests), self.overhead)

    @cached_property
    def limits(self) -> ResourceList:
        """The effective limits; overhead comes on top of a limit that there is."""
        limits = self._effective(_limits)
        return add(limits, _only(self.overhead, lambda name: name in positive(limits)))

    @property
    def running(self) -> Iterator[ContainerResources]:
        """Native sidecars and application containers: what runs as long as the Pod does."""
        yield from (each for each in self.init_containers if each.native)
        yield from self.containers

    @cached_property
    def container_requests(self) -> ResourceList:
        """What the containers alone request."""
        return self._of_containers(_requests)

    @cached_property
    def pod_level(self) -> ResourceRequirements | None:
        """The Pod-level resources with the API server's defaults, or None.

        Where they have a limit, an absent request becomes what the containers request
        together, and the limit only if no container requests anything.
        """
        if self.written is None:
            return None
        requests, limits = self.written.requests, self.written.limits
        if not requests and not limits:
            return self.written
        limits = {**self._huge_pages(but=requests), **limits}
        if limits:
            inner = _only(self.container_requests, _is_shared)
            requests = {**_only(limits, _is_pod_level), **inner, **requests}
        return ResourceRequirements(requests, limits)

    def _effective(self, pick: _Pick) -> ResourceList:
        inner = self._of_containers(pick)
        if self.pod_level is None:
            return inner
        return {**inner, **_only(pick(self.pod_level), _is_pod_level)}

    def _of_containers(self, pick: _Pick) -> ResourceList:
        """The most that is needed at one time: by an init container starting, or by the rest."""
        sidecars, starting = _NOTHING, []
        for each in self.init_containers:
            if each.native:
                sidecars = add(sidecars, pick(each.resources))
            else:
                starting.append(add(pick(each.resources), sidecars))
        running = reduce(add, (pick(each.resources) for each in self.containers), _NOTHING)
        return reduce(larger, starting, add(running, sidecars))

    def _huge_pages(self, *, but: ResourceList) -> ResourceList:
        """Limits on huge pages, which cannot be overcommitted: those of the containers."""
        limits = self._of_containers(_limits)
        return _only(limits, lambda name: _is_huge_page(name) and name not in but)


def pod_resources(template: Mapping[str, Any]) -> PodResources:
    """The resources of a raw Pod template or Pod. Never raises."""
    spec = _mapping(template.get("spec"))
    written = spec.get("resources")
    return PodResources(
        containers=tuple(_containers(spec.get("containers"))),
        init_containers=tuple(_containers(spec.get("initContainers"))),
        written=_requirements(written) if isinstance(written, Mapping) else None,
        overhead=_amounts(spec.get("overhead")),
    )


def add(one: ResourceList, other: ResourceList) -> ResourceList:
    """The sums, by resource."""
    if not other:
        return one
    more = {name: one[name] + each if name in one else each for name, each in other.items()}
    return {**one, **more}


def larger(one: ResourceList, other: ResourceList) -> ResourceList:
    """The larger of both, by resource."""
    more = {name: max(one.get(name, each), each) for name, each in other.items()}
    return {**one, **more}


def subtract(one: ResourceList, other: ResourceList) -> ResourceList:
    """The differences, by resource, where there is one; negative where `other` has more."""
    zero = Quantity(Decimal(0))
    differences = {name: one.get(name, zero) - other.get(name, zero) for name in {**one, **other}}
    return {name: each for name, each in differences.items() if each.amount}


def times(resources: ResourceList, count: int) -> ResourceList:
    """What so many Pods need."""
    return {name: each * count for name, each in resources.items()}


def positive(resources: ResourceList) -> ResourceList:
    """Without what is zero, which for the QoS class and for limits means: not set."""
    return {name: each for name, each in resources.items() if each.amount > 0}


def canonical(resources: ResourceList) -> dict[str, str]:
    """The amounts as Kubernetes prints them, such as {"cpu": "50m", "memory": "64Mi"}."""
    return {name: str(resources[name]) for name in sorted(resources)}


def _requests(own: ResourceRequirements) -> ResourceList:
    return own.requests


def _limits(own: ResourceRequirements) -> ResourceList:
    return own.limits


def _only(resources: ResourceList, wanted: Callable[[str], bool]) -> ResourceList:
    return {name: each for name, each in resources.items() if wanted(name)}


def _is_huge_page(name: str) -> bool:
    return name.startswith("hugepages-")


def _is_shared(name: str) -> bool:
    """Whether nodes may overcommit the resource, and Pods have it as a whole."""
    return name in ("cpu", "memory")


def _is_pod_level(name: str) -> bool:
    return _is_shared(name) or _is_huge_page(name)


def _containers(value: object) -> Iterator[ContainerResources]:
    for each in value if isinstance(value, list) else ():
        if isinstance(each, Mapping):
            own = _requirements(_mapping(each.get("resources")))
            yield ContainerResources(
                name=str(each.get("name")),
                resources=ResourceRequirements({**own.limits, **own.requests}, own.limits),
                native=is_native(each),
            )


def _requirements(value: Mapping[str, Any]) -> ResourceRequirements:
    return ResourceRequirements(_amounts(value.get("requests")), _amounts(value.get("limits")))


def _amounts(value: object) -> ResourceList:
    read = ((str(name), parse_quantity(text)) for name, text in _mapping(value).items())
    return {name: found.in_milli for name, found in read if found is not None and found.amount >= 0}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
