"""What tests read from Pods and their statuses."""

from datetime import datetime

from tests.support.cluster import JSON, Namespace


def running(space: Namespace) -> list[JSON]:
    """Pods that are there to stay."""
    return [pod for pod in space.all("pod") if "deletionTimestamp" not in pod["metadata"]]


def both(pod: JSON) -> list[JSON]:
    """Statuses of init and ordinary containers."""
    return [*pod["status"]["initContainerStatuses"], *pod["status"]["containerStatuses"]]


def moment(text: str) -> float:
    """A timestamp in seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def starts_of(pod: JSON) -> dict[str, float]:
    """When each container was started; its state has one key, running or terminated."""
    return {
        each["name"]: moment(state["startedAt"])
        for each in both(pod)
        for state in each["state"].values()
    }


def ends_of(space: Namespace, pod: str) -> dict[str, JSON]:
    """How each container ended that did."""
    states = {each["name"]: each["state"] for each in both(space.get("pod", pod))}
    return {name: each["terminated"] for name, each in states.items() if "terminated" in each}


def keep(space: Namespace, pod: str) -> None:
    """Lets a deleted Pod stay until `release`, so that its end can be read."""
    patch = '{"metadata":{"finalizers":["test.example/keep"]}}'
    space.kubectl("patch", "pod", pod, "-p", patch)


def release(space: Namespace, pod: str) -> None:
    """Undoes `keep`."""
    space.kubectl("patch", "pod", pod, "-p", '{"metadata":{"finalizers":null}}')
