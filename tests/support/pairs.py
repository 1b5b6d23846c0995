"""The pairs of tests/data: one folder a case, read here for the offline and the live test.

Its README says what stands in which file.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result

from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.api.names import INJECTED_ANNOTATION, ROLLOUT_ANNOTATION
from sidecarpolicy.cli import main
from sidecarpolicy.core.facts import template_steps
from sidecarpolicy.core.universal import SCRIPT

JSON = dict[str, Any]
DATA = Path(__file__).resolve().parents[1] / "data"

FILES = frozenset(
    {"policies.yaml", "input.yaml", "expected.yaml", "findings.txt", "offline-only.txt"}
)
"""What a case may consist of."""

_DIGEST = re.compile(r"\b[0-9a-f]{8}\b")
_WHERE = re.compile(r"^warning: \S+:\d+: ", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """One folder of tests/data."""

    folder: Path

    def __str__(self) -> str:
        return self.folder.relative_to(DATA).as_posix()

    @property
    def input(self) -> Path:
        return self.folder / "input.yaml"

    @property
    def policies(self) -> Path:
        return self.folder / "policies.yaml"

    @property
    def strips(self) -> bool:
        """Whether it is about `strip`: there are no policies any more."""
        return not self.policies.exists()

    @property
    def offline_only(self) -> bool:
        """Whether no API server would have it so; the file says why."""
        return (self.folder / "offline-only.txt").exists()

    @property
    def injected_before(self) -> bool:
        """Whether the input carries a record or a marker already."""
        text = self.input.read_text()
        return any(f"{each}: " in text for each in (INJECTED_ANNOTATION, ROLLOUT_ANNOTATION))

    @property
    def expected(self) -> list[JSON]:
        """What is expected; the input, unchanged, where the file has no object."""
        return documents(self.folder / "expected.yaml") or documents(self.input)

    @property
    def findings(self) -> list[str]:
        file = self.folder / "findings.txt"
        return file.read_text().splitlines() if file.exists() else []


CASES: Sequence[Case] = [Case(each) for each in sorted(DATA.glob("*/*")) if each.is_dir()]


@dataclass(frozen=True)
class Printed:
    """What a command printed, warnings without the place that they are about, and no notes."""

    text: str
    warnings: list[str]
    exit_code: int

    @property
    def objects(self) -> list[JSON]:
        return documents(self.text)


@cache
def printed(case: Case) -> Printed:
    """What `render`, or `strip` where the case has no policies, makes of the input."""
    if case.strips:
        return call("strip", "-f", str(case.input))
    return call("render", "-p", str(case.policies), "-f", str(case.input))


def stripped(case: Case) -> Printed:
    """What `strip` makes of what is printed."""
    return call("strip", stdin=printed(case).text)


def call(*args: str, stdin: str | None = None) -> Printed:
    """The command `sidecarpolicy` with these arguments."""
    result: Result = CliRunner().invoke(main, list(args), input=stdin)
    said = _WHERE.sub("", result.stderr).splitlines()
    warnings = [line for line in said if not line.startswith("note: ")]  # no rule of injection
    return Printed(result.stdout, warnings, result.exit_code)


def documents(source: Path | str) -> list[JSON]:
    """All objects of a file or a text."""
    text = source if isinstance(source, str) else source.read_text()
    return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each is not None]


def workloads(objects: Iterable[JSON]) -> list[JSON]:
    """Those that have a Pod template."""
    return [each for each in objects if each["kind"] in set(TargetKind)]


def template_of(workload: JSON) -> JSON:
    """The Pod template itself, not a copy."""
    found: Any = workload
    for step in template_steps(workload["kind"]):
        found = found[step]
    template: JSON = found
    return template


def readable(objects: Sequence[JSON]) -> Sequence[JSON]:
    """The same with records and markers as objects, "…" for every digest and revision in them, and
    for the script of mode Universal.
    """
    for each in workloads(objects):
        for container in template_of(each)["spec"].get("initContainers") or ():
            command = container.get("command") or []
            command[:] = ["…" if word == SCRIPT else word for word in command]
        annotations = template_of(each)["metadata"].get("annotations") or {}
        for name in {INJECTED_ANNOTATION, ROLLOUT_ANNOTATION} & annotations.keys():
            annotations[name] = _readable(annotations[name])
    return objects


def _readable(record: str) -> Any:
    try:
        return json.loads(_DIGEST.sub("…", record))
    except ValueError:
        return record
