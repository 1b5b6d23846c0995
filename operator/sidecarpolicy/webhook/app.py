"""Puts the webhook together and runs it until a signal, or until a part of it fails."""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import Connection, connect
from sidecarpolicy.cluster.reflector import Reflector
from sidecarpolicy.cluster.resources import CLUSTER_POLICIES, NAMESPACES, NODES, POLICIES
from sidecarpolicy.core.capability import RULES, Rules
from sidecarpolicy.core.selection import Exclusions
from sidecarpolicy.process.health import health_server
from sidecarpolicy.process.life import first_to_end, run_to_end, told_to_end
from sidecarpolicy.process.logs import configure_logging
from sidecarpolicy.process.serverversion import ServerVersion
from sidecarpolicy.webhook.certificates import Certificates, Site
from sidecarpolicy.webhook.files import Files
from sidecarpolicy.webhook.memory import Memory
from sidecarpolicy.webhook.metrics import Metrics
from sidecarpolicy.webhook.review import review
from sidecarpolicy.webhook.server import Manners, admission_server

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What the command line decides."""

    exclusions: Exclusions
    own_user: str
    listen: str
    health: str
    site: Site
    rules: Rules = RULES
    tls_dir: str | None = None
    leave_seconds: float = 0.0
    kubeconfig: str | None = None
    json_logs: bool = False
    debug: bool = False


def run(options: Options) -> None:
    """Runs the webhook; returns after a signal, raises if a part of it fails."""
    configure_logging(as_json=options.json_logs, debug=options.debug)
    run_to_end(_main(options))


async def _main(options: Options) -> None:
    async with connect(options.kubeconfig) as connection:
        await Webhook(connection, options).run()


class Webhook:
    """All parts of the webhook process."""

    def __init__(self, connection: Connection, options: Options) -> None:
        api = Api(connection)
        self._options = options
        self._tls = (
            Files(Path(options.tls_dir)) if options.tls_dir else Certificates(api, options.site)
        )
        self._memory = Memory(options.exclusions, options.rules)
        self._server_version = ServerVersion(api, self._memory.judge_by)
        self._serving = False
        self._leaving = False
        self._metrics = Metrics(lambda: min(each.heard for each in self._reflectors))
        self._reflectors: list[Reflector[Any]] = [
            Reflector(api, POLICIES, self._memory.policies),
            Reflector(api, CLUSTER_POLICIES, self._memory.cluster_policies),
            Reflector(api, NAMESPACES, self._memory.namespaces),
            Reflector(api, NODES, self._memory.nodes),
        ]

    def ready(self) -> bool:
        """Whether reviews are answered, which takes a certificate and all lists, and will be."""
        return self._serving and not self._leaving

    async def run(self) -> None:
        """Runs all parts; the first that ends, ends all."""
        async with health_server(
            self._options.health, ready=self.ready, metrics=self._metrics.text
        ):
            await first_to_end(
                self._told(),
                self._serve(),
                self._tls.run(),
                self._server_version.run(),
                *(reflector.run() for reflector in self._reflectors),
            )

    async def _serve(self) -> None:
        """Serves once everything is known: half a picture would let objects through unseen."""
        await self._server_version.known.wait()
        for reflector in self._reflectors:
            await reflector.listed.wait()
        look = partial(review, view=self._memory, own_user=self._options.own_user)
        async with admission_server(
            self._options.listen,
            await self._tls.prepare(),
            review=look,
            observe=self._metrics.observe,
            manners=Manners(leaving=lambda: self._leaving),
        ):
            self._serving = True
            log.info("The cluster is listed; the webhook is ready")
            await asyncio.Event().wait()

    async def _told(self) -> None:
        """After a signal the process is unready, but serves on until the Service forgot it."""
        await told_to_end()
        self._leaving = True
        await asyncio.sleep(self._options.leave_seconds)
