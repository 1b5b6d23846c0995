"""Two controllers, one Lease: only who holds it writes, whatever becomes of the other."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lab import Lab
from tests.support.admission import SYSTEM
from tests.support.cluster import Namespace, deployment, persisted, policy
from tests.support.replicas import LEASE, Replica, holder, led_by, replicas
from tests.support.users import User
from tests.support.waiting import at_rest, eventually, stays

JSON = dict[str, Any]
MANY = 60


@pytest.fixture
def pair(capable: Lab, tmp_path: Path) -> Iterator[tuple[Replica, Replica]]:
    """The first leads, the second waits."""
    with replicas(capable, tmp_path, "first", "second") as (first, second):
        first.start()
        led_by(capable, "first")
        second.start()
        yield first, second


def test_a_standby_is_ready_and_writes_nothing_until_the_leader_is_gone(
    shop: Namespace, pair: tuple[Replica, Replica]
) -> None:
    first, second = pair
    shop.apply(policy(), deployment("web"))
    shop.wait_status("log-shipper", current=1)
    assert second.process.ready()
    killed = datetime.now(UTC)
    first.process.kill()
    assert second.requests() == []
    shop.apply(deployment("api"))
    led_by(shop.lab, "second")
    failover = (min(_times(second.requests(), LEASE)) - killed).total_seconds()
    print(f"failover after kill -9: {failover:.1f} s")  # noqa: T201
    assert failover < 20
    shop.wait_status("log-shipper", current=2)
    assert shop.get("deployment", "web")["metadata"]["generation"] == 2


def test_after_an_orderly_end_the_standby_leads_at_once(
    shop: Namespace, pair: tuple[Replica, Replica]
) -> None:
    first, second = pair
    told = time.monotonic()
    assert first.process.stop() == 0
    assert holder(shop.lab) in ("", "second")
    led_by(shop.lab, "second", seconds=10)
    handover = time.monotonic() - told
    print(f"handover: {handover:.1f} s")  # noqa: T201
    assert handover < 10
    shop.apply(policy(), deployment("web"))
    shop.wait_status("log-shipper", current=1)
    assert second.process.running()


def test_a_leader_that_was_stopped_writes_nothing_more_and_ends(
    shop: Namespace, pair: tuple[Replica, Replica]
) -> None:
    first, second = pair
    shop.apply(*(deployment(f"web-{number}") for number in range(MANY)))
    shop.apply(policy(rollout={"maxConcurrent": "100%"}))
    # In the middle of it: some are written, others are on their way.
    eventually(lambda: len([e for e in first.written() if "deployments" in e]) >= 3)
    with first.process.stopped():
        stopped = datetime.now(UTC)
        led_by(shop.lab, "second")
        failover = (min(_times(second.requests(), LEASE)) - stopped).total_seconds()
        print(f"failover after SIGSTOP: {failover:.1f} s")  # noqa: T201
        assert failover < 20
        shop.wait_status("log-shipper", current=MANY, seconds=60)
    eventually(lambda: not first.process.running(), seconds=5)
    assert first.process.stop() == 1
    assert "the Lease is lost" in first.process.log()
    # What it had handed to a connection before it was stopped may arrive late, and is refused.
    begun = min(_times(second.requests(), LEASE))
    late = [each for each in first.requests() if _time(each) >= begun]
    print(f"sent late and refused: {len(late)}")  # noqa: T201
    assert [each for each in late if each["responseStatus"]["code"] < 400] == []
    assert _times(late, LEASE) == []
    found = shop.all("deployment")
    assert [each["metadata"]["generation"] for each in found] == [2] * MANY


def test_idle_controllers_write_nothing_but_the_lease(
    shop: Namespace, pair: tuple[Replica, Replica]
) -> None:
    first, second = pair
    shop.apply(policy(), deployment("web"))
    shop.wait_status("log-shipper", current=1)
    at_rest(lambda: len(first.written()), seconds=3)  # Events are told a little later
    before = len(first.requests())
    stays(lambda: (first.written(), second.requests()), seconds=8)
    since = persisted(first.requests()[before:])
    assert set(since) == {("patch", f"leases/{LEASE}")}
    assert 3 <= len(since) <= 6


def test_its_rights_reach_one_lease_and_no_other(
    installed: Lab, pair: tuple[Replica, Replica]
) -> None:
    refused = [e for each in pair for e in each.requests() if e["responseStatus"]["code"] == 403]
    assert refused == []
    name = f"system:serviceaccount:{SYSTEM}:sidecarpolicy-controller"
    user = User(installed, name, pair[0].process.kubeconfig)
    own = ("-n", SYSTEM)
    assert user.may("patch", f"leases/{LEASE}", *own)
    assert not user.may("patch", "leases/another", *own)
    assert not user.may("delete", f"leases/{LEASE}", *own)
    assert not user.may("list", "leases", *own)
    assert not user.may("create", "leases", "-n", "kube-system")


def test_people_read_in_the_lease_who_leads_since_when(
    installed: Lab, pair: tuple[Replica, Replica]
) -> None:
    assert all(each.process.running() for each in pair)
    found = json.loads(installed.kubectl("-n", SYSTEM, "get", "lease", LEASE, "-o", "json"))
    spec: JSON = found["spec"]
    assert spec["holderIdentity"] == "first"
    assert spec["leaseDurationSeconds"] == 15
    assert spec["leaseTransitions"] == 0
    assert datetime.fromisoformat(spec["acquireTime"]) <= datetime.fromisoformat(spec["renewTime"])


def _time(event: JSON) -> datetime:
    """When the API server got the request."""
    return datetime.fromisoformat(event["requestReceivedTimestamp"])


def _times(events: list[JSON], name: str) -> list[datetime]:
    return [_time(each) for each in events if each["objectRef"].get("name") == name]
