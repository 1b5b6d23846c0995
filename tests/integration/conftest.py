"""A real control plane for all tests here; its nodes are objects without kubelets."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from lab import Lab
from tests.support import admission
from tests.support.authors import INSTALLED, POLICY, refusal
from tests.support.cluster import CRDS, Namespace, policy
from tests.support.labs import lab_for
from tests.support.processes import Controller, Webhook
from tests.support.users import User, let_write_policies, person
from tests.support.waiting import eventually


@pytest.fixture(scope="session")
def cluster() -> Iterator[Lab]:
    """A control plane without nodes."""
    lab = lab_for("integration")
    lab.down()
    lab.up()
    yield lab
    lab.down()


@pytest.fixture(scope="session")
def installed(cluster: Lab) -> Lab:
    """The control plane with our CRDS."""
    cluster.kubectl("apply", "-f", str(CRDS))
    cluster.kubectl("wait", "--for=condition=Established", "-f", str(CRDS), "--timeout=30s")
    return cluster


@pytest.fixture(scope="session")
def spare() -> Iterator[Lab]:
    """Another control plane, for tests that take CRDs away; with a node whose Pods kwok plays."""
    lab = lab_for("spare")
    lab.down()
    lab.up()
    try:
        lab.add_fake_nodes(1, kubelet="1.36.3", prefix="new")
        yield lab
    finally:
        lab.down()


@pytest.fixture
def capable(installed: Lab) -> Lab:
    """The cluster with one capable node and one that is not."""
    installed.add_fake_nodes(1, kubelet="1.36.3", prefix="new")
    installed.add_fake_nodes(1, kubelet="1.28.15", prefix="old")
    return installed


@pytest.fixture
def shop(installed: Lab) -> Iterator[Namespace]:
    """A namespace of the test's own."""
    name = f"shop-{uuid4().hex[:6]}"
    installed.kubectl("create", "namespace", name)
    yield Namespace(installed, name)
    installed.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def controller(capable: Lab, tmp_path: Path) -> Iterator[Controller]:
    """A running controller."""
    with Controller(capable, tmp_path / "controller.log") as process:
        process.start("--log-format", "json")
        yield process


@pytest.fixture(scope="module")
def processes(
    cluster: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Controller, Webhook]]:
    """Controller and webhook, each with the rights of its own ServiceAccount."""
    with admission.running(cluster, tmp_path_factory.mktemp("processes")) as both:
        yield both


@pytest.fixture
def space(cluster: Lab, processes: tuple[Controller, Webhook]) -> Iterator[Namespace]:
    """A namespace of the test's own; both processes run."""
    for process in processes:
        if not process.running():
            process.start("--log-format", "json")
    name = f"space-{uuid4().hex[:6]}"
    cluster.kubectl("create", "namespace", name)
    yield Namespace(cluster, name)
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def alice(installed: Lab) -> User:
    """Somebody who may do nothing yet; from here on, the API server checks authors."""
    installed.kubectl("apply", *INSTALLED)
    installed.kubectl("create", "namespace", "authors-probe")
    probe, user = Namespace(installed, "authors-probe"), person(installed, "alice")
    let_write_policies(probe, user)
    eventually(lambda: POLICY in refusal(user, probe, policy()))
    installed.kubectl("delete", "namespace", probe.name, "--wait=false")
    return user


@pytest.fixture
def author(alice: User, shop: Namespace) -> User:
    """Alice, who may write policies in the shop, and nothing else."""
    let_write_policies(shop, alice)
    return alice
