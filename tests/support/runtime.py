"""Processes of one Pod, as its node's container runtime knows them, and how they are killed."""

from lab import Lab, process
from tests.support.cluster import JSON


class Runtime:
    """The containerd of a real node of a lab."""

    def __init__(self, lab: Lab, node: str) -> None:
        place = lab.layout.node(node)
        ctr = lab.layout.bin / "ctr"
        self._lab = lab
        self._ctr = (str(ctr), "--address", str(place.socket), "--namespace", "k8s.io")

    def kill_sandbox(self, pod: JSON) -> None:
        """Kills the process that holds the Pod's namespaces, as a fault would."""
        self._kill(pod, kind="sandbox")

    def kill_container(self, pod: JSON, name: str) -> None:
        """Kills the first process of a container; from inside nobody could."""
        self._kill(pod, kind="container", more=f',labels."io.kubernetes.container.name"=={name}')

    def _kill(self, pod: JSON, *, kind: str, more: str = "") -> None:
        uid = pod["metadata"]["uid"]
        which = f'labels."io.kubernetes.pod.uid"=={uid},labels."io.cri-containerd.kind"=={kind}'
        known = self._said("containers", "ls", "--quiet", f"{which}{more}").split()
        pids = self._pids()
        (pid,) = (pids[each] for each in known if each in pids)
        begun = process.start_time(pid)
        assert begun is not None, f"the {kind} ended by itself"
        process.send_kill(pid, begun)

    def _pids(self) -> dict[str, int]:
        """The first process of every container that runs."""
        lines = (line.split() for line in self._said("tasks", "ls").splitlines()[1:])
        return {name: int(pid) for name, pid, state in lines if state == "RUNNING"}

    def _said(self, *arguments: str) -> str:
        return self._lab.run([*self._ctr, *arguments]).stdout
