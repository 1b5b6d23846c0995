"""Policies that adopt the container `proxy`, and Pods as they are before and after that."""

from typing import Any

from tests.support.admission import EVERY_KIND, dry_run
from tests.support.cluster import JSON, Namespace, policy
from tests.support.waiting import eventually

ADOPTED = (["proxy"], ["web"])
"""Names of the init containers and of the ordinary ones; see `shape`."""
AS_WRITTEN: tuple[list[str], list[str]] = ([], ["proxy", "web"])


def adopting(name: str = "proxy", **spec: Any) -> JSON:
    return policy(
        name, **{"targets": EVERY_KIND, "sidecars": [], "adopt": [{"container": "proxy"}], **spec}
    )


def shape(made: JSON) -> tuple[list[str], list[str]]:
    """Names of a Pod's init containers and of its ordinary ones."""
    init, regular = (made["spec"].get(each, []) for each in ("initContainers", "containers"))
    return [each["name"] for each in init], [each["name"] for each in regular]


def known(space: Namespace, made: JSON, *, replicas: int = 1) -> None:
    """Applies a policy, and waits until the webhook knows it; of several, any may answer."""
    space.apply(made)
    containers = [{"name": name, "image": "lab.local/busybox:1"} for name in ("proxy", "web")]
    probe = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}}

    def answers() -> list[bool]:
        asked = range(3 * replicas)
        pods = (dry_run(space, {**probe, "spec": {"containers": containers}}) for _ in asked)
        return [shape(each) == ADOPTED for each in pods]

    eventually(answers, until=all)
