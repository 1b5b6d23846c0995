"""A sidecar in mode Universal that shows when it serves, and applications that ask it.

Each run that serves takes the Pod's port, of which there is one, has a file of its own on a volume
that all containers share, in which it renews its last sign of life, and says something when it
ends; so does no copy that leaves serving to the other.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

from lab import Node
from tests.support.cluster import JSON, Namespace, deployment, policy
from tests.support.pods import both, running
from tests.support.waiting import eventually

IMAGE = "lab.local/busybox:1"
MIDDLE = Node("middle", "1.31.0")
NATIVE = ("new", "middle")
"""Nodes that run native sidecars."""
SERVING = {"new": "shipper", "middle": "shipper", "oldest": "shipper-ordinary"}
"""Which copy serves, by node."""
_BEAT_SECONDS = 0.5

_SERVE = f"""
trap 'date +%s > /dev/termination-log; exit 0' TERM
echo served > /dev/termination-log
read begun _ < /proc/uptime
mkdir -p /tmp/www && echo up > /tmp/www/index.html
httpd -p 8080 -h /tmp/www || {{ echo two > /dev/termination-log; exit 9; }}
echo serving
until [ -e /state/done ]; do
  read now _ < /proc/uptime
  echo "$now" > "/state/run-$begun"
  sleep {_BEAT_SECONDS} & wait $!
done
"""
ASK = "until wget -q -O /dev/null http://127.0.0.1:8080/; do sleep 0.5; done"
"""What an application does first: it needs the sidecar."""


@dataclass(frozen=True)
class Run:
    """One run of a process that served: first and last sign of life, in seconds since boot."""

    begun: float
    last: float


def universal(name: str = "shipper", **spec: Any) -> JSON:
    """The policy; its sidecar ends by itself once there is a file /state/done."""
    sidecar = {
        "name": name,
        "image": IMAGE,
        "command": ["sh", "-c", _SERVE],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        "volumeMounts": [{"name": "state", "mountPath": "/state"}],
    }
    return policy(
        mode="Universal",
        universal={"image": IMAGE},
        sidecars=[sidecar],
        volumes=[{"name": "state", "emptyDir": {}}],
        appContainers={"volumeMounts": [{"name": "state", "mountPath": "/state"}]},
        **spec,
    )


def on(node: str, **pod: Any) -> JSON:
    """A Pod spec for one node."""
    return {"nodeSelector": {"kubernetes.io/hostname": node}, **pod}


def web(purpose: str, node: str, container: JSON) -> JSON:
    """A Deployment of one Pod on a node."""
    name = f"{purpose}-{node}"
    return deployment(name, replicas=1, pod=on(node, containers=[container]))


def job(name: str, node: str, script: str, *, restart: str = "Never", pods: int = 1) -> JSON:
    """A Job on a node, whose application asks the sidecar first."""
    app = {"name": "app", "image": IMAGE, "command": ["sh", "-c", f"{ASK}; {script}"]}
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": on(node, containers=[app], restartPolicy=restart),
    }
    # The restart that tells a native node counts as a failure, where failures restart.
    spec = {"completions": pods, "parallelism": min(pods, 2), "backoffLimit": 6}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {**spec, "template": template},
    }


def served(pod: JSON) -> dict[str, list[str]]:
    """What the runs of each container said that have ended, if they said anything."""
    status = pod["status"]
    containers = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    said = {
        each["name"]: [
            run["terminated"]["message"]
            for run in (each.get("lastState") or {}, each.get("state") or {})
            if (run.get("terminated") or {}).get("message")
        ]
        for each in containers
    }
    return {name: messages for name, messages in said.items() if messages}


def runs(space: Namespace, pod: str, container: str = "web") -> list[Run]:
    """All runs that served so far, in their order."""
    script = 'cd /state && for each in run-*; do echo "$each" "$(cat "$each")"; done'
    output = space.kubectl("exec", pod, "-c", container, "--", "sh", "-c", script)
    found = (_run(*line.partition(" ")[::2]) for line in output.splitlines())
    return sorted(found, key=lambda run: run.begun)


def _run(file: str, last: str) -> Run:
    """What a file says; a run that was killed while it wrote has no more than its name."""
    begun = file.removeprefix("run-")
    return Run(float(begun), float(last or begun))


def overlapping(found: list[Run]) -> list[tuple[Run, Run]]:
    """Runs that began before another had shown its last sign of life."""
    return [(a, b) for a, b in combinations(found, 2) if b.begun < a.last]


def ready_pod(space: Namespace, app: str, *, seconds: float = 90) -> JSON:
    """The Pod of a Deployment, once all its containers are ready."""

    def found() -> JSON | None:
        pods = [pod for pod in running(space) if pod["metadata"]["labels"]["app"] == app]
        return next((pod for pod in pods if is_ready(pod)), None)

    pod = eventually(found, seconds=seconds)
    assert pod is not None
    return pod


def is_ready(pod: JSON) -> bool:
    """Whether all containers of a Pod are."""
    conditions = pod["status"].get("conditions", ())
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)


def restarts(pod: JSON) -> dict[str, int]:
    """How often each container was started again."""
    return {each["name"]: each["restartCount"] for each in both(pod)}


def serving(space: Namespace, pod: JSON) -> set[str]:
    """The containers that ever said that they serve."""
    name = pod["metadata"]["name"]
    logs = {
        each: space.kubectl("logs", name, "-c", each) for each in ("shipper", "shipper-ordinary")
    }
    return {each for each, log in logs.items() if "serving" in log.splitlines()}


def complete(space: Namespace, name: str) -> bool:
    """Whether a Job is."""
    conditions = space.get("job", name).get("status", {}).get("conditions", ())
    return any((each["type"], each["status"]) == ("Complete", "True") for each in conditions)
