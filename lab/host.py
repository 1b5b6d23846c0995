"""What the machine itself must offer: Linux, root, and a few programs of the distribution."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

_CNI_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))


@dataclass(frozen=True)
class Need:
    """A program and the Debian package that brings it."""

    program: str
    package: str

    def met(self) -> bool:
        """Whether the program is there, and of the right kind."""
        if self.program == "ptp":
            return cni_directory() is not None
        path = shutil.which(self.program)
        return path is not None and (self.program != "busybox" or _is_static(Path(path)))


RUN = (
    Need("ip", "iproute2"),
    Need("nsenter", "util-linux"),
    Need("runc", "runc"),
    Need("ptp", "containernetworking-plugins"),
    Need("busybox", "busybox-static"),
)
IMAGES = (Need("debootstrap", "debootstrap"), Need("buildah", "buildah"))


def cni_directory() -> Path | None:
    """Where the CNI plugins lie, if they do."""
    found = (directory for directory in _CNI_DIRECTORIES if (directory / "ptp").is_file())
    return next(found, None)


def _is_static(path: Path) -> bool:
    # In an image without libraries only a static busybox runs; a dynamic one names its loader.
    return b"/ld-linux" not in path.read_bytes()


def check() -> None:
    """Refuses a machine on which no lab can run."""
    if not sys.platform.startswith("linux"):
        raise LabError("lab needs Linux: it runs real kubelets and containers")
    if os.geteuid() != 0:
        raise LabError("lab needs root: it makes namespaces, mounts and cgroups; use sudo")


def _apt_get(*arguments: str) -> None:
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=120", *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise LabError(f"`{' '.join(command)}` failed: {reason}")


def ensure(needs: Sequence[Need]) -> None:
    """Installs the packages of missing programs, where apt-get can."""
    check()
    packages = [need.package for need in needs if not need.met()]
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise LabError(f"lab needs {', '.join(packages)}; install them and try again")
    print(f"installing {' '.join(packages)}", file=sys.stderr)
    _apt_get("update")
    _apt_get("install", "-y", "--no-install-recommends", *packages)
    missing = [need.program for need in needs if not need.met()]
    if missing:
        raise LabError(f"lab needs {', '.join(missing)}; install them and try again")
