"""At peace with GitOps: writers that apply what Git has again and again, each in its own way, and
controller and webhook of ours in between. All cells of the matrix at the same time.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from lab import Lab
from tests.support import admission
from tests.support.cells import Cell, every_cell, holds
from tests.support.cluster import problems
from tests.support.waiting import eventually
from tests.support.writers import FLUX, WRITERS, Flux, Git, Kubectl, writer

JSON = dict[str, Any]
SECONDS = float(os.environ.get("SIDECARPOLICY_SOAK_SECONDS", "60"))
CELLS = tuple(every_cell())


@dataclass
class Matrix:
    """All cells under way on one control plane."""

    lab: Lab
    gits: Mapping[str, Git]
    writers: Mapping[str, Kubectl | Flux]

    def apply(self, *objects: JSON) -> None:
        self.lab.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(objects))

    def commit(self, *cells: Cell, last: bool = False) -> None:
        for each in cells:
            self.gits[each.writer].commit(each.last if last else each.first)

    def deployments(self) -> dict[str, JSON]:
        return {each["metadata"]["name"]: each for each in self._all("deployments")}

    def replica_sets(self) -> Counter[str]:
        return Counter(each["metadata"]["namespace"] for each in self._all("replicasets"))

    def statuses(self) -> dict[str, JSON]:
        return {e["metadata"]["namespace"]: e.get("status", {}) for e in self._all("scpol")}

    def newest_pods(self) -> dict[str, JSON]:
        """For each cell, one of the youngest Pods that are there to stay."""
        alive = (p for p in self._all("pods") if "deletionTimestamp" not in p["metadata"])
        ordered = sorted(alive, key=lambda each: each["metadata"]["creationTimestamp"])
        return {each["metadata"]["namespace"]: each for each in ordered}

    def _all(self, kind: str) -> list[JSON]:
        items: list[JSON] = json.loads(self.lab.kubectl("get", kind, "-A", "-o", "json"))["items"]
        names = set(map(str, CELLS))
        return [each for each in items if each["metadata"]["namespace"] in names]


def unsettled(matrix: Matrix) -> list[str]:
    """Cells whose policy is not where it should end, or whose Deployment rolls."""
    statuses = matrix.statuses()
    return [str(each) for each in CELLS if not _settled(statuses[str(each)].get("workloads", {}))]


def _settled(counts: JSON) -> bool:
    return bool(counts) and counts["current"] + counts["conflicted"] == counts["matched"] == 1


@pytest.fixture(scope="module")
def matrix(cluster: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    """The whole story, up to its end: the writers have stopped, the processes run."""
    place = tmp_path_factory.mktemp("gitops")
    gits = {way: Git(place / way) for way in WRITERS}
    with admission.running(cluster, place):
        made = {way: writer(cluster, gits[way], way, log=place / f"{way}.log") for way in WRITERS}
        matrix = Matrix(cluster, gits, made)
        try:
            _play(matrix)
            yield matrix
        finally:
            cluster.kubectl("delete", "namespace", "--wait=false", *map(str, CELLS))


def _play(matrix: Matrix) -> None:
    """Git, then a policy, then Git's change, then the policy's second revision."""
    spaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": str(e)}} for e in CELLS
    ]
    matrix.apply(*spaces)
    matrix.commit(*CELLS)
    for each in matrix.writers.values():
        each.create()
    with ExitStack() as stack:
        for each in matrix.writers.values():
            stack.enter_context(each.writing())
        eventually(lambda: len(matrix.newest_pods()) == len(CELLS), seconds=180)
        started = time.monotonic()
        matrix.apply(*(each.policy(revision=1) for each in CELLS))
        eventually(lambda: unsettled(matrix), until=lambda open_: not open_, seconds=180)
        _until(started + SECONDS / 3)
        matrix.commit(*(each for each in CELLS if each.second is not None), last=True)
        _until(started + SECONDS * 2 / 3)
        matrix.apply(*(each.policy(revision=2) for each in CELLS))
        _until(started + SECONDS)
        eventually(lambda: unsettled(matrix), until=lambda open_: not open_, seconds=180)


def _until(moment: float) -> None:
    """Lets the writers write."""
    time.sleep(max(0.0, moment - time.monotonic()))


def test_no_cell_has_more_replica_sets_than_revisions_and_changes_of_its_owner(
    matrix: Matrix,
) -> None:
    counted = matrix.replica_sets()
    too_many = {str(e): counted[str(e)] for e in CELLS if counted[str(e)] > e.replica_sets}
    assert too_many == {}


def test_every_template_has_all_that_git_has(matrix: Matrix) -> None:
    live = matrix.deployments()
    lacking = [str(e) for e in CELLS if not holds(live[str(e)]["spec"], e.last["spec"])]
    assert lacking == [str(each) for each in CELLS if each.refused]


def test_every_pod_has_the_sidecars_in_their_order_unless_git_took_a_name(matrix: Matrix) -> None:
    pods = matrix.newest_pods()
    found = {each: admission.names(pods[str(each)]["spec"]) for each in CELLS}
    assert [f"{each} has {got}" for each, got in found.items() if got != each.order] == []


def test_a_name_that_git_took_is_named_in_the_status(matrix: Matrix) -> None:
    statuses = matrix.statuses()
    found = {e: " ".join(p["reason"] for p in problems(statuses[str(e)])) for e in CELLS}
    assert [f"{each}: {got}" for each, got in found.items() if got != each.problem] == []


def test_no_writer_met_a_conflict_with_us_where_it_does_not_ask_for_one(matrix: Matrix) -> None:
    refused = {each.writer for each in CELLS if each.refused}
    for way, each in matrix.writers.items():
        assert each.rounds >= SECONDS / 8
        ours = [said for said in each.failures if "sidecarpolicy-operator" in said]
        assert bool(ours) is (way in refused)
        assert [said for said in each.failures if said not in ours] == [], way


def test_flux_sees_no_drift(matrix: Matrix) -> None:
    flux = matrix.writers[FLUX]
    assert isinstance(flux, Flux)
    found = {each: flux.corrections(str(each)) for each in CELLS if each.writer == FLUX}
    assert [f"{each}: {in_a_row}" for each, in_a_row in found.items() if in_a_row > 1] == []
