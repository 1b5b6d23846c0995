"""The kinds of object that we read or write, and their addresses in the API."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from sidecarpolicy.api import names


@dataclass(frozen=True)
class Resource:
    """A kind of object; `group` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str

    def path(self, *, namespace: str | None = None, name: str | None = None) -> str:
        """The URL path of a collection, or of one object where `name` is given."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace is not None:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name is not None:
            parts.append(name)
        # Names may come from a user's annotation: none may reach beyond its segment.
        return "/" + "/".join(quote(part, safe="") for part in parts)


NODES: Final = Resource("", "v1", "nodes", "Node")
EVENTS: Final = Resource("", "v1", "events", "Event")
PODS: Final = Resource("", "v1", "pods", "Pod")
SERVICE_ACCOUNTS: Final = Resource("", "v1", "serviceaccounts", "ServiceAccount")
CLAIMS: Final = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
VOLUMES: Final = Resource("", "v1", "persistentvolumes", "PersistentVolume")
AUTOSCALERS: Final = Resource(
    "autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"
)
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace")
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment")
POLICIES: Final = Resource(names.GROUP, names.VERSION, names.PLURAL, names.KIND)
CLUSTER_POLICIES: Final = Resource(
    names.GROUP, names.VERSION, names.CLUSTER_PLURAL, names.CLUSTER_KIND
)
STATEFUL_SETS: Final = Resource("apps", "v1", "statefulsets", "StatefulSet")
CRON_JOBS: Final = Resource("batch", "v1", "cronjobs", "CronJob")
SECRETS: Final = Resource("", "v1", "secrets", "Secret")
WEBHOOK_CONFIGURATIONS: Final = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "mutatingwebhookconfigurations",
    "MutatingWebhookConfiguration",
)

CRDS: Final = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition"
)
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
ENDPOINT_SLICES: Final = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
ACCESS_REVIEWS: Final = Resource(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview"
)
SELF_ACCESS_REVIEWS: Final = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview"
)
CLUSTER_ROLES: Final = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole")
CLUSTER_ROLE_BINDINGS: Final = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding"
)
ADMISSION_POLICIES: Final = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicies",
    "ValidatingAdmissionPolicy",
)
ADMISSION_BINDINGS: Final = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicybindings",
    "ValidatingAdmissionPolicyBinding",
)

DAEMON_SETS: Final = Resource("apps", "v1", "daemonsets", "DaemonSet")
JOBS: Final = Resource("batch", "v1", "jobs", "Job")
REPLICA_SETS: Final = Resource("apps", "v1", "replicasets", "ReplicaSet")
CONTROLLER_REVISIONS: Final = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")

WORKLOADS: Final = {
    each.kind: each for each in (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS, CRON_JOBS, JOBS)
}
"""Workload resources by the kind that a policy's targets name."""


API_VERSIONS: Final = {
    each.kind: f"{each.group}/{each.version}" if each.group else each.version
    for each in (*WORKLOADS.values(), PODS, POLICIES, CLUSTER_POLICIES)
}
"""The apiVersion of each kind that Events are about."""


def written(path: str) -> str:
    """Which resource the URL path of a request is about, as RBAC names it: without the object."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[0] == "namespaces" and len(parts) > 2:
        parts = parts[2:]
    return "/".join([parts[0], *parts[2:]])


def policies_in(scope: str) -> Resource:
    """The kind of policy that lives in a namespace, or, for the empty scope, in none."""
    return POLICIES if scope else CLUSTER_POLICIES
