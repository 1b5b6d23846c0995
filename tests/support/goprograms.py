"""Programs in Go that tests run beside the cluster, where only Go has the real library."""

from pathlib import Path

from lab import Lab
from lab.build import ensure
from lab.targets import Target
from tests.support.cluster import ROOT


def go_program(lab: Lab, name: str) -> Path:
    """The program of the module tests/NAME; built where it is not in the lab's cache as it is."""
    target = Target(name, ROOT / "tests" / name, ".", tags="", ldflags="-s -w")
    ensure(lab.layout.cache, [target])
    return lab.layout.bin / name
