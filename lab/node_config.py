"""What containerd, CNI and the kubelet of a node read, by kubelet version.

Pure but for `write_all`.
"""

import json
from dataclasses import dataclass
from typing import Any

from lab import host, namespace
from lab.errors import LabError
from lab.images import SANDBOX_IMAGE
from lab.layout import Layout, NodeLayout


@dataclass(frozen=True)
class Machine:
    """What tells one node from another beyond its name."""

    kubelet: str
    index: int

    @property
    def minor(self) -> int:
        """The 31 of 1.31.0."""
        return int(self.kubelet.split(".")[1])


def cni(place: NodeLayout, machine: Machine) -> dict[str, Any]:
    """A cable from each Pod to the lab's namespace, which is the router between all of them."""
    address_management = {
        "type": "host-local",
        "ranges": [[{"subnet": namespace.pod_subnet(machine.index)}]],
        "routes": [{"dst": "0.0.0.0/0"}],  # else a Pod reaches no Service address
    }
    plugin = {"type": "ptp", "ipMasq": False, "ipam": address_management}
    return {"cniVersion": "0.4.0", "name": "lab", "plugins": [plugin]}


def containerd(place: NodeLayout, cni_plugins: str) -> str:
    """Its configuration; JSON strings are TOML strings."""
    quoted = {
        name: json.dumps(str(place.root / path))
        for name, path in {
            "root": "containerd",
            "state": "containerd-state",
            "opt": "opt",
            "cni": "cni",
        }.items()
    }
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE runc fails on a lower one ("can't get final
    # child's PID from pipe: EOF").
    return f"""version = 3
root = {quoted["root"]}
state = {quoted["state"]}
[grpc]
  address = {json.dumps(str(place.socket))}
[plugins."io.containerd.internal.v1.opt"]
  path = {quoted["opt"]}
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = {json.dumps(SANDBOX_IMAGE)}
[plugins."io.containerd.cri.v1.runtime"]
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [{json.dumps(cni_plugins)}]
    conf_dir = {quoted["cni"]}
"""


def kubelet(layout: Layout, place: NodeLayout, machine: Machine) -> dict[str, Any]:
    """A KubeletConfiguration that this version accepts and that runs on a shared machine."""
    address, keys = namespace.node_address(machine.index), layout.pki
    config: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "healthzBindAddress": address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{keys}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{keys}/node-{place.name}.crt",
        "tlsPrivateKeyFile": f"{keys}/node-{place.name}.key",
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,  # then it needs no right to arrange the machine's own cgroups
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "resolvConf": "",
        # A kubelet with it refuses to start where it cannot measure the root file system, as on an
        # overlay. Without it, its log tells every ten seconds that it found no disk: no harm.
        "localStorageCapacityIsolation": False,
        "volumePluginDir": str(place.root / "volume-plugins"),
        # The machine's disk may be nearly full; that is no matter of this node.
        "evictionHard": {
            "memory.available": "1Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        "syncFrequency": "5s",
    }
    if machine.minor >= 27:
        config["containerRuntimeEndpoint"] = f"unix://{place.socket}"
    if machine.minor >= 35:
        config["failCgroupV1"] = False
    return config


def kubelet_flags(place: NodeLayout, machine: Machine) -> tuple[str, ...]:
    """What this version takes only as a flag."""
    flags = (
        f"--config={place.root}/kubelet.json",
        f"--hostname-override={place.name}",
        f"--node-ip={namespace.node_address(machine.index)}",
        f"--root-dir={place.root}/kubelet",
        f"--cert-dir={place.root}/kubelet/pki",
    )
    if machine.minor < 27:  # the field came with 1.27, together with the flag's deprecation
        return (*flags, f"--container-runtime-endpoint=unix://{place.socket}")
    return flags


def write_all(layout: Layout, place: NodeLayout, machine: Machine) -> None:
    """Writes the three of them into the node's directory."""
    plugins = host.cni_directory()
    if plugins is None:
        raise LabError("lab needs containernetworking-plugins; install it and try again")
    (place.root / "cni" / "10-lab.conflist").write_text(json.dumps(cni(place, machine)))
    (place.root / "containerd.toml").write_text(containerd(place, str(plugins)))
    (place.root / "kubelet.json").write_text(json.dumps(kubelet(layout, place, machine), indent=1))
