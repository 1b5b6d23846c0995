"""Writers of manifests: what `kubectl` and Flux do again and again with a directory of a Git
repository, each in its own way, and what they say about it.
"""

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lab import Lab
from tests.support.goprograms import go_program

JSON = dict[str, Any]
FLUX = "flux"
_EVERY_SECONDS = 2.0
_KUBECTL: Mapping[str, tuple[str, ...]] = {
    "client-side-apply": ("apply",),
    "server-side-apply": ("apply", "--server-side", "--field-manager=argocd-controller"),
    "replace": ("replace",),
}
_FAILURES = ("error: ", "Error from server", "The Deployment ")
"""How lines of kubectl begin that say what went wrong; more may follow."""
WRITERS = (*_KUBECTL, FLUX)


@dataclass
class Git:
    """A directory with a manifest for each Deployment, by its name."""

    directory: Path
    contents: dict[str, JSON] = field(default_factory=dict)

    def commit(self, *objects: JSON) -> None:
        """Puts manifests there; whoever reads one meanwhile reads the old or the new one."""
        self.directory.mkdir(exist_ok=True)
        for each in objects:
            name = each["metadata"]["name"]
            self.contents[name] = each
            new = self.directory / f"{name}.new"
            new.write_text(yaml.safe_dump(each))
            new.replace(self.directory / f"{name}.yaml")


class Kubectl:
    """`kubectl` with one of its ways to write, every two seconds."""

    def __init__(self, lab: Lab, git: Git, way: str) -> None:
        self._lab, self._git, self._way = lab, git, way
        self._ended = threading.Event()
        self.failures: list[str] = []
        self.rounds = 0

    @contextmanager
    def writing(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def create(self) -> None:
        """Writes for the first time; `replace` needs something to replace."""
        way = ("create",) if self._way == "replace" else _KUBECTL[self._way]
        self._lab.kubectl(*way, "-f", str(self._git.directory))

    def _run(self) -> None:
        while not self._ended.is_set():
            argv = ["kubectl", *_KUBECTL[self._way], "-f", str(self._git.directory)]
            done = self._lab.run(argv, check=False)
            said = [e for e in done.stderr.splitlines() if e.startswith(_FAILURES)]
            # Who writes an object as it was, has to write it again; `replace` leaves that to us.
            self.failures += [each for each in said if "has been modified" not in each]
            assert said or not done.returncode, done.stderr
            self.rounds += 1
            self._ended.wait(_EVERY_SECONDS)


class Flux:
    """Flux's own library, every two seconds (tests/flux)."""

    def __init__(self, lab: Lab, git: Git, log: Path) -> None:
        self._lab, self._git, self._log = lab, git, log
        self._program = go_program(lab, FLUX)

    @contextmanager
    def writing(self) -> Iterator[None]:
        argv = [str(self._program), "apply", str(self._git.directory)]
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                self._lab.command(argv), env=self._lab.environment(), stdout=log
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)

    def create(self) -> None:
        """The first round does."""

    @property
    def rounds(self) -> int:
        return max((len(each) for each in self._reports().values()), default=0)

    @property
    def failures(self) -> list[str]:
        said = (each for reports in self._reports().values() for each in reports)
        return [each["error"] for each in said if each.get("error")]

    def corrections(self, name: str) -> int:
        """How often in a row content that was applied before had to be applied again.

        Once is no drift: somebody wrote between Flux's look at the object and its dry run.
        """
        seen: set[str] = set()
        longest = row = 0
        for each in self._reports().get(name, ()):
            row = row + 1 if each.get("action") == "configured" and each["content"] in seen else 0
            longest = max(longest, row)
            seen.add(each["content"])
        return longest

    def _reports(self) -> Mapping[str, Sequence[JSON]]:
        reports: dict[str, list[JSON]] = {}
        whole, _, _ = self._log.read_text().rpartition("\n")
        for line in whole.splitlines():
            each = json.loads(line)
            reports.setdefault(each["file"].removesuffix(".yaml"), []).append(each)
        return reports


def writer(lab: Lab, git: Git, way: str, *, log: Path) -> Kubectl | Flux:
    """Somebody who writes what Git has in this way."""
    return Flux(lab, git, log) if way == FLUX else Kubectl(lab, git, way)
