"""Builds a Dockerfile without Docker and without a registry, on a Debian base made here.

The base is tagged `lab.local/python:3.11`; a Dockerfile takes it as a build argument. buildah
keeps its storage in the cache directory, apart from what else the machine uses it for.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.build import file_lock
from lab.errors import LabError

BASE_IMAGE = "lab.local/python:3.11"
_SUITE = "bookworm"  # the Debian release that has this Python
_PACKAGES = "python3,python3-venv,ca-certificates"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_TAIL = 20


@dataclass(frozen=True)
class Builder:
    """A cache directory's image storage."""

    home: Path

    def buildah(self, *arguments: str) -> str:
        """Runs a buildah command; returns its output."""
        # vfs and chroot need no further privileges, leave no mount, and run inside a container.
        places = (f"--root={self.home}/storage", f"--runroot={self.home}/run")
        environ = os.environ | {"BUILDAH_ISOLATION": "chroot"}
        return _run(("buildah", "--storage-driver=vfs", *places, *arguments), environ)

    def has(self, tag: str) -> bool:
        """Whether the storage holds an image of this tag."""
        names = self.buildah("images", "--format", "{{.Name}}:{{.Tag}}").splitlines()
        return tag in names

    def ensure_base(self) -> None:
        """Makes the base image if it is not there; takes about a minute."""
        if self.has(BASE_IMAGE):
            return
        print(f"making {BASE_IMAGE} with debootstrap, once: about a minute", file=sys.stderr)
        root = self.home / "rootfs"
        shutil.rmtree(root, ignore_errors=True)
        options = ("--variant=minbase", f"--include={_PACKAGES}")
        _run(("debootstrap", *options, _SUITE, str(root)), dict(os.environ))
        for directory in ("var/cache/apt", "var/lib/apt/lists", "var/log"):
            shutil.rmtree(root / directory, ignore_errors=True)
            (root / directory).mkdir()
        container = self.buildah("from", "scratch").strip()
        try:
            self.buildah("add", container, str(root), "/")
            self.buildah("config", "--cmd", "python3", container)
            self.buildah("commit", container, BASE_IMAGE)
        finally:
            self.buildah("rm", container)
        shutil.rmtree(root)

    def _build_volumes(self) -> list[str]:
        """The machine's certificates, while it builds: they do not become part of it."""
        if not _CERTIFICATES.is_file():
            return []
        return [f"--volume={_CERTIFICATES}:{_CERTIFICATES}:ro"]

    def build(self, context: Path, tag: str, build_args: Mapping[str, str]) -> Path:
        """Builds and exports; the image itself does not stay in the storage."""
        arguments = [f"--build-arg={key}={value}" for key, value in build_args.items()]
        options = ["--pull-never", "--network=host", f"--tag={tag}", *self._build_volumes()]
        tar = self.home / f"{tag.replace('/', '_').replace(':', '_')}.tar"
        temporary = tar.with_suffix(".new")
        temporary.unlink(missing_ok=True)  # buildah would refuse to change an archive
        self.buildah("bud", *options, *arguments, str(context))
        try:
            self.buildah("push", tag, f"docker-archive:{temporary}:{tag}")
        finally:
            self.buildah("rmi", "--force", tag)
        return temporary.replace(tar)


def _run(command: Sequence[str], environ: Mapping[str, str]) -> str:
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).splitlines()[-_TAIL:]
        failure = f"`{' '.join(command)}` failed with {done.returncode}"
        raise LabError(failure, "\n".join(said))
    return done.stdout


def build(cache: Path, context: Path, tag: str, build_args: Mapping[str, str]) -> Path:
    """Builds the Dockerfile in `context`; returns the image as a tar."""
    if not any((context / name).is_file() for name in ("Dockerfile", "Containerfile")):
        raise LabError(f"no Dockerfile in {context}")
    home = cache / "images"
    with file_lock(cache / "images.lock"):
        home.mkdir(parents=True, exist_ok=True)
        builder = Builder(home)
        builder.ensure_base()
        return builder.build(context, tag, build_args)
