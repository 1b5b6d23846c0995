"""Images without a registry: one made by hand for every node, others imported from tar files."""

import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
from pathlib import Path

from lab.errors import LabError
from lab.layout import Layout, NodeLayout

BUSYBOX_IMAGE = "lab.local/busybox:1"
SANDBOX_IMAGE = "lab.local/pause:1"
_PASSWD = b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
_GROUP = b"root:x:0:\nnogroup:x:65534:\n"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def _entry(name: str, kind: bytes, mode: int, *, size: int = 0, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.size, entry.linkname = kind, mode, size, link
    return entry


def _add_file(tar: tarfile.TarFile, name: str, data: bytes, *, mode: int = 0o644) -> None:
    tar.addfile(_entry(name, tarfile.REGTYPE, mode, size=len(data)), io.BytesIO(data))


def _layer(busybox: Path, applets: list[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)):
            tar.addfile(_entry(name, tarfile.DIRTYPE, mode))
        _add_file(tar, "bin/busybox", busybox.read_bytes(), mode=0o755)
        for applet in applets:
            if applet != "busybox":
                link = _entry(f"bin/{applet}", tarfile.SYMTYPE, 0o777, link="busybox")
                tar.addfile(link)
        _add_file(tar, "etc/passwd", _PASSWD)
        _add_file(tar, "etc/group", _GROUP)
    return buffer.getvalue()


def write_busybox_image(path: Path) -> None:
    """Writes the image, under its own name and as the sandbox of every Pod, as one tar."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise LabError("lab needs busybox-static; install it and try again")
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    layer = _layer(Path(busybox), listed.stdout.split())
    machine = platform.machine()
    config = {
        "architecture": _ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sleep", "infinity"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    tags = [BUSYBOX_IMAGE, SANDBOX_IMAGE]
    manifest = [{"Config": "config.json", "RepoTags": tags, "Layers": ["layer.tar"]}]
    with tarfile.open(path, mode="w") as tar:
        _add_file(tar, "manifest.json", json.dumps(manifest).encode())
        _add_file(tar, "config.json", json.dumps(config).encode())
        _add_file(tar, "layer.tar", layer)


def remember(layout: Layout, tar: Path) -> Path:
    """Keeps a copy, so that a later node can have the image even if the tar is gone."""
    if not tar.is_file():
        raise LabError(f"no image file {tar}")
    with tar.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    kept = layout.images / f"{digest}.tar"
    if not kept.exists():
        temporary = kept.with_suffix(".new")
        shutil.copyfile(tar, temporary)
        temporary.replace(kept)
    return kept


def remembered(layout: Layout) -> list[Path]:
    """Every image a node has to have, oldest first: a newer one may carry the same name."""
    return sorted(layout.images.glob("*.tar"), key=lambda path: path.stat().st_mtime_ns)


def import_image(layout: Layout, place: NodeLayout, tar: Path) -> None:
    """Imports it into the node's containerd, in the namespace the kubelet looks at."""
    ctr = (str(layout.bin / "ctr"), "--address", str(place.socket), "--namespace", "k8s.io")
    command = (*ctr, "images", "import", "--local=false", str(tar))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise LabError(f"importing {tar.name} into {place.name} failed: {reason}")
