"""The QoS class of a Pod, as the API server computes it: who is evicted first from a full node.

All containers count alike, init containers and native sidecars included, and only their
cpu and memory. Pod-level resources, where there are any, count instead.

Source: ComputePodQOS in k8s.io/kubernetes pkg/apis/core/helper/qos; KEP-2837.
"""

from enum import StrEnum
from functools import reduce
from typing import Final

from sidecarpolicy.core.resources import (
    PodResources,
    ResourceList,
    ResourceRequirements,
    add,
    positive,
)

COMPUTE: Final = ("cpu", "memory")
"""The resources that decide on the QoS class."""


class QosClass(StrEnum):
    """The values of a Pod's status.qosClass, best first."""

    GUARANTEED = "Guaranteed"
    BURSTABLE = "Burstable"
    BEST_EFFORT = "BestEffort"

    def worse_than(self, other: "QosClass") -> bool:
        """Whether its Pods are evicted earlier."""
        order = list(QosClass)
        return order.index(self) > order.index(other)


def qos_class(pod: PodResources) -> QosClass:
    """The class that the Pod will have."""
    holders = _holders(pod)
    limited = [_compute(each.limits) for each in holders]
    requests = reduce(add, (_compute(each.requests) for each in holders), _compute({}))
    limits = reduce(add, limited, _compute({}))
    if not requests and not limits:
        return QosClass.BEST_EFFORT
    if all(len(each) == len(COMPUTE) for each in limited) and requests == limits:
        return QosClass.GUARANTEED
    return QosClass.BURSTABLE


def _holders(pod: PodResources) -> list[ResourceRequirements]:
    if pod.pod_level is not None:
        return [pod.pod_level]
    return [each.resources for each in (*pod.containers, *pod.init_containers)]


def _compute(resources: ResourceList) -> ResourceList:
    return {name: each for name, each in positive(resources).items() if name in COMPUTE}
