"""A policy with more levels than programs read: whoever may write one must not end the operator."""

import json

from tests.support.admission import every, known
from tests.support.cluster import Namespace, policy
from tests.support.doctors import printed
from tests.support.processes import Controller, Webhook
from tests.support.users import admin
from tests.support.waiting import eventually

LEVELS = 9900
"""The API server takes 10,000; Python gives up at a thousand if nobody tells it not to."""
ACCEPTED = "jsonpath={.status.conditions[?(@.type=='Accepted')].message}"


def nested(name: str) -> str:
    """As text, because this process would not write it either."""
    deep = policy(name, sidecars=[{"name": "shipper", "image": "x", "xFuture": "DEEP"}])
    value = '{"x":' * LEVELS + "1" + "}" * LEVELS
    return json.dumps(deep).replace('"DEEP"', value)


def test_a_policy_with_too_many_levels_is_invalid_and_ends_nobody(
    space: Namespace, processes: tuple[Controller, Webhook]
) -> None:
    space.lab.kubectl("-n", space.name, "create", "-f", "-", input=nested("deep"))
    try:
        said = eventually(lambda: space.kubectl("get", "scpol", "deep", "-o", ACCEPTED))
        assert "xFuture has too many levels" in said
        known(space, every())
        processes[1].stop()
        processes[1].start("--log-format", "json")
        known(space, every("second"))
        assert all(each.running() for each in processes)
        _, _, output = printed(admin(space.lab), "-n", space.name)
        assert f"SidecarPolicy {space.name}/deep" in output
    finally:
        space.kubectl("delete", "scpol", "deep")
