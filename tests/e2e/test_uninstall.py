"""The end of the operator's life here. Last of its folder."""

from lab import Lab
from tests.e2e.conftest import SYSTEM, install, node_labels
from tests.e2e.test_main_job import app, sidecar
from tests.support.cluster import ROOT, Namespace, policy
from tests.support.removal import everything, of_the_operator, traces, uninstall
from tests.support.users import admin
from tests.support.waiting import eventually


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


def test_the_command_takes_everything_back_while_the_operator_runs(
    operator: Lab, shop: Namespace
) -> None:
    install(operator)
    shop.apply(app(replicas=1))
    before = shop.pods_template("web")
    shop.apply(policy(sidecars=[sidecar()]))
    shop.wait_status("log-shipper", current=1, seconds=60)
    assert shop.sidecars("web") == ["shipper"]
    done = uninstall(admin(operator), "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (shop.pods_template("web"), of_the_operator(everything(operator))) == (before, [])
    assert set(node_labels(operator).values()) == {None}
    # Pods of before, and of other tests, are still ending.
    eventually(lambda: traces(everything(operator)), until=lambda left: left == [], seconds=60)
    rolled = ("rollout", "status", "deployment/web", "--timeout=60s")
    shop.kubectl(*rolled)
