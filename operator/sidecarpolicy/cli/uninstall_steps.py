"""The steps of an uninstallation as values: what was done, would be done, or stays, and why."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sidecarpolicy.api.names import CLUSTER_PLURAL, GROUP, PLURAL
from sidecarpolicy.cluster.resources import (
    ADMISSION_BINDINGS,
    ADMISSION_POLICIES,
    CLUSTER_POLICIES,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONTROLLER_REVISIONS,
    CRDS,
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    POLICIES,
    REPLICA_SETS,
    STATEFUL_SETS,
    WEBHOOK_CONFIGURATIONS,
    Resource,
)
from sidecarpolicy.core.rights import Right

OPERATORS: Final = "app.kubernetes.io/part-of=sidecarpolicy"
"""By this label the objects of the root kustomization are known."""

CRD_NAMES: Final = (f"{PLURAL}.{GROUP}", f"{CLUSTER_PLURAL}.{GROUP}")


class State(StrEnum):
    """How one step stands."""

    PLANNED = "planned"
    """A dry run would have done it."""
    DONE = "done"
    STAYS = "stays"
    """It is not the operator's to take away, or goes by itself; nothing waits for it."""
    UNFINISHED = "unfinished"
    """It was done, but what follows from it did not come to its end in time."""
    FAILED = "failed"
    """What comes after it has to wait."""


class Action(StrEnum):
    """What is done with an object."""

    DELETE = "delete"
    STRIP = "strip"
    """Take out of its Pod template what policies added."""
    CLEAN = "clean"
    """Take labels and annotations off its metadata."""
    NONE = "none"


@dataclass(frozen=True)
class Step:
    """One step with one object."""

    state: State
    action: Action
    kind: str
    name: str
    namespace: str = ""
    message: str = ""

    @property
    def what(self) -> str:
        """The object for people."""
        return f"{self.kind} {self.namespace}/{self.name}".replace(" /", " ")


@dataclass(frozen=True)
class Wish:
    """What the command line asks for. `timeout` is in seconds, for the rollout of one workload,
    and for each object whose end is waited for.
    """

    operator: str
    max_concurrent: str
    timeout: float
    dry_run: bool = False
    keep_node_labels: bool = False


_READ: Final = (
    WEBHOOK_CONFIGURATIONS, POLICIES, CLUSTER_POLICIES, NODES, DEPLOYMENTS, STATEFUL_SETS,
    DAEMON_SETS, CRON_JOBS, JOBS, PODS, REPLICA_SETS, CONTROLLER_REVISIONS, NAMESPACES, CRDS,
    ADMISSION_POLICIES, ADMISSION_BINDINGS, CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS,
)  # fmt: skip
_PATCHED: Final = (
    DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS, CRON_JOBS, REPLICA_SETS, CONTROLLER_REVISIONS, JOBS,
    PODS, NODES,
)  # fmt: skip
_DELETED: Final = (
    WEBHOOK_CONFIGURATIONS, DEPLOYMENTS, POLICIES, CLUSTER_POLICIES, ADMISSION_BINDINGS,
    ADMISSION_POLICIES, CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, NAMESPACES, CRDS,
)  # fmt: skip
_FETCHED: Final = (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS, CRON_JOBS, NAMESPACES, CRDS)


def needed(*, dry_run: bool) -> list[Right]:
    """All rights that it takes, in all namespaces."""
    rights = [*_each("list", _READ), *_each("get", (WEBHOOK_CONFIGURATIONS, *_FETCHED))]
    return rights if dry_run else [*rights, *_each("patch", _PATCHED), *_each("delete", _DELETED)]


def self_review(right: Right) -> dict[str, object]:
    """The SelfSubjectAccessReview that asks whether whoever asks has a right."""
    asked = {"verb": right.verb, "group": right.group, "resource": right.resource}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }


def _each(verb: str, resources: Iterable[Resource]) -> list[Right]:
    return [Right(verb, each.group, each.plural) for each in resources]
