"""What an author asks of the API server, and what it says."""

import json
from collections.abc import Sequence

from tests.support.cluster import JSON, ROOT, Namespace
from tests.support.users import User, right

BASE = ROOT / "deploy" / "base"
INSTALLED = tuple(f"--filename={BASE / name}.yaml" for name in ("namespace", "rbac", "authors"))
"""What of the installation concerns authors: namespace and roles, and the admission policy."""

POLICY = "sidecarpolicy-authors"
RESOURCES = {
    "Deployment": "deployments.apps",
    "StatefulSet": "statefulsets.apps",
    "DaemonSet": "daemonsets.apps",
    "CronJob": "cronjobs.batch",
    "Job": "jobs.batch",
    "Pod": "pods",
}
"""The resource of each kind that a policy can target; all but Pods are targets by default."""

DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS, CRON_JOBS, JOBS = WORKLOADS = [
    right("patch", resource) for kind, resource in RESOURCES.items() if kind != "Pod"
]
PODS = right("create", "pods")


def targets(*words: str) -> list[JSON]:
    """`Deployment` is a whole kind, `Deployment/web` one object."""
    pairs = (word.partition("/") for word in words)
    return [{"kind": kind} | ({"name": name} if name else {}) for kind, _, name in pairs]


def said(user: User, space: Namespace | None, *command: str, obj: JSON | None = None) -> str:
    """What kubectl writes to stderr; empty if the API server does as it is told."""
    scope = () if space is None else ("-n", space.name)
    return user.run(*scope, *command, input=json.dumps(obj)).stderr.strip()


def refusal(user: User, space: Namespace | None, obj: JSON) -> str:
    """Why the user may not create the object; a dry run."""
    return said(user, space, "create", "--dry-run=server", "-f", "-", obj=obj)


def may_not(user: User, space: Namespace | None, request: str) -> str:
    """The end of a refusal for lack of a right to patch, such as `patch deployments`."""
    where = "all namespaces" if space is None else f"namespace {space.name}"
    return (
        f"denied request: {user.name} may not {request} in {where}, which this policy would "
        "change; ask for that right, or narrow spec.targets"
    )


def create(user: User, space: Namespace | None, obj: JSON) -> str:
    """Creates the object; empty, or why it was refused."""
    return said(user, space, "create", "-f", "-", obj=obj)


def patch(resource: str, name: str, changes: JSON) -> Sequence[str]:
    """The command that merges changes into an object."""
    return ("patch", resource, name, "--type=merge", "-p", json.dumps(changes))
