"""Pausing: it stops at once, also amid a wave, and what went on meanwhile is not done twice."""

from tests.support.audit import writes
from tests.support.cluster import JSON, Namespace, deployment, persisted, policy
from tests.support.processes import Controller
from tests.support.waiting import eventually

MANY = 300


def patches(shop: Namespace) -> list[JSON]:
    """What we wrote to Deployments."""
    mine = (e for e in writes(shop.lab) if e["objectRef"].get("namespace") == shop.name)
    return [e for e in mine if persisted([e]) and e["objectRef"].get("resource") == "deployments"]


def generations(shop: Namespace) -> list[int]:
    return sorted(each["metadata"]["generation"] for each in shop.all("deployment"))


def test_a_pause_amid_a_wave_stops_it_and_a_newer_revision_reaches_each_workload_once(
    shop: Namespace, controller: Controller
) -> None:
    names = [f"web-{number:03}" for number in range(MANY)]
    shop.apply(*(deployment(name) for name in names))
    shop.apply(policy(rollout={"maxConcurrent": "100%"}))
    eventually(lambda: any(each > 1 for each in generations(shop)))
    with controller.stopped():  # so that the wave is not over before the pause is there
        shop.patch("scpol", "log-shipper", {"spec": {"paused": True}})
    stopped = shop.wait_status("log-shipper", seconds=90, matched=MANY)
    before = patches(shop)
    done = stopped["workloads"]["current"] + stopped["workloads"]["updating"]
    assert len(before) == done
    assert 0 < done < MANY
    newer = [{"name": "courier", "image": "lab.local/busybox:1"}]
    shop.patch("scpol", "log-shipper", {"spec": {"paused": False, "sidecars": newer}})
    shop.wait_status("log-shipper", seconds=90, current=MANY)
    assert generations(shop) == [2] * (MANY - done) + [3] * done
