"""A control plane of these tests' own: who comes after an outage finds things out of order."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from lab import Lab
from tests.support.cluster import CRDS, Namespace
from tests.support.labs import lab_for


@pytest.fixture(scope="session")
def cluster() -> Iterator[Lab]:
    """A control plane with our CRDs and a capable node."""
    lab = lab_for("outage")
    lab.down()
    lab.up()
    lab.kubectl("apply", "-f", str(CRDS))
    lab.kubectl("wait", "--for=condition=Established", "-f", str(CRDS), "--timeout=30s")
    lab.add_fake_nodes(1, kubelet="1.36.3", prefix="new")
    yield lab
    lab.down()


@pytest.fixture
def shop(cluster: Lab) -> Iterator[Namespace]:
    """A namespace of the test's own; the API server is up again after it."""
    name = f"shop-{uuid4().hex[:6]}"
    cluster.kubectl("create", "namespace", name)
    yield Namespace(cluster, name)
    cluster.start_api_server()
    cluster.kubectl("delete", "namespace", name, "--wait=false")
