"""What can be built: one target for each tool that a go.mod below `lab/modules` names.

Pure but for reading those files. The go.mod files are the only list of versions: a new version is
a new module directory and no change of code.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.layout import TOOLS_VERSION

MODULES = Path(__file__).parent / "modules"
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_COMMON = ("etcd", "containerd", "containerd-shim-runc-v2", "ctr", f"{TOOLS_VERSION}/kubectl")
_MODULE_FILES = ("go.mod", "go.sum")
_TAGS = {"containerd": "no_btrfs no_zfs no_devmapper"}


@dataclass(frozen=True)
class Target:
    """One binary: its place below `bin/` and how Go makes it."""

    name: str
    module: Path
    package: str
    tags: str
    ldflags: str

    def command(self, go: str, output: Path) -> list[str]:
        """The build command, to be run in the module's directory."""
        flags = ["-trimpath", "-mod=readonly", "-buildvcs=false", f"-tags={self.tags}"]
        return [go, "build", *flags, f"-ldflags={self.ldflags}", "-o", str(output), self.package]

    def stamp(self) -> str:
        """Changes whenever the binary has to be built again."""
        digest = hashlib.sha256(json.dumps(self.command("go", Path())).encode())
        for file in (*_MODULE_FILES, *sorted(each.name for each in self.module.glob("*.go"))):
            digest.update((self.module / file).read_bytes())
        return digest.hexdigest()


def _tools(module: Path) -> list[str]:
    text = (module / "go.mod").read_text()
    blocks = re.findall(r"^tool (?:\(\n(.*?)^\)|(\S+)$)", text, re.MULTILINE | re.DOTALL)
    return [package for block, single in blocks for package in (single or block).split()]


def _ldflags(version: str) -> str:
    if not version:
        return "-s -w"
    # Without these the binaries call themselves v0.0.0-master; -checklinkname=0 because older
    # versions reach into the standard library in a way that newer linkers refuse.
    package, minor = "k8s.io/component-base/version", version.split(".")[1]
    values = {"gitVersion": f"v{version}", "gitMajor": "1", "gitMinor": minor}
    defines = [f"-X {package}.{key}={value}" for key, value in values.items()]
    return " ".join(["-s -w -checklinkname=0", *defines])


def _target(module: Path, package: str) -> Target:
    kind, _, version = module.name.partition("-")
    name = re.sub(r"(/server)?/v\d+$", "", package).rsplit("/", 1)[-1]
    if version:
        name = f"{version}/{name}"
    return Target(name, module, package, _TAGS.get(kind, ""), _ldflags(version))


def all_targets(modules: Path = MODULES) -> dict[str, Target]:
    """Every target by name, such as `etcd` or `1.36.3/kubelet`."""
    found = [_target(m, package) for m in sorted(modules.iterdir()) for package in _tools(m)]
    return {target.name: target for target in found}


def select(names: tuple[str, ...], modules: Path = MODULES) -> list[Target]:
    """The named targets, in order and once each; an unknown one is an error that lists the rest."""
    known = all_targets(modules)
    for name in names:
        if name not in known:
            raise LabError(f"no build target {name}; there are {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)]


def for_control_plane(version: str) -> tuple[str, ...]:
    """Names of what a cluster of this version needs before its first node."""
    return (*_COMMON, *(f"{version}/{program}" for program in CONTROL_PLANE))


def for_node(version: str) -> tuple[str, ...]:
    """Names of what a node of this version needs beyond the control plane."""
    return (f"{version}/kubelet",)
