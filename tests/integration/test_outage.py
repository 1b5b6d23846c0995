"""The API server goes and comes back. Last of its folder: Kubernetes' own controllers, too,
need a minute after it to get going again.
"""

import time

from tests.support.cluster import Namespace, deployment, policy
from tests.support.processes import Controller
from tests.support.waiting import eventually


def test_an_api_server_that_is_away_for_a_minute_is_waited_for(
    shop: Namespace, controller: Controller
) -> None:
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
