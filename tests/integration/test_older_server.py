"""The oldest API server that the lab has, as one that real clusters still run."""

import json
from collections.abc import Iterator

import pytest

from lab import Lab
from tests.support.cluster import CRDS, Namespace, policy
from tests.support.labs import lab_for


@pytest.fixture
def older() -> Iterator[Lab]:
    """An API server 1.31 whose gate for native sidecars is off."""
    lab = lab_for("older")
    lab.down()
    lab.up(version="1.31.0", api_server_flags=("--feature-gates=SidecarContainers=false",))
    yield lab
    lab.down()


def test_an_api_server_1_31_takes_the_crd_and_fills_in_the_defaults(older: Lab) -> None:
    applied = older.run(["kubectl", "apply", "-f", str(CRDS)])
    assert applied.stderr == ""
    older.kubectl("wait", "--for=condition=Established", "-f", str(CRDS), "--timeout=30s")
    default = Namespace(older, "default")
    default.apply(policy())
    stored = default.get("scpol", "log-shipper")
    assert {"kind": "Deployment"} in stored["spec"]["targets"]
    assert stored["status"] == {"observedGeneration": -1}
    assert json.loads(older.kubectl("version", "-o", "json"))["serverVersion"]["minor"] == "31"
