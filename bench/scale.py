"""`python -m bench.scale`: the controller in a large cluster on a lab's real API server.

Nodes are objects without kubelets, workloads are CronJobs that never start, so that nobody but the
controller works for them. What one changed workload costs is compared between a small and a
large namespace, in turn within each round.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click

from bench.__main__ import as_json, as_table
from bench.measure import Line
from bench.processes import Arm
from bench.ratios import ratio, spread, turns
from lab import Lab
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import connect
from sidecarpolicy.cluster.outcome import Outcome, Result
from sidecarpolicy.cluster.resources import CRON_JOBS, NAMESPACES, NODES, POLICIES, Resource

JSON = dict[str, Any]
_ROOT = Path(__file__).resolve().parents[1]
_IN_FLIGHT = 16
_LARGE, _SMALL = "large", "small-0"
_SMALL_SIZE = 100
_IDLE_SECONDS = 10.0
_QUIET = 0.03
"""Seconds of CPU in a second of somebody who has nothing to do."""
_APART_SECONDS = 0.3
"""Between two changes: so that each has a pass of its own."""
_MIB = 120.0
"""Goal P7, for 5,000 nodes and 10,000 workloads."""


@dataclass(frozen=True)
class Size:
    """How much there is. Half of all workloads are in one namespace, the rest in small ones."""

    nodes: int
    workloads: int
    policies: int
    rounds: int
    events: int

    @property
    def spaces(self) -> dict[str, int]:
        """Namespaces and how many workloads each has."""
        large = self.workloads // 2
        rest = max(1, (self.workloads - large) // _SMALL_SIZE)
        return {_LARGE: large, **{f"small-{number}": _SMALL_SIZE for number in range(rest)}}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--nodes", default=1000, show_default=True)
@click.option("--workloads", default=2000, show_default=True)
@click.option("--policies", default=2, show_default=True, help="In each namespace.")
@click.option("--rounds", default=7, show_default=True)
@click.option("--events", default=20, show_default=True, help="Changed workloads a round.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def main(nodes: int, workloads: int, policies: int, rounds: int, events: int, output: str) -> None:
    """Measure the controller in a large cluster (needs root; some minutes)."""
    lab, size = Lab("bench"), Size(nodes, workloads, policies, rounds, events)
    lab.down()
    lab.up()
    try:
        lab.kubectl("apply", "-f", str(_ROOT / "crds"))
        lab.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        with lab.entered():
            lines = asyncio.run(_measured(lab, size))
    finally:
        lab.down()
    click.echo(as_json(lines) if output == "json" else as_table(lines))
    raise SystemExit(0 if all(line.met for line in lines) else 1)


async def _measured(lab: Lab, size: Size) -> list[Line]:
    async with connect(str(lab.kubeconfig)) as connection:
        api = Api(connection)
        await _populate(api, size)
        with _controller(lab) as controller:
            await _all_current(api, size)
            await _quiet(controller)
            rounds = [await _round(api, controller, size, number) for number in range(size.rounds)]
            before = controller.cpu()
            await asyncio.sleep(_IDLE_SECONDS)
            idle = (controller.cpu() - before) / _IDLE_SECONDS
            low, high = spread(rounds, _LARGE, _SMALL)
            sizes = f"{size.spaces[_LARGE]:,} / of {_SMALL_SIZE}"
            what = f"CPU per changed workload, in a namespace of {sizes}"
            return [
                Line(what, ratio(rounds, _LARGE, _SMALL), 2.0, low, high),
                Line("milliseconds of it in the large one, on this machine", _cost(rounds, size)),
                Line("CPU of an idle controller, in percent of a core", idle * 100),
                Line(
                    f"MiB resident, {size.nodes:,} nodes, {size.workloads:,} workloads",
                    controller.resident(),
                    _MIB,
                ),
            ]


async def _populate(api: Api, size: Size) -> None:
    await _all(api.create(NODES, _node(f"node-{number}")) for number in range(size.nodes))
    await _all(api.create(NAMESPACES, _named(NAMESPACES, name)) for name in size.spaces)
    await _all(
        api.create(CRON_JOBS, _cron_job(f"job-{number}"), space)
        for space, count in size.spaces.items()
        for number in range(count)
    )
    await _all(
        api.create(POLICIES, _policy(f"policy-{number}"), space)
        for space in size.spaces
        for number in range(size.policies)
    )


async def _all(requests: Iterable[Awaitable[Outcome]]) -> None:
    slots = asyncio.Semaphore(_IN_FLIGHT)

    async def one(request: Awaitable[Outcome]) -> None:
        async with slots:
            answer = await request
        if answer.result not in (Result.DONE, Result.CONFLICT):
            raise RuntimeError(answer.message)

    await asyncio.gather(*(one(each) for each in requests))


@contextmanager
def _controller(lab: Lab) -> Iterator[Arm]:
    argv = [sys.executable, "-m", "sidecarpolicy", "controller", "--listen", "127.0.0.1:8080"]
    with tempfile.TemporaryFile() as log:  # not shown: it names every workload
        process = subprocess.Popen(lab.command(argv), env=lab.environment(), stdout=log, stderr=log)
        try:
            yield Arm("controller", 0, process.pid)
        finally:
            process.terminate()
            process.wait()


async def _all_current(api: Api, size: Size) -> None:
    """Waits until every workload has the sidecars of its policies."""
    while True:
        listed = await api.list_all(POLICIES, keep=_current)
        if listed.done and sum(listed.items) == size.policies * sum(size.spaces.values()):
            return
        await asyncio.sleep(1)


def _current(policy: JSON) -> int:
    counts: dict[str, int] = (policy.get("status") or {}).get("workloads") or {}
    return counts.get("current", 0)


async def _round(api: Api, controller: Arm, size: Size, number: int) -> dict[str, float]:
    """CPU for changes of the owners', one after the other, which need no write of ours."""
    spent = {}
    for space in turns([_SMALL, _LARGE], number):
        before = controller.cpu()
        for event in range(size.events):
            image = f"own:{number}-{event}"
            path = "/spec/jobTemplate/spec/template/spec/containers/0/image"
            change = [{"op": "replace", "path": path, "value": image}]
            await _all([api.patch_json(CRON_JOBS, change, name=f"job-{event}", namespace=space)])
            await asyncio.sleep(_APART_SECONDS)
        await _quiet(controller)
        spent[space] = controller.cpu() - before
    return spent


async def _quiet(controller: Arm) -> None:
    """Waits until it has no more to do, so that nothing is counted for the next namespace."""
    while True:
        before = controller.cpu()
        await asyncio.sleep(1)
        if controller.cpu() - before < _QUIET:
            return


def _cost(rounds: Sequence[Mapping[str, float]], size: Size) -> float:
    return median(each[_LARGE] for each in rounds) / size.events * 1000


def _named(kind: Resource, name: str, **more: Any) -> JSON:
    version = f"{kind.group}/{kind.version}" if kind.group else kind.version
    return {"apiVersion": version, "kind": kind.kind, "metadata": {"name": name}, **more}


def _node(name: str) -> JSON:
    return _named(NODES, name, status={"nodeInfo": {**_INFO, "kubeletVersion": "v1.36.3"}})


_INFO = dict.fromkeys(
    (
        "architecture", "bootID", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion",
        "machineID", "operatingSystem", "osImage", "systemUUID",
    ),
    "",
)  # fmt: skip


def _cron_job(name: str) -> JSON:
    containers = [{"name": "app", "image": "own:0", "env": _ENV}, {"name": "proxy", "image": "p:1"}]
    pod = {"containers": containers, "restartPolicy": "Never"}
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    job = {"spec": {"template": template}}
    return _named(
        CRON_JOBS, name, spec={"schedule": "0 3 1 1 *", "suspend": True, "jobTemplate": job}
    )


_ENV = [{"name": f"SETTING_{number}", "value": "value"} for number in range(10)]


def _policy(name: str) -> JSON:
    sidecar = {"name": name, "image": "s:1", "resources": {"requests": {"cpu": "10m"}}}
    spec = {"selector": {}, "sidecars": [sidecar], "rollout": {"maxConcurrent": "100%"}}
    return _named(POLICIES, name, spec=spec)


if __name__ == "__main__":
    main()
