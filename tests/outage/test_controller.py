"""The controller when the API server goes and comes back."""

import time
from pathlib import Path

from tests.support.cluster import Namespace, deployment, policy
from tests.support.processes import Controller
from tests.support.waiting import eventually


def test_an_api_server_that_is_away_for_a_minute_is_waited_for(
    shop: Namespace, tmp_path: Path
) -> None:
    with Controller(shop.lab, tmp_path / "controller.log") as controller:
        controller.start("--log-format", "json")
        shop.apply(policy(), deployment("web"))
        shop.wait_status("log-shipper", current=1)
        shop.lab.stop_api_server()
        time.sleep(60)
        assert controller.running()
        shop.lab.start_api_server()
        shop.apply(deployment("api"))
        eventually(lambda: shop.sidecars("api"), seconds=30)
        shop.wait_status("log-shipper", matched=2, pending=0)
        assert shop.get("deployment", "web")["metadata"]["generation"] == 2
        assert controller.running()
