"""Puts the controller together and runs it until a signal, or until a part of it fails."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import kopf

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import Connection, connect
from sidecarpolicy.cluster.kubelets import Source
from sidecarpolicy.cluster.reflector import Reflector
from sidecarpolicy.cluster.resources import AUTOSCALERS, WEBHOOK_CONFIGURATIONS, WORKLOADS
from sidecarpolicy.controller.census import Census
from sidecarpolicy.controller.departures import Departures
from sidecarpolicy.controller.election import Candidate, Election
from sidecarpolicy.controller.events import Recorder
from sidecarpolicy.controller.gates import Gates
from sidecarpolicy.controller.handlers import registry, settings
from sidecarpolicy.controller.herald import Herald
from sidecarpolicy.controller.inventory import Inventory, WorkloadMirror
from sidecarpolicy.controller.judge import Judge
from sidecarpolicy.controller.labeller import Labeller
from sidecarpolicy.controller.liveness import ailment
from sidecarpolicy.controller.metrics import Metrics, Sources
from sidecarpolicy.controller.nodemetrics import NodeMetrics, effective, opened
from sidecarpolicy.controller.podwatch import PodWatch
from sidecarpolicy.controller.preflight import Preflight
from sidecarpolicy.controller.reconciler import Reconciler
from sidecarpolicy.controller.strays import Strays
from sidecarpolicy.controller.webhooks import WebhookMirror
from sidecarpolicy.core.capability import RULES, Rules, Strategy
from sidecarpolicy.core.selection import Exclusions
from sidecarpolicy.process.health import health_server
from sidecarpolicy.process.life import first_to_end, run_to_end, told_to_end
from sidecarpolicy.process.logs import configure_logging
from sidecarpolicy.process.serverversion import ServerVersion

log = logging.getLogger(__name__)

_PATIENCE = 20.0
"""Seconds for which a standby waits for its lists before it asks for the Lease all the same."""


@dataclass(frozen=True)
class Options:
    """What the command line decides."""

    exclusions: Exclusions
    listen: str
    revert_share: str
    rules: Rules = RULES
    node_metrics: NodeMetrics | None = None
    candidate: Candidate | None = None
    """Who asks for the Lease; None leads without one."""
    kubeconfig: str | None = None
    json_logs: bool = False
    debug: bool = False


def run(options: Options) -> None:
    """Runs the controller; returns after a signal, raises if a part of it fails."""
    configure_logging(as_json=options.json_logs, debug=options.debug)
    run_to_end(_main(options))


async def _main(options: Options) -> None:
    async with (
        connect(options.kubeconfig) as connection,
        opened(connection, options.node_metrics) as source,
    ):
        await Controller(connection, options, source).run()


class Controller:
    """All parts of the controller process."""

    def __init__(self, connection: Connection, options: Options, source: Source | None) -> None:
        self._election = Election(connection, options.candidate) if options.candidate else None
        api = Api(connection, fence=self._election.holds if self._election else None)
        self._connection = connection
        self._listen = options.listen
        self._judge = Judge(effective(options.rules, options.node_metrics))
        self._inventory = Inventory(options.exclusions, self._judge)
        self._departures = Departures(api, self._inventory)
        self._census = Census(api, self._inventory)
        self._gates = (
            Gates(source, self._inventory, self._judge, recheck=options.node_metrics.recheck)
            if source is not None and options.node_metrics is not None
            else None
        )
        self._labeller = Labeller(api, self._inventory, self._gates)
        self._server_version = ServerVersion(api, self._judge_by)
        recorder = Recorder(api, self._inventory.ends)
        self._webhooks = WebhookMirror(self._inventory.see_webhook)
        self._preflight = Preflight(
            api, self._inventory, self._webhooks, home=options.exclusions.own_namespace
        )
        self._herald = Herald(recorder)
        self._strays = Strays(api, self._inventory, recorder)
        self._pods = PodWatch(api, self._inventory, recorder)
        self._reconciler = Reconciler(
            api,
            self._inventory,
            herald=self._herald,
            departures=self._departures,
            preflight=self._preflight,
            revert_share=options.revert_share,
        )
        self._metrics = Metrics(self._sources())
        self._reconciler.passed = self._metrics.passed
        api.observe = self._metrics.wrote
        self._reflectors: list[Reflector[Any]] = [
            Reflector(api, WEBHOOK_CONFIGURATIONS, self._webhooks),
            Reflector(api, AUTOSCALERS, self._inventory.scalers),
            *(
                Reflector(api, resource, WorkloadMirror(self._inventory, resource))
                for resource in WORKLOADS.values()
            ),
            *self._pods.reflectors,
        ]
        for reflector in self._reflectors:
            reflector.relisted = self._census.sweep_soon
        self._counted = asyncio.Event()

    def ready(self) -> bool:
        """Whether everything has been listed at least once."""
        return self._counted.is_set() and all(each.listed.is_set() for each in self._reflectors)

    def ailment(self) -> str:
        """What only a restart can heal; empty if there is nothing."""
        loops = {name: each.pulse for name, each in self._inventory.queues.items()}
        return ailment(watch_age=self._metrics.watch_age, loops=loops)

    def _sources(self) -> Sources:
        return Sources(
            leads=self._election.holds if self._election else lambda: True,
            heard=lambda: min(each.heard for each in self._reflectors),
            workloads=self._reconciler.counts,
            nodes=self._inventory.verdicts,
            queues=lambda: {name: len(each) for name, each in self._inventory.queues.items()},
            reasons=self._inventory.pods.reasons,
        )

    async def run(self) -> None:
        """Runs all parts; the first that ends, ends all."""
        async with health_server(
            self._listen, ready=self.ready, ailment=self.ailment, metrics=self._metrics.text
        ):
            await first_to_end(
                told_to_end(),
                self._watch(),
                self._census.run(),
                *([self._server_version.run()] if self._skewed() else []),
                *(reflector.run() for reflector in self._reflectors),
                self._look(),
                self._lead(),
            )

    async def _look(self) -> None:
        """Also on a standby, which otherwise would keep the facts of all Pods that settled."""
        await self._known()
        await first_to_end(self._pods.run(), self._pods.revisit())

    async def _lead(self) -> None:
        """Everything that writes. A standby knows the cluster before it asks for the Lease, so
        that none that was just started keeps another, which knows it, from working.
        """
        if self._election is None:
            await self._work()
            return
        with suppress(TimeoutError):  # what cannot be listed keeps no node from its label
            await asyncio.wait_for(self._known(), _PATIENCE)
        await self._election.lead(self._work)

    async def _work(self) -> None:
        await first_to_end(
            self._labeller.run(),
            self._departures.run(),
            self._reconcile(),
            *([self._gates.run()] if self._gates is not None else []),
        )

    def _skewed(self) -> bool:
        return Strategy.APISERVER_SKEW in self._judge.rules.strategies

    def _judge_by(self, api_server: str) -> None:
        self._judge.rules = replace(self._judge.rules, api_server=api_server)
        for name in self._inventory.nodes.keys():  # noqa: SIM118 - a shelf is no dict
            self._inventory.judge_again(name)

    async def _watch(self) -> None:
        if self._skewed():
            await self._server_version.known.wait()
        await self._census.take()
        self._counted.set()
        # Not kopf.operator(): when a watch of its dies, that one waits for its own orderly end,
        # which may never come, and the process would go on blind.
        await first_to_end(
            *await kopf.spawn_tasks(
                registry=registry(
                    self._connection, self._inventory, relisted=self._census.sweep_soon
                ),
                settings=settings(),
                clusterwide=True,
                standalone=True,
            )
        )

    async def _known(self) -> None:
        await self._counted.wait()
        for reflector in self._reflectors:
            await reflector.listed.wait()

    async def _reconcile(self) -> None:
        """Decides nothing before everything is known."""
        await self._known()
        log.info("The cluster is listed; the controller works")
        self._pods.look()  # now that nodes are known, so that the first report is right
        await first_to_end(
            self._reconciler.run(),
            self._reconciler.report_pods(),
            self._preflight.run(),
            self._strays.run(),
            self._herald.run(),
            self._pods.tell(),
        )
