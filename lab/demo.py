"""The demo: a mixed cluster, the problem, and the operator solving it; all of it observed.

Every line that it prints as seen was read from the cluster; it ends with an error if
something that it promises does not show. Run it with `make demo`.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from lab import Lab, LabError, Node

ROOT = Path(__file__).resolve().parents[1]
NEW = Node("new", "1.36.3")
OLDER = (Node("old", "1.28.15"), Node("oldest", "1.26.15"))
CAPABILITY = "sidecarpolicy.dev/native-sidecars"
HANG_SECONDS = 10
"""How long a Pod must stay in Init to be shown as hanging; it would do so for ever."""


@dataclass(frozen=True)
class Pod:
    """One row of `kubectl get pods`."""

    name: str
    ready: str
    status: str
    node: str


class Demo:
    """The acts of the demo, on one lab."""

    def __init__(self, lab: Lab, console: Console) -> None:
        self._lab = lab
        self._console = console
        self._shown_pods: set[Pod] = set()

    def run(self) -> None:
        """All acts; the older nodes join later where their kubelets must be built first."""
        warm = self._lab.is_built(*(f"{node.kubelet}/kubelet" for node in OLDER))
        self._start_cluster([NEW, *OLDER] if warm else [NEW])
        self._start_operator()
        if warm:
            self._see_labels([NEW, *OLDER])
            self._problem()
            self._solution()
        else:
            self._see_labels([NEW])
            self._solution()
            self._grow()
            self._problem()
            self._roll_again()
        self._farewell()

    def _start_cluster(self, nodes: list[Node]) -> None:
        self._title("A real cluster on this machine")
        self._lab.down()
        self._lab.up()
        self._say("control plane 1.36.3 is ready")
        for node in nodes:
            self._lab.add_node(node)
            self._say(f"node {node.name} is Ready: kubelet {node.kubelet}")

    def _start_operator(self) -> None:
        self._title("The operator")
        self._shown("kubectl", "apply", "-f", "crds/")
        kubeconfig = str(self._lab.kubeconfig)
        argv = [sys.executable, "-m", "sidecarpolicy", "controller", "--kubeconfig", kubeconfig]
        self._lab.start_process("operator", [*argv, "--listen", "127.0.0.1:8080"])
        self._say(f"runs; its log is {self._lab.layout.logs / 'operator.log'}")

    def _see_labels(self, nodes: list[Node]) -> None:
        wanted = {node.name for node in nodes}
        self._until("every node has its label", lambda: wanted <= self._labels().keys())
        self._shown("kubectl", "get", "nodes", "-L", CAPABILITY)

    def _problem(self) -> None:
        self._title("The problem: a hand-written native sidecar in a mixed cluster")
        self._shown("kubectl", "apply", "-k", "examples/hand-written/lab")
        self._follow("hand-written", "runs on the new kubelet", lambda pod: _runs_on(pod, "new"))
        self._follow(
            "hand-written",
            "kubelet 1.28 refuses the Pod",
            lambda pod: pod.node == "old" and "Forbidden" in pod.status,
        )
        self._follow(
            "hand-written",
            "kubelet 1.26 waits for the sidecar to end, which it never does",
            lambda pod: pod.node == "oldest" and pod.status == "Init:0/1",
            lasting=HANG_SECONDS,
        )
        self._lab.kubectl("delete", "namespace", "hand-written", "--wait=false")

    def _solution(self) -> None:
        self._title("The main job: examples/log-shipper, a policy and a Deployment")
        self._shown("kubectl", "apply", "-k", "examples/log-shipper/lab")
        self._follow("shop", "a Pod with its sidecar runs", lambda pod: _runs_on(pod, "new"))
        self._shown("kubectl", "-n", "shop", "rollout", "status", "deployment/web", "--timeout=90s")
        self._only_on_capable_nodes()
        self._until("the sidecar ships lines", lambda: "shipped: " in self._sidecar_log())
        self._console.print(self._sidecar_log().rstrip(), highlight=False, markup=False)
        self._until("the policy reports the workload as current", self._policy_is_current)
        self._shown("kubectl", "-n", "shop", "get", "sidecarpolicies")

    def _grow(self) -> None:
        self._title("Older nodes join the running cluster as soon as their kubelets are built")
        for node in OLDER:
            self._lab.add_node(node)
            self._say(f"node {node.name} is Ready: kubelet {node.kubelet}")
        self._see_labels([NEW, *OLDER])

    def _roll_again(self) -> None:
        self._title("The Deployment rolls again, now with older nodes about")
        self._shown("kubectl", "-n", "shop", "rollout", "restart", "deployment/web")
        self._shown("kubectl", "-n", "shop", "rollout", "status", "deployment/web", "--timeout=90s")
        self._only_on_capable_nodes()

    def _farewell(self) -> None:
        self._title("Seen. The cluster goes on running")
        self._say("make demo-shell   a shell with kubectl in this cluster")
        self._say("make demo-down    ends and removes all of it")

    def _only_on_capable_nodes(self) -> None:
        running = [pod for pod in self._pods("shop") if pod.status != "Terminating"]
        strays = [pod.name for pod in running if not _runs_on(pod, "new")]
        if strays or not running:
            raise LabError(f"not running on the capable node: {', '.join(strays) or 'no Pod'}")
        self._seen(f"all {len(running)} Pods run, with their sidecar, on the capable node only")

    def _labels(self) -> dict[str, str]:
        nodes = self._json("get", "nodes")["items"]
        labels = {each["metadata"]["name"]: each["metadata"]["labels"] for each in nodes}
        return {name: each[CAPABILITY] for name, each in labels.items() if CAPABILITY in each}

    def _policy_is_current(self) -> bool:
        status = self._json("-n", "shop", "get", "scpol", "log-shipper").get("status", {})
        return bool(status.get("workloads", {}).get("current") == 1)

    def _sidecar_log(self) -> str:
        pod = next(pod for pod in self._pods("shop") if _runs_on(pod, "new"))
        return self._lab.kubectl("-n", "shop", "logs", pod.name, "-c", "shipper", "--tail=3")

    def _pods(self, namespace: str) -> list[Pod]:
        table = self._lab.kubectl("-n", namespace, "get", "pods", "-o", "wide", "--no-headers")
        rows = (line.split() for line in table.splitlines())
        return [Pod(row[0], row[1], row[2], row[-3]) for row in rows]

    def _json(self, *args: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._lab.kubectl(*args, "-o", "json"))
        return found

    def _follow(
        self, namespace: str, what: str, wanted: Callable[[Pod], bool], *, lasting: float = 0
    ) -> None:
        """Prints Pods as they change until one is as wanted, and stays so for `lasting` seconds."""
        since: dict[str, float] = {}

        def look() -> bool:
            pods = self._pods(namespace)
            for pod in pods:
                if pod not in self._shown_pods:
                    self._shown_pods.add(pod)
                    self._say(f"{pod.name}  {pod.ready}  {pod.status}  on {pod.node}")
            now = time.monotonic()
            fitting = {pod.name for pod in pods if wanted(pod)}
            for name in fitting | since.keys():
                since[name] = since.get(name, now) if name in fitting else now
            return any(now - since[name] >= lasting for name in fitting)

        self._until(what, look)

    def _until(self, what: str, look: Callable[[], bool], *, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not look():
            if time.monotonic() > deadline:
                raise LabError(f"not seen within {seconds:.0f} s: {what}")
            time.sleep(0.5)
        self._seen(what)

    def _shown(self, *argv: str) -> None:
        """Runs a command from the project's folder and shows both it and what it says."""
        self._console.print(f"$ {' '.join(argv)}", style="dim", highlight=False, markup=False)
        inside = ["env", "-C", str(ROOT), *argv]
        self._console.print(self._lab.run(inside).stdout.rstrip(), highlight=False, markup=False)

    def _title(self, text: str) -> None:
        self._console.print(f"\n== {text}", style="bold", highlight=False, markup=False)

    def _say(self, text: str) -> None:
        self._console.print(f"   {text}", highlight=False, markup=False)

    def _seen(self, text: str) -> None:
        self._console.print(f" ✓ {text}", style="green", highlight=False, markup=False)


def _runs_on(pod: Pod, node: str) -> bool:
    """Whether the Pod runs there with all its containers, the sidecar among them."""
    return (pod.node, pod.status, pod.ready) == (node, "Running", "2/2")


def main() -> int:
    """Exit code 0 only if everything was seen."""
    console = Console(soft_wrap=True)
    try:
        Demo(Lab("demo"), console).run()
    except LabError as error:
        console.print(f"demo: {error}", style="red", highlight=False, markup=False)
        console.print("look around with `make demo-shell`, clean up with `make demo-down`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
