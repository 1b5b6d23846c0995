"""Names and places of one lab: where its state lies and what its namespace and cgroups are called.

Pure but for `Layout.of`, which reads two variables of the given environment. Two labs of different
names share nothing but the cache of binaries and base images.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

STATE_VARIABLE = "SIDECARPOLICY_LAB_STATE"
CACHE_VARIABLE = "SIDECARPOLICY_LAB_CACHE"
TOOLS_VERSION = "1.36.3"  # the lab's own kubectl, whatever the version of the API server
_LAB_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_NODE_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_SOCKET_LIMIT = 107  # sockaddr_un.sun_path without its final zero


@dataclass(frozen=True)
class NodeLayout:
    """Everything of one node; all its files lie below `root`."""

    name: str
    root: Path

    @property
    def record(self) -> Path:
        """What the node was asked to be."""
        return self.root / "node.json"

    @property
    def socket(self) -> Path:
        """Where containerd listens."""
        return self.root / "containerd.sock"

    @property
    def containerd(self) -> str:
        """The name of its containerd process."""
        return f"{self.name}-containerd"

    @property
    def kubelet(self) -> str:
        """The name of its kubelet process."""
        return f"{self.name}-kubelet"

    @property
    def containerd_state(self) -> Path:
        """Where its containerd keeps what concerns running containers."""
        return self.root / "containerd-state"


@dataclass(frozen=True)
class Layout:
    """Everything of one lab; all its files lie below `state`."""

    name: str
    state: Path
    cache: Path

    @classmethod
    def of(cls, name: str, environ: Mapping[str, str]) -> "Layout":
        """The layout of the lab `name`, refused if the name could not name a namespace."""
        if not _LAB_NAME.fullmatch(name):
            raise LabError(f"a lab's name has up to 32 of a-z, 0-9 and '-': {name!r}")
        root = Path(environ.get(STATE_VARIABLE) or "/var/lib/sidecarpolicy-lab").absolute()
        cache = environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "sidecarpolicy-lab"
        return cls(name, root / name, Path(cache).absolute())

    @property
    def bin(self) -> Path:
        """The built binaries."""
        return self.cache / "bin"

    @property
    def logs(self) -> Path:
        """Output of every daemon."""
        return self.state / "log"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.state / "pki"

    @property
    def processes(self) -> Path:
        """One record for each daemon."""
        return self.state / "processes"

    @property
    def nodes(self) -> Path:
        """One directory for each real node."""
        return self.state / "nodes"

    @property
    def images(self) -> Path:
        """Tars that every node has to have."""
        return self.state / "images"

    @property
    def cluster(self) -> Path:
        """Which version and flags this lab was started with."""
        return self.state / "cluster.json"

    @property
    def audit_log(self) -> Path:
        """One event a line for every write."""
        return self.logs / "audit.json"

    @property
    def audit_policy(self) -> Path:
        """What the API server writes there."""
        return self.state / "audit-policy.yaml"

    @property
    def kubectl(self) -> Path:
        """The lab's own kubectl."""
        return self.bin / TOOLS_VERSION / "kubectl"

    @property
    def namespace(self) -> str:
        """The network namespace."""
        return f"sidecarpolicy-{self.name}"

    @property
    def namespace_path(self) -> Path:
        """The file that keeps it."""
        return Path("/run/netns") / self.namespace

    def kubeconfig(self, user: str) -> Path:
        """How this identity reaches the API server."""
        return self.state / f"{user}.kubeconfig"

    def node(self, name: str) -> NodeLayout:
        """The layout of a node; refused if its name or its socket's path is not possible."""
        if not _NODE_NAME.fullmatch(name) or ".." in name:
            raise LabError(f"a node's name has up to 63 of a-z, 0-9, '-' and '.': {name!r}")
        node = NodeLayout(name, self.nodes / name)
        if len(f"{node.socket}.ttrpc") > _SOCKET_LIMIT:
            raise LabError(f"{node.socket} is too long for a socket; choose a shorter state path")
        return node
