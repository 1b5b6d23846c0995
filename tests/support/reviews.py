"""Reviews without a cluster: what the webhook knows, what it is asked, what is stored then."""

from typing import Any

import jsonpatch

from sidecarpolicy.core.admission import admit
from sidecarpolicy.core.facts import namespace_facts, node_facts, policy_facts
from sidecarpolicy.core.selection import Exclusions
from sidecarpolicy.webhook.memory import Memory

JSON = dict[str, Any]


def memory(*policies: JSON, **namespace: Any) -> Memory:
    """Knows a namespace, these policies, and nodes that run native sidecars, ignore their field and
    refuse it; the API server is of a version that keeps it.
    """
    made = Memory(Exclusions("sidecarpolicy-system"))
    made.judge_by("v1.36.3")
    meta = {"name": "shop", "uid": "u", **namespace}
    made.namespaces.replace([namespace_facts({"metadata": meta})])
    made.nodes.replace(
        node_facts(
            {
                "metadata": {"name": name, "uid": name},
                "status": {"nodeInfo": {"kubeletVersion": version}},
            }
        )
        for name, version in (("new", "v1.36.3"), ("old", "v1.26.15"), ("refusing", "v1.28.15"))
    )
    made.policies.replace(policy_facts(each) for each in policies)
    return made


def request(obj: JSON, *, kind: str, old: JSON | None = None, namespace: str = "shop") -> JSON:
    return {
        "kind": {"kind": kind},
        "operation": "UPDATE" if old else "CREATE",
        "namespace": namespace,
        "name": obj["metadata"].get("name", ""),
        "object": obj,
        "oldObject": old,
    }


def admitted(obj: JSON, view: Memory, *, kind: str, old: JSON | None = None) -> JSON:
    """The object as it would be stored."""
    answer = admit(request(obj, kind=kind, old=old), view)
    result: JSON = jsonpatch.apply_patch(obj, answer.patch)
    return result
