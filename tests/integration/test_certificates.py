"""The webhook's certificates on a real API server, which also judges them: it calls a webhook
that serves them, and refuses what it cannot verify.
"""

import asyncio
import json
import logging
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop
import yaml
from cryptography import x509

from lab import Lab
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import Connection, connect
from sidecarpolicy.cluster.outcome import Result
from sidecarpolicy.cluster.resources import SECRETS, WEBHOOK_CONFIGURATIONS
from sidecarpolicy.webhook.certificates import Certificates, Site, Timing
from sidecarpolicy.webhook.pki import pem, signed_by
from sidecarpolicy.webhook.renewal import Lifetimes
from tests.support.admission import SYSTEM, own_rights
from tests.support.audit import writes
from tests.support.certificates import authority, client
from tests.support.cluster import ROOT, Namespace
from tests.support.processes import Webhook
from tests.support.waiting import eventually, soon, stays
from tests.support.webhook import Clock, Requests, bundles, configuration, remove, served, serving

JSON = dict[str, Any]
SECRET = "sidecarpolicy-webhook-tls"
HOUR = timedelta(hours=1)
OFTEN = 0.2
KEYS = ["ca.crt", "ca.key", "tls.crt", "tls.key"]


@pytest.fixture
def asked(shop: Namespace) -> Iterator[Namespace]:
    """A namespace whose ConfigMaps need a webhook, by a configuration of the same name."""
    configure(shop.lab, shop.name, name=shop.name)
    yield shop
    remove(shop.lab, shop.name)


@pytest.fixture
def site(asked: Namespace) -> Namespace:
    """The same with an empty Secret."""
    asked.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}})
    return asked


@pytest.fixture(autouse=True)
def no_key_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    records = caplog.get_records("call")
    told = "\n".join(each.getMessage() for each in records)
    for key in ("PRIVATE KEY", b64encode(b"-----BEGIN PRIVATE").decode()):
        assert key not in told


def configure(lab: Lab, namespace: str, *, name: str) -> None:
    lab.kubectl("apply", "-f", "-", input=yaml.safe_dump(configuration(namespace, name=name)))


def inside(lab: Lab, main: Callable[[Connection], Awaitable[None]]) -> None:
    """Runs it in the lab's network, with the loop that the webhook uses."""

    async def connected() -> None:
        async with connect(str(lab.kubeconfig)) as connection:
            await main(connection)

    with lab.entered():
        uvloop.run(connected())


def certificates(connection: Connection, site: Namespace, **timing: Any) -> Certificates:
    names = Site(site.name, "webhook", extra_names=("127.0.0.1",), configuration=site.name)
    return Certificates(Api(connection), names, timing=Timing(**timing))


@asynccontextmanager
async def kept_fresh(*replicas: Certificates) -> AsyncIterator[list[ssl.SSLContext]]:
    """The replicas run while the context is open; what they serve with."""
    contexts = list(await asyncio.gather(*(each.prepare() for each in replicas)))
    running = [asyncio.ensure_future(each.run()) for each in replicas]
    try:
        yield contexts
    finally:
        for each in running:
            each.cancel()
        await asyncio.wait(running)
        assert all(each.cancelled() for each in running)


def secret(site: Namespace) -> JSON:
    return site.get("secret", SECRET)


async def bundle_now(connection: Connection, site: Namespace) -> tuple[x509.Certificate, ...]:
    raw = await Api(connection).get(WEBHOOK_CONFIGURATIONS, name=site.name)
    first, second = bundles(raw.body)
    return first if first == second else ()


def versions(site: Namespace) -> tuple[str, str]:
    raw = site.get("mutatingwebhookconfiguration", site.name)
    return secret(site)["metadata"]["resourceVersion"], raw["metadata"]["resourceVersion"]


def fill(site: Namespace, data: dict[str, bytes]) -> None:
    encoded = {key: b64encode(value).decode() for key, value in data.items()}
    site.patch("secret", SECRET, {"data": encoded})


def test_an_empty_secret_is_filled_and_its_ca_is_trusted(site: Namespace) -> None:
    async def main(connection: Connection) -> None:
        async with serving(await certificates(connection, site).prepare()):
            bundle = await bundle_now(connection, site)
            for host in (f"webhook.{site.name}.svc", "127.0.0.1"):
                found = await served(client(bundle), host)
                assert [signed_by(found, each) for each in bundle] == [True]
            requests = Requests(connection, site.name)
            assert await requests.create() == ""

    inside(site.lab, main)
    assert sorted(secret(site)["data"]) == KEYS
    flags = ("mutatingwebhookconfiguration", site.name, "--show-managed-fields", "-o", "json")
    managers = json.loads(site.kubectl("get", *flags))["metadata"]["managedFields"]
    assert [each["manager"] for each in managers if "caBundle" in str(each)] == [
        "sidecarpolicy-operator"
    ]


def test_a_second_look_writes_nothing(site: Namespace) -> None:
    async def main(connection: Connection) -> None:
        first, second = certificates(connection, site), certificates(connection, site)
        await first.prepare()
        before = versions(site)
        for each in (first, second):
            assert (await each.refresh()).done
        assert versions(site) == before

    inside(site.lab, main)


def test_replicas_that_start_at_the_same_time_agree(site: Namespace) -> None:
    async def main(connection: Connection) -> None:
        replicas = [certificates(connection, site) for _ in range(5)]
        contexts = await asyncio.gather(*(each.prepare() for each in replicas))
        bundle = await bundle_now(connection, site)
        found = set()
        for context in contexts:
            async with serving(context):
                found.add(await served(client(bundle), "127.0.0.1"))
        assert len(bundle) == len(found) == 1
        assert all([(await each.refresh()).done for each in replicas])

    inside(site.lab, main)
    answers = [
        (each["objectRef"]["resource"], each["responseStatus"]["code"])
        for each in writes(site.lab)
        if each["objectRef"].get("name") in (SECRET, site.name)
        and each["objectRef"].get("namespace") in (site.name, None)
    ]
    assert answers.count(("secrets", 200)) == 1
    assert answers.count(("mutatingwebhookconfigurations", 200)) == 1


def test_a_change_of_ca_under_constant_requests_loses_none(site: Namespace) -> None:
    """From one CA to the next and on until the first is forgotten, with two replicas. Every
    certificate must be valid at the time of the API server, too; hence lives of six hours.
    """
    real = datetime.now(UTC)
    clock = Clock(real - 5.5 * HOUR)
    timing = {"now": clock, "every": OFTEN, "lifetimes": Lifetimes(6 * HOUR, 6 * HOUR)}

    async def main(connection: Connection) -> None:
        requests = Requests(connection, site.name)
        replicas = [certificates(connection, site, **timing) for _ in range(2)]

        async def bundle() -> tuple[x509.Certificate, ...]:
            return await bundle_now(connection, site)

        async def presented() -> x509.Certificate:
            return await served(client(await bundle()), "127.0.0.1")

        async with kept_fresh(*replicas) as (one, two), serving(one), serving(two):
            (old,) = await bundle()
            first = await presented()
            async with requests.constantly():
                await requests.answered(100)
                clock.set(real - 1.5 * HOUR, speed=300)  # two hours of the CA are left
                new, _ = await soon(bundle, until=lambda found: len(found) == 2)
                assert (await bundle())[1] == old
                assert await presented() == first  # nobody knows the new one yet
                await soon(presented, until=lambda found: signed_by(found, new))
                await requests.answered(200)
                clock.set(real + 0.6 * HOUR)  # the old CA has expired
                await soon(bundle, until=lambda found: found == (new,))
                await requests.answered(200)
                assert signed_by(await presented(), new)
            assert requests.failures == []
            assert requests.admitted > 500

    inside(site.lab, main)
    assert sorted(secret(site)["data"]) == KEYS


def test_a_bundle_that_somebody_resets_is_healed(site: Namespace) -> None:
    foreign = b64encode(pem([authority(datetime.now(UTC)).certificate])).decode()

    async def main(connection: Connection) -> None:
        requests = Requests(connection, site.name)
        replica = certificates(connection, site)

        async def reset() -> None:
            patch = [
                {"op": "replace", "path": "/webhooks/1/clientConfig/caBundle", "value": foreign}
            ]
            done = await Api(connection).patch_json(WEBHOOK_CONFIGURATIONS, patch, name=site.name)
            assert done.done

        async with serving(await replica.prepare()):
            before = await bundle_now(connection, site)
            await reset()
            assert "failed to verify certificate" in await soon(requests.create)
            assert (await replica.refresh()).done
            assert await bundle_now(connection, site) == before
            await soon(requests.create, until=lambda failure: failure == "")

    inside(site.lab, main)


def test_what_somebody_else_put_into_the_secret_is_reported_and_left_alone(
    site: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    fill(site, {"tls.crt": b"theirs", "tls.key": b"theirs"})
    before = versions(site)

    async def main(connection: Connection) -> None:
        replica = certificates(connection, site)
        outcomes = [await replica.refresh() for _ in range(3)]
        assert {each.result for each in outcomes} == {Result.REFUSED}

    inside(site.lab, main)
    assert versions(site) == before
    assert caplog.text.count("what this webhook did not make") == 1


def test_of_its_own_secret_what_became_unreadable_is_replaced(site: Namespace) -> None:
    async def main(connection: Connection) -> None:
        await certificates(connection, site).prepare()
        (old,) = await bundle_now(connection, site)
        fill(site, {"ca.key": b"-----BEGIN garbage"})
        async with serving(await certificates(connection, site).prepare()):
            new, kept = await bundle_now(connection, site)
            assert kept == old
            assert signed_by(await served(client([old]), "127.0.0.1"), old)
            assert new != old

    inside(site.lab, main)


def test_emptying_the_secret_replaces_the_ca_at_once(site: Namespace) -> None:
    async def main(connection: Connection) -> None:
        replica = certificates(connection, site)
        async with serving(await replica.prepare()):
            (old,) = await bundle_now(connection, site)
            site.patch("secret", SECRET, {"data": None})
            assert (await replica.refresh()).done
            (new,) = await bundle_now(connection, site)
            assert new != old
            assert signed_by(await served(client([new]), "127.0.0.1"), new)

    inside(site.lab, main)


def test_a_missing_secret_is_waited_for(asked: Namespace, caplog: pytest.LogCaptureFixture) -> None:
    async def main(connection: Connection) -> None:
        waiting = asyncio.ensure_future(certificates(connection, asked, every=OFTEN).prepare())

        async def told() -> bool:
            return f'Secret {SECRET}: secrets "{SECRET}" not found' in caplog.text

        await soon(told)
        assert not waiting.done()
        asked.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}})
        await asyncio.wait_for(waiting, 20)

    inside(asked.lab, main)
    assert sorted(secret(asked)["data"]) == KEYS


@pytest.fixture
def webhook(asked: Namespace, tmp_path: Path) -> Iterator[Webhook]:
    """The process itself, not started yet."""
    with Webhook(asked.lab, tmp_path / "webhook.log") as process:
        yield process


def test_a_webhook_without_a_certificate_is_not_ready(asked: Namespace, webhook: Webhook) -> None:
    webhook.start("--namespace", asked.name, wait=False)
    eventually(lambda: f'secrets "{SECRET}" not found' in webhook.log())
    assert stays(webhook.ready, seconds=2) is False
    asked.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}})
    eventually(webhook.ready)


def test_without_a_configuration_it_serves_and_says_that_nobody_asks(
    site: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    remove(site.lab, site.name)

    async def main(connection: Connection) -> None:
        replica = certificates(connection, site)
        await replica.prepare()
        assert (await replica.refresh()).result is Result.GONE
        assert f'"{site.name}" not found' in caplog.text
        configure(site.lab, site.name, name=site.name)
        assert (await replica.refresh()).done

    inside(site.lab, main)
    raw = site.get("mutatingwebhookconfiguration", site.name)
    assert [len(bundle) for bundle in bundles(raw)] == [1, 1]
    assert "all is in order again" in caplog.text


def test_a_secret_that_cannot_be_written_is_still_served(site: Namespace) -> None:
    async def main(connection: Connection) -> None:
        late = Clock(datetime.now(UTC))
        await certificates(connection, site).prepare()
        site.patch("secret", SECRET, {"immutable": True})
        late.set(datetime.now(UTC) + timedelta(days=70))
        replica = certificates(connection, site, now=late)
        async with serving(await replica.prepare()):
            bundle = await bundle_now(connection, site)
            assert signed_by(await served(client(bundle), "127.0.0.1"), bundle[0])
        outcome = await replica.refresh()
        assert outcome.result is Result.REFUSED
        assert "immutable" in outcome.message

    inside(site.lab, main)


@pytest.fixture
def account(installed: Lab, tmp_path: Path) -> Iterator[Path]:
    """A kubeconfig of the webhook's own ServiceAccount, with the rights that are shipped."""
    for name in ("namespace", "webhook-rbac", "webhook-tls"):
        installed.kubectl("apply", "-f", str(ROOT / "deploy/base" / f"{name}.yaml"))
    configure(installed, SYSTEM, name="sidecarpolicy")
    yield own_rights(installed, "webhook", tmp_path)
    remove(installed, "sidecarpolicy")


def test_the_shipped_rights_are_enough_and_name_one_secret(installed: Lab, account: Path) -> None:
    async def main() -> None:
        async with connect(str(account)) as connection:
            api = Api(connection)
            replica = Certificates(api, Site(SYSTEM, "sidecarpolicy-webhook"))
            await replica.prepare()
            assert (await replica.refresh()).done
            for refused in (
                await api.list_all(SECRETS, keep=str, namespace=SYSTEM),
                await api.get(SECRETS, name="another", namespace=SYSTEM),
                await api.get(WEBHOOK_CONFIGURATIONS, name="another"),
                await api.list_all(WEBHOOK_CONFIGURATIONS, keep=str),
            ):
                assert refused.result is Result.FORBIDDEN

    with installed.entered():
        uvloop.run(main())


def test_applying_the_manifests_again_undoes_nothing(installed: Lab, account: Path) -> None:
    async def main() -> None:
        async with connect(str(account)) as connection:
            await Certificates(Api(connection), Site(SYSTEM, "sidecarpolicy-webhook")).prepare()

    with installed.entered():
        uvloop.run(main())
    system = Namespace(installed, SYSTEM)
    before = secret(system)["data"]
    empty = (ROOT / "deploy/base/webhook-tls.yaml").read_text()
    plain = yaml.safe_dump(configuration(SYSTEM, name="sidecarpolicy"))
    for flags in ([], ["--server-side", "--force-conflicts", "--field-manager=flux"]):
        installed.kubectl("apply", *flags, "-f", "-", input=f"{empty}---\n{plain}")
        raw = system.get("mutatingwebhookconfiguration", "sidecarpolicy")
        assert [len(bundle) for bundle in bundles(raw)] == [1, 1]
        assert secret(system)["data"] == before
    assert sorted(before) == KEYS
