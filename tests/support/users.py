"""People and programs with credentials of their own, and what they are allowed to do."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

from lab import Lab
from tests.support.cluster import JSON, Namespace
from tests.support.waiting import eventually

RBAC = "rbac.authorization.k8s.io"
EDIT_POLICIES: JSON = {"kind": "ClusterRole", "metadata": {"name": "sidecarpolicy-edit"}}
"""The role that we ship for people who write policies."""


@dataclass(frozen=True)
class User:
    """Somebody whom the API server knows by a certificate or a token."""

    lab: Lab
    name: str
    kubeconfig: Path

    def run(self, *args: str, input: str | None = None) -> CompletedProcess[str]:  # noqa: A002
        """A kubectl command, whatever becomes of it."""
        env = {"KUBECONFIG": str(self.kubeconfig)}
        return self.lab.run(["kubectl", *args], input=input, check=False, env=env)

    def may(self, *request: str) -> bool:
        """The API server's answer to `kubectl auth can-i`."""
        return self.run("auth", "can-i", *request).stdout.strip() == "yes"


def person(lab: Lab, name: str) -> User:
    """A user by client certificate, who may do nothing yet."""
    return User(lab, name, lab.add_user(name))


def admin(lab: Lab) -> User:
    """The administrator, who may do everything."""
    return User(lab, "admin", lab.kubeconfig)


def account(lab: Lab, *, namespace: str, name: str, kubeconfig: Path) -> User:
    """A ServiceAccount by token; `kubeconfig` is where its own is written."""
    token = lab.kubectl("create", "token", name, "-n", namespace).strip()
    config = json.loads(lab.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    kubeconfig.write_text(json.dumps(config))
    return User(lab, f"system:serviceaccount:{namespace}:{name}", kubeconfig)


def right(verb: str, resource: str, *names: str) -> JSON:
    """A rule of RBAC; `resource` as in `deployments.apps`, `deployments/scale.apps` or `pods`."""
    plural, _, group = resource.partition(".")
    rule: JSON = {"verbs": [verb], "resources": [plural], "apiGroups": [group]}
    return rule | ({"resourceNames": list(names)} if names else {})


def let_write_policies(space: Namespace, user: User) -> None:
    """Binds the role that we ship, as an administrator does, and waits until it holds."""
    space.apply(_binding("RoleBinding", f"{user.name}-policies", EDIT_POLICIES, user))
    _await(user, [right("create", "sidecarpolicies.sidecarpolicy.dev")], "-n", space.name)


def let_write_cluster_policies(user: User) -> None:
    """The same in all namespaces, and for cluster policies."""
    binding = _binding("ClusterRoleBinding", f"{user.name}-policies", EDIT_POLICIES, user)
    user.lab.kubectl("apply", "-f", "-", input=json.dumps(binding))
    _await(user, [right("create", "clustersidecarpolicies.sidecarpolicy.dev")])


def grant(space: Namespace, user: User, rules: Sequence[JSON]) -> None:
    """Gives the user just these rights in one namespace, and waits until they hold."""
    role = _role("Role", user.name, rules)
    space.apply(role, _binding("RoleBinding", user.name, role, user))
    _await(user, rules, "-n", space.name)


def grant_everywhere(user: User, rules: Sequence[JSON]) -> None:
    """Gives the user just these rights in all namespaces, and waits until they hold."""
    role = _role("ClusterRole", user.name, rules)
    for made in (role, _binding("ClusterRoleBinding", user.name, role, user)):
        user.lab.kubectl("apply", "-f", "-", input=json.dumps(made))
    _await(user, rules, "--all-namespaces")


def dismiss(user: User) -> None:
    """Takes back what the user may do in all namespaces."""
    names = (user.name, f"{user.name}-policies")
    user.lab.kubectl("delete", "--ignore-not-found", "clusterrole", user.name)
    user.lab.kubectl("delete", "--ignore-not-found", "clusterrolebinding", *names)


def _await(user: User, rules: Iterable[JSON], *scope: str) -> None:
    for request in (each for rule in rules for each in _requests(rule)):
        eventually(partial(user.may, *request, *scope))


def _requests(rule: JSON) -> list[tuple[str, ...]]:
    """The rule as questions for `kubectl auth can-i`."""
    (verb,), (path,), (group,) = rule["verbs"], rule["resources"], rule["apiGroups"]
    plural, _, subresource = path.partition("/")
    resource = f"{plural}.{group}" if group else plural
    objects = [f"{resource}/{name}" for name in rule.get("resourceNames", [])] or [resource]
    return [(verb, each, f"--subresource={subresource}") for each in objects]


def _role(kind: str, name: str, rules: Sequence[JSON]) -> JSON:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": kind,
        "metadata": {"name": name},
        "rules": list(rules),
    }


def _binding(kind: str, name: str, role: JSON, user: User) -> JSON:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": kind,
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": role["kind"], **role["metadata"]},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user.name}],
    }
