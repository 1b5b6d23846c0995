"""The end of the operator's life here. Last of its folder."""

from lab import Lab
from tests.e2e.conftest import SYSTEM
from tests.e2e.test_main_job import app, sidecar
from tests.support.cluster import ROOT, Namespace, policy


def test_removing_everything_at_once_leaves_nothing_stuck(operator: Lab, shop: Namespace) -> None:
    shop.apply(app(replicas=1), policy(sidecars=[sidecar()]))
    shop.wait_status("log-shipper", current=1, seconds=60)
    operator.kubectl("delete", "-k", str(ROOT), "--timeout=60s")
    assert operator.kubectl("get", "crd", "-o", "name") == ""
    remaining = operator.kubectl("get", "namespace", SYSTEM, "--ignore-not-found")
    assert remaining == ""
    assert shop.sidecars("web") == ["shipper"]
    operator.kubectl("delete", "namespace", shop.name, "--timeout=60s")
    operator.kubectl("create", "namespace", shop.name)  # for the fixture's own clean-up
