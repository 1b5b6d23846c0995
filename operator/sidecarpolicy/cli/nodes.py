"""`nodes`: which nodes run native sidecars, by the same chain as in the controller.

Reads and never writes. What the operator wrote on a node is shown beside what is found now,
and is no part of it, but for what a kubelet's metrics said when the operator asked.
"""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import Connection, NoClusterError, connect
from sidecarpolicy.cluster.kubelets import Answer, Target, ThroughApiServer
from sidecarpolicy.cluster.resources import NODES
from sidecarpolicy.core.capability import (
    Rules,
    Strategy,
    capability,
    gate_decides,
    ignored_override,
)
from sidecarpolicy.core.facts import NodeFacts, node_facts

_IN_FLIGHT = 8
_PIPE_WIDTH = 1000
"""Columns where the output is no terminal: rows are for programs then, and never wrap."""


class UnreadableError(Exception):
    """The nodes cannot be read; the text says why."""


@dataclass(frozen=True)
class Survey:
    """All nodes by name, and what is to say about them."""

    nodes: tuple[NodeFacts, ...]
    findings: tuple[str, ...]

    @property
    def flawed(self) -> bool:
        """Whether there is anything but capable nodes, labelled as such where they are labelled."""
        return bool(self.findings) or not all(each.capability.capable for each in self.nodes)


def survey(kubeconfig: str | None, rules: Rules, *, ask: bool) -> Survey:
    """Reads and judges all nodes; `ask` has the API server ask kubelets where that decides."""
    return asyncio.run(_survey(kubeconfig, rules, ask=ask))


async def _survey(kubeconfig: str | None, rules: Rules, *, ask: bool) -> Survey:
    try:
        async with connect(kubeconfig) as connection:
            return await read_nodes(connection, rules, ask=ask)
    except NoClusterError as error:
        raise UnreadableError(str(error)) from error


async def read_nodes(connection: Connection, rules: Rules, *, ask: bool) -> Survey:
    """The same over a connection that is there; UnreadableError if nodes cannot be listed."""
    api, findings = Api(connection), []
    if Strategy.APISERVER_SKEW in rules.strategies:
        answer = await api.server_version()
        rules = replace(rules, api_server=str(answer.body.get("gitVersion", "")))
        if not answer.done:
            findings.append(f"the API server's version could not be read: {answer.message}")
    listed = await api.list_all(NODES, keep=lambda obj: node_facts(obj, rules))
    if not listed.done:
        raise UnreadableError(f"cannot list nodes: {listed.message}")
    nodes = sorted(listed.items, key=lambda each: each.name)
    if ask:
        nodes, unread = await _asked(connection, nodes, rules)
        findings += unread
    remarks = ((node, ignored_override(node.kubelet, rules)) for node in nodes)
    findings += [f"{node.name}: {remark}" for node, remark in remarks if remark]
    return Survey(tuple(nodes), (*findings, *_differences(nodes)))


async def _asked(
    connection: Connection, nodes: Iterable[NodeFacts], rules: Rules
) -> tuple[list[NodeFacts], list[str]]:
    """The nodes, judged anew by what their kubelets say; and which did not say it."""
    source, slots = ThroughApiServer(connection), asyncio.Semaphore(_IN_FLIGHT)

    async def judged(node: NodeFacts) -> tuple[NodeFacts, str]:
        if not gate_decides(node.kubelet, rules):
            return node, ""
        async with slots:
            answer = await source.read(Target(node.name, node.address, node.port))
        return _informed(node, answer, rules), answer.problem

    found = await asyncio.gather(*(judged(each) for each in nodes))
    unread = [f"{node.name}: feature gate not read: {why}" for node, why in found if why]
    return [node for node, _ in found], unread


def _informed(node: NodeFacts, answer: Answer, rules: Rules) -> NodeFacts:
    gate = answer.gate or node.kubelet.gate
    kubelet = replace(node.kubelet, gate=gate, unread="" if gate else answer.problem)
    return replace(node, kubelet=kubelet, capability=capability(kubelet, rules))


def _differences(nodes: Iterable[NodeFacts]) -> list[str]:
    """Nodes whose label says something else than what was found."""
    return [
        f"{node.name}: labelled {node.label!r}, but found {node.capability.verdict.label!r}"
        for node in nodes
        if node.label not in (None, node.capability.verdict.label)
    ]


def as_data(nodes: Iterable[NodeFacts]) -> list[dict[str, Any]]:
    """For programs: one object a node."""
    return [
        {
            "name": node.name,
            "kubelet": node.kubelet.version,
            "operatingSystem": node.system,
            "nativeSidecars": node.capability.verdict.value,
            "reason": node.capability.reason.value,
            "evidence": node.capability.evidence,
            "featureGate": node.kubelet.gate.value if node.kubelet.gate else None,
            "override": node.kubelet.override,
            "label": node.label,
        }
        for node in nodes
    ]


def show(found: Survey, *, output: str) -> None:
    """Prints the nodes on standard output."""
    if output == "json":
        click.echo(json.dumps(as_data(found.nodes), indent=2))
        return
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    console.print(_table(found.nodes, wide=output == "wide"))
    capable = sum(each.capability.capable for each in found.nodes)
    console.print(f"{capable} of {len(found.nodes)} nodes run native sidecars")


def _table(nodes: Iterable[NodeFacts], *, wide: bool) -> Table:
    more = ("OS", "GATE", "LABEL") if wide else ()
    table = Table(
        "NODE", "KUBELET", "SIDECARS", *more, "REASON", "EVIDENCE", box=None, pad_edge=False
    )
    for node in nodes:
        gate = node.kubelet.gate.value if node.kubelet.gate else "-"
        extra = (node.system or "-", gate, node.label or "-") if wide else ()
        found = node.capability
        table.add_row(
            node.name, node.kubelet.version, found.verdict, *extra, found.reason, found.evidence
        )
    return table
