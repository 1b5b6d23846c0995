"""What a running controller tells Prometheus and the kubelet."""

from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from tests.support.cluster import Namespace, deployment, policy
from tests.support.processes import CONTROLLER_HEALTH, Controller
from tests.support.waiting import eventually

PREFIX = "sidecarpolicy_controller_"


def samples(shop: Namespace) -> dict[str, float]:
    """Values by name and labels, as `writes_total deployments done`."""
    text = answer(shop, "/metrics")
    return {
        " ".join([each.name.removeprefix(PREFIX), *each.labels.values()]): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def answer(shop: Namespace, path: str) -> str:
    url = f"http://127.0.0.1:{CONTROLLER_HEALTH}{path}"
    with shop.lab.entered(), urlopen(url, timeout=10) as response:
        return str(response.read().decode())


def test_prometheus_sees_what_there_is_and_what_was_done(
    shop: Namespace, controller: Controller
) -> None:
    shop.apply(policy(), deployment("web"), deployment("api"))
    shop.wait_status("log-shipper", current=2)
    found = eventually(
        lambda: samples(shop), until=lambda now: now["workloads SidecarPolicy current"] == 2
    )
    assert found["leader"] == 1
    assert (found["nodes true"], found["nodes rejects"]) == (1, 1)
    assert found["writes_total deployments done"] == 2
    assert found["writes_total sidecarpolicies/status done"] >= 1
    assert found["reconcile_seconds_count"] >= 2
    assert found["queue_depth nodes"] == 0
    # Watches are ended and opened anew, so this stays low in an idle cluster, too.
    assert 0 <= found["watch_age_seconds"] < 60
    assert answer(shop, "/healthz") == "ok\n"
    assert controller.running()
