"""Policies with anything in place of any of their fields: said to be invalid, or carried out.

The CRD keeps containers and volumes as they are, and whoever may write a policy in one namespace
must not be able to end a process that works for all.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from sidecarpolicy.core.desired import Desired
from sidecarpolicy.core.facts import PolicyFacts, policy_facts
from sidecarpolicy.core.inject import Action, Verdict, inject
from sidecarpolicy.core.marker import read_markers, size, with_markers
from sidecarpolicy.core.overhead import by_policy
from sidecarpolicy.core.ownership import NodeRuleSite
from sidecarpolicy.core.trialpods import neutral_sample
from tests.support.builders import policy_object, template

JSON = dict[str, Any]

DEEP: Final[Any] = json.loads("[" * 600 + "]" * 600)
ODD: Final[tuple[Any, ...]] = (None, True, -1, 1.5, "", "text", [], ["x"], [[]], {}, {"x": 1}, DEEP)
PROBE: Final[JSON] = {"exec": {"command": ["true"]}, "failureThreshold": 3}
SIDECAR: Final[JSON] = {
    "name": "shipper",
    "image": "shipper:1",
    "command": ["ship"],
    "args": ["--all"],
    "workingDir": "/",
    "restartPolicy": "Always",
    "imagePullPolicy": "Always",
    "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP", "hostPort": 80}],
    "env": [
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ],
    "envFrom": [{"configMapRef": {"name": "all"}, "prefix": "X"}],
    "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}, "claims": [{"name": "gpu"}]},
    "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
    "volumeMounts": [{"name": "logs", "mountPath": "/logs", "subPath": "x"}],
    "volumeDevices": [{"name": "disk", "devicePath": "/dev/x"}],
    "startupProbe": PROBE,
    "livenessProbe": {"httpGet": {"port": "http", "path": "/", "httpHeaders": [{"name": "x"}]}},
    "readinessProbe": {"tcpSocket": {"port": "http"}, "grpc": {"port": 80, "service": "x"}},
    "lifecycle": {"preStop": {"exec": {"command": ["true"]}, "sleep": {"seconds": 1}}},
    "securityContext": {"runAsUser": 1, "seLinuxOptions": {"level": "s0"}, "privileged": False},
}
SPEC: Final[JSON] = {
    "selector": {
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "a", "operator": "Exists"}],
    },
    "targets": [{"kind": "Deployment", "name": "web"}],
    "sidecars": [SIDECAR],
    "universal": {"image": "busybox"},
    "order": [{"sidecar": "shipper", "before": ["a"], "after": ["b"]}],
    "volumes": [{"name": "logs", "emptyDir": {}}, {"name": "disk", "secret": {"secretName": "x"}}],
    "imagePullSecrets": [{"name": "regcred"}],
    "appContainers": {
        "names": ["web"],
        "volumeMounts": [{"name": "logs", "mountPath": "/x"}],
        "env": [{"name": "A", "value": "1"}],
    },
    "minTerminationGracePeriodSeconds": 45,
    "rollout": {"maxConcurrent": "10%"},
}
Way = tuple[str | int, ...]


def ways(value: Any, way: Way = ()) -> Iterator[Way]:
    """To the value and all that is in it."""
    yield way
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from ways(each, (*way, key))


def replaced(value: Any, way: Way, odd: Any) -> Any:
    if not way:
        return odd
    first, *rest = way
    copy = value.copy()
    copy[first] = replaced(value[first], tuple(rest), odd)
    return copy


def variants(spec: JSON) -> Iterator[tuple[Way, PolicyFacts]]:
    for way in ways(spec):
        for odd in ODD:
            if way:
                made = policy_object()
                yield way, policy_facts({**made, "spec": replaced(spec, way, odd)})


def carried_out(facts: PolicyFacts, wish: Desired) -> None:
    """All that is done with a wish that could be read."""
    verdict = Verdict(wish.key, Action.APPLY, wish)
    for restart_policy in ("Always", "Never"):
        pods = template(restartPolicy=restart_policy)
        by_policy(inject(pods, [verdict], site=NodeRuleSite.AFFINITY).template)
    read_markers(with_markers(template(), {wish.key: wish}))
    size(wish)
    neutral_sample(facts, wish)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="Native"),
        pytest.param({"mode": "Universal"}, id="Universal"),
        pytest.param(
            {"adopt": [{"container": "web", "startupFromReadiness": True}]}, id="adopting"
        ),
    ],
)
def test_no_policy_ends_the_process_that_reads_it(more: JSON) -> None:
    read = invalid = 0
    for way, facts in variants({**SPEC, **more}):
        if facts.desired is None:
            assert facts.invalid, way
            invalid += 1
        else:
            carried_out(facts, facts.desired)
            read += 1
    assert min(read, invalid) > 300
