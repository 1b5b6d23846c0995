"""The oldest API server that the lab has, as one that real clusters still run."""

import json
from collections.abc import Iterator

import pytest

from lab import Lab
from tests.support.authors import INSTALLED, PODS, WORKLOADS, may_not, refusal
from tests.support.cluster import CRDS, Namespace, policy
from tests.support.labs import lab_for
from tests.support.users import grant, let_write_policies, person
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
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


def test_an_api_server_1_31_checks_authors(older: Lab) -> None:
    older.kubectl("apply", "-f", str(CRDS))
    assert older.run(["kubectl", "apply", *INSTALLED]).stderr == ""
    alice, default = person(older, "alice"), Namespace(older, "default")
    let_write_policies(default, alice)
    wanted, lacked = policy("checked"), may_not(alice, default, "patch deployments")
    eventually(lambda: refusal(alice, default, wanted).endswith(lacked))
    grant(default, alice, [*WORKLOADS, PODS])
    assert refusal(alice, default, wanted) == ""
