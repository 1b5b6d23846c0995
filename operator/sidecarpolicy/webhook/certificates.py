"""The webhook's own CA and certificate: kept in a Secret, trusted through the caBundle.

All replicas do the same and need no leader: each looks at the Secret about once a minute,
takes the steps that are due (see `renewal`) under the Secret's resource version, so that
one wins and the others read what it wrote, and serves what the Secret holds. Keys are in
the Secret and in memory, never in a file, a log or a message.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ssl import SSLContext
from typing import Final, NoReturn

from cryptography.x509 import Certificate

from sidecarpolicy.api.names import WEBHOOK_CONFIGURATION
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.outcome import Outcome, Result
from sidecarpolicy.cluster.resources import SECRETS, WEBHOOK_CONFIGURATIONS
from sidecarpolicy.webhook.kept import Kept, bundle_patch, read_secret, secret_patch, trusts
from sidecarpolicy.webhook.pki import server_names
from sidecarpolicy.webhook.renewal import Lifetimes, Sighting, Situation, advance, sight
from sidecarpolicy.webhook.tls import ServingContext

log = logging.getLogger(__name__)

_RACES: Final = 5
_FIRST_RETRY: Final = 1.0
_LAST_RETRY: Final = 8.0
_FOREIGN: Final = (
    "it holds what this webhook did not make, and so is left alone; "
    "empty it, or mount it and serve from there with --tls-dir"
)


@dataclass(frozen=True)
class Site:
    """Where the webhook is, and the objects that its certificates concern."""

    namespace: str
    service: str
    extra_names: tuple[str, ...] = ()
    """DNS names and IPs by which it is reached besides those of its Service."""
    secret: str = "sidecarpolicy-webhook-tls"
    configuration: str = WEBHOOK_CONFIGURATION

    @property
    def names(self) -> frozenset[str]:
        """All names that it serves. Raises ValueError for what is neither DNS name nor IP."""
        host = f"{self.service}.{self.namespace}.svc"
        return server_names(host, f"{host}.cluster.local", *self.extra_names)


@dataclass(frozen=True)
class Timing:
    """When things happen: a clock, seconds between two looks, and lifetimes."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    every: float = 60.0
    lifetimes: Lifetimes = field(default_factory=Lifetimes)


class Certificates:
    """Keeps Secret, caBundle and what is served in order, for ever."""

    def __init__(self, api: Api, site: Site, *, timing: Timing | None = None) -> None:
        self._api = api
        self._site = site
        self._names = site.names
        self._timing = timing or Timing()
        self._serving = ServingContext()
        self._sighting: Sighting | None = None
        self._last = Outcome(Result.DONE)
        self._retry = 0.0
        self._looking = asyncio.Lock()

    async def prepare(self) -> SSLContext:
        """The context to serve with, once there is a certificate; logs what that waits for."""
        await self.refresh()
        while not self._serving.loaded:
            await asyncio.sleep(self._pause())
            await self.refresh()
        return self._serving.context

    async def run(self) -> NoReturn:
        """Keeps everything fresh; a failure is logged and tried again."""
        while True:
            await asyncio.sleep(self._pause())
            await self.refresh()

    async def refresh(self) -> Outcome:
        """One look, and what follows from it; DONE if all is as it should be."""
        async with self._looking:  # `prepare` and `run` may be under way together
            return await self._refresh()

    async def _refresh(self) -> Outcome:
        outcome = await self._look()
        for _ in range(_RACES):
            if outcome.result is not Result.CONFLICT:
                break
            outcome = await self._look()
        longer = min(max(self._retry * 2, _FIRST_RETRY), _LAST_RETRY)
        self._retry = 0.0 if outcome.done else longer
        if outcome != self._last:
            level = logging.INFO if outcome.done else logging.WARNING
            log.log(level, "Certificates: %s", outcome.message or "all is in order again")
        self._last = outcome
        return outcome

    def _pause(self) -> float:
        every = self._timing.every
        return min(self._retry or every, every) * random.uniform(0.8, 1.0)

    async def _look(self) -> Outcome:
        # The configuration first. It is written after the Secret, so whoever sees a new bundle
        # then also sees the Secret behind it, and never puts an older bundle back.
        configuration = await self._api.get(WEBHOOK_CONFIGURATIONS, name=self._site.configuration)
        secret = await self._api.get(
            SECRETS, name=self._site.secret, namespace=self._site.namespace
        )
        if not secret.done:
            return self._about_secret(secret)
        found = read_secret(secret.body)
        if found is None:
            return self._about_secret(Outcome(Result.REFUSED, _FOREIGN))
        kept, written = await self._renew(found, secret, configuration)
        published = await self._publish(kept, configuration)
        served = self._serve(kept)
        return next((each for each in (written, served, published) if not each.done), published)

    async def _renew(
        self, found: Kept, secret: Outcome, configuration: Outcome
    ) -> tuple[Kept, Outcome]:
        """What the Secret holds after the steps that are due, and how writing it went."""
        now = self._timing.now()
        self._sighting = sight(self._sighting, _trusted(found, configuration), now=now)
        kept, steps = advance(
            Situation(found, self._names, now, self._sighting, self._timing.lifetimes)
        )
        if not steps:
            return found, Outcome(Result.DONE)
        outcome = await self._api.patch_merge(
            SECRETS,
            secret_patch(kept, version=secret.body["metadata"]["resourceVersion"]),
            name=self._site.secret,
            namespace=self._site.namespace,
        )
        if not outcome.done:
            return found, self._about_secret(outcome)
        for each in steps:
            log.info("Secret %s: %s: %s", self._site.secret, each.step, each.why)
        return kept, Outcome(Result.DONE)

    async def _publish(self, kept: Kept, configuration: Outcome) -> Outcome:
        """Has the configuration trust our CAs; writes only if it does not."""
        patch = bundle_patch(configuration.body, kept) if configuration.done else []
        if not patch:
            return self._about_configuration(configuration)
        outcome = await self._api.patch_json(
            WEBHOOK_CONFIGURATIONS, patch, name=self._site.configuration
        )
        if outcome.done:
            log.info("%s: caBundle set, CAs: %d", self._site.configuration, len(kept.trusted))
        return self._about_configuration(outcome)

    def _serve(self, kept: Kept) -> Outcome:
        if kept.serving is None:
            return Outcome(Result.DONE)
        fault = self._serving.present(kept.serving.chain_pem, kept.serving.key_pem)
        return self._about_secret(Outcome(Result.REFUSED if fault else Result.DONE, fault))

    def _about_secret(self, outcome: Outcome) -> Outcome:
        return _about(f"Secret {self._site.secret}", outcome)

    def _about_configuration(self, outcome: Outcome) -> Outcome:
        return _about(f"MutatingWebhookConfiguration {self._site.configuration}", outcome)


def _trusted(kept: Kept, configuration: Outcome) -> Certificate | None:
    """The current CA, if the configuration as read trusts it."""
    authority = kept.authority.certificate if kept.authority else None
    seen = configuration.done and authority and trusts(configuration.body, authority)
    return authority if seen else None


def _about(what: str, outcome: Outcome) -> Outcome:
    """The outcome without its object, which may be a Secret; a trouble names what it concerns."""
    if outcome.done:
        return Outcome(Result.DONE)
    return replace(outcome, message=f"{what}: {outcome.message}", body={})
