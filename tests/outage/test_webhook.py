"""The webhook when something goes: the API server, etcd, and the webhook's own processes."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab import Lab, api
from tests.support import admission
from tests.support.admission import every, known, names, pod
from tests.support.cluster import Namespace
from tests.support.processes import Webhook, warnings
from tests.support.service import Service
from tests.support.waiting import eventually

JSON = dict[str, Any]
FIRST, SECOND = 9444, 9445


@dataclass
class Replicas:
    """Two processes of the webhook, and what stands before them."""

    service: Service
    first: Webhook
    second: Webhook


@pytest.fixture
def replicas(cluster: Lab, tmp_path: Path) -> Iterator[Replicas]:
    """The first runs, and gets all reviews."""
    admission.install(cluster)
    rights = admission.own_rights(cluster, "webhook", tmp_path)

    def webhook(port: int, health: int) -> Webhook:
        log = tmp_path / f"{port}.log"
        return Webhook(cluster, log, kubeconfig=rights, port=port, health=health, leave_seconds=3)

    with (
        Service(9443, FIRST).serving(cluster) as service,
        webhook(FIRST, 8081) as first,
        webhook(SECOND, 8082) as second,
    ):
        first.start("--log-format", "json")
        eventually(lambda: admission.trusted(cluster))
        yield Replicas(service, first, second)


@pytest.fixture
def space(shop: Namespace, replicas: Replicas) -> Namespace:
    """A namespace with a policy that the webhook knows."""
    assert replicas.first.running()
    # After an outage, Kubernetes' own controllers need a minute to get going again.
    eventually(lambda: "default" in shop.kubectl("get", "sa", "-o", "name"), seconds=90)
    known(shop, every())
    return shop


@dataclass
class Load:
    """Pods that were asked for, one after the other: status, sidecars, seconds."""

    answers: list[tuple[int, list[str], float]] = field(default_factory=list)

    @property
    def statuses(self) -> set[int]:
        return {status for status, _, _ in self.answers}

    @property
    def without(self) -> int:
        """How many came without their sidecar."""
        return sum(not sidecars for _, sidecars, _ in self.answers)

    @property
    def longest(self) -> float:
        return max(seconds for _, _, seconds in self.answers)


def create(space: Namespace) -> tuple[int, list[str], float]:
    """One Pod as a dry run."""
    path = f"/api/v1/namespaces/{space.name}/pods?dryRun=All"
    start = time.monotonic()
    answer = api.request(space.lab.layout, "POST", path, pod("probe"))
    seconds = time.monotonic() - start
    spec = answer.json()["spec"] if answer.status == 201 else {}
    return answer.status, names(spec), seconds


@contextmanager
def load(space: Namespace) -> Iterator[Load]:
    """Four clients create Pods while this lasts."""
    made, ended = Load(), threading.Event()

    def work() -> None:
        while not ended.is_set():
            made.answers.append(create(space))

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(work) for _ in range(4)]
        try:
            yield made
        finally:
            ended.set()
    for each in clients:
        each.result()


def more(found: Load, count: int) -> None:
    """Waits until so many more were created."""
    wanted = len(found.answers) + count
    eventually(lambda: len(found.answers) >= wanted)


def test_a_rolling_restart_under_load_drops_no_review(space: Namespace, replicas: Replicas) -> None:
    with load(space) as found:
        more(found, 20)
        replicas.second.start("--log-format", "json")
        replicas.first.tell()
        more(found, 20)  # it goes on, for proxies learn late that it is going
        replicas.service.target = SECOND
        assert replicas.first.stop() == 0
        more(found, 20)
    assert found.statuses == {201}
    assert found.without == 0


def test_with_the_webhook_killed_under_load_everything_is_created_in_time(
    space: Namespace, replicas: Replicas
) -> None:
    with load(space) as found:
        more(found, 20)
        replicas.first.kill()
        more(found, 20)
    assert found.statuses == {201}
    assert found.without >= 16
    assert found.longest < 4  # the webhook's timeout is 2 seconds


def test_with_a_webhook_that_hangs_everything_is_created_after_its_timeout(
    space: Namespace, replicas: Replicas
) -> None:
    with replicas.first.stopped():
        status, sidecars, seconds = create(space)
    assert (status, sidecars) == (201, [])
    assert 2 <= seconds < 4
    eventually(lambda: create(space)[1] == ["shipper"])


def lose_api_server(lab: Lab) -> None:
    lab.stop_api_server()
    lab.start_api_server()


def lose_api_server_for_longer(lab: Lab) -> None:
    lab.stop_api_server()
    time.sleep(12)  # longer than the longest pause of a watch that tries again
    lab.start_api_server()


def lose_etcd_and_api_server(lab: Lab) -> None:
    lab.stop_api_server()
    lab.restart_etcd()
    lab.start_api_server()


@pytest.mark.parametrize(
    "lose",
    [Lab.restart_etcd, lose_api_server, lose_api_server_for_longer, lose_etcd_and_api_server],
    ids=["etcd", "the API server", "the API server for longer", "both"],
)
def test_the_webhook_outlives_a_crash_of(
    lose: Callable[[Lab], None], space: Namespace, replicas: Replicas
) -> None:
    lab = space.lab
    lose(lab)
    eventually(lambda: api.request(lab.layout, "GET", "/readyz").status == 200)
    space.apply(every(sidecars=[{"name": "newer", "image": "lab.local/busybox:1"}]))
    eventually(lambda: create(space)[1] == ["newer"], seconds=30)
    assert replicas.first.running()
    assert replicas.first.ready()
    said = warnings(replicas.first.log())
    assert [each for each in said if "interrupted" not in each and "Certificates" not in each] == []
