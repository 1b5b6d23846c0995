"""The end of the operator's life here: what it had done, and its removal. Last of its folder."""

from lab import Lab
from tests.e2e.conftest import SYSTEM, operator_log
from tests.e2e.test_main_job import app, sidecar
from tests.support.cluster import ROOT, Namespace, persisted, policy, writes
from tests.support.processes import warnings


def test_its_rights_are_enough_and_its_log_has_no_complaints(operator: Lab) -> None:
    denied = [
        (event["verb"], event["objectRef"]["resource"])
        for event in writes(operator)
        if event["responseStatus"]["code"] == 403
    ]
    assert denied == []
    complaints = [each for each in warnings(operator_log(operator)) if "next try in" not in each]
    assert complaints == []
    assert {what.partition("/")[0] for _, what in persisted(writes(operator))} <= {
        "nodes", "deployments", "daemonsets", "cronjobs", "sidecarpolicies",
        "secrets", "mutatingwebhookconfigurations", "events",
    }  # fmt: skip


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
