"""Mounts of volumes that Pods would not have."""

from typing import Any

import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.inject import Action, Injection, Verdict, inject
from sidecarpolicy.core.ownership import NodeRuleSite
from tests.support.builders import JSON, sidecar, template, wish

LOGS = {"name": "logs", "emptyDir": {}}
MOUNTS = [{"name": "logs", "mountPath": "/logs"}]
MOUNTING = sidecar(volumeMounts=MOUNTS)


def injected(pods: Any, *wishes: Any, claims: frozenset[str] = frozenset()) -> Injection:
    verdicts = [Verdict(each.key, Action.APPLY, each) for each in wishes]
    return inject(pods, verdicts, site=NodeRuleSite.AFFINITY, claims=claims)


def said(injection: Injection) -> list[str]:
    found = [each for findings in injection.obstacles.values() for each in findings]
    assert {each.reason for each in found} <= {Reason.VOLUME_MISSING}
    return [each.message for each in found]


@pytest.mark.parametrize(
    ("fields", "who"),
    [
        ({"sidecars": [MOUNTING]}, "sidecar 'shipper'"),
        ({"sidecars": [sidecar(volumeDevices=[{"name": "logs"}])]}, "sidecar 'shipper'"),
        ({"appContainers": {"volumeMounts": MOUNTS}}, "appContainers"),
    ],
    ids=["a sidecar", "a sidecar, as a device", "the application's containers"],
)
def test_nothing_is_added_if_a_volume_is_missing_for(fields: JSON, who: str) -> None:
    result = injected(template(), wish(**fields))
    assert said(result) == [
        f"{who} mounts volume 'logs', which neither the Pod template nor the policy has; add it to "
        "one of them"
    ]
    assert result.template == template()


def test_a_volume_may_be_the_policys_the_workloads_a_claim_or_an_earlier_policys() -> None:
    mounting = wish(sidecars=[MOUNTING])
    assert said(injected(template(), wish(sidecars=[MOUNTING], volumes=[LOGS]))) == []
    assert said(injected(template(volumes=[LOGS]), mounting)) == []
    assert said(injected(template(), mounting, claims=frozenset({"logs"}))) == []
    assert (
        said(
            injected(template(), wish("earlier", sidecars=[sidecar("e")], volumes=[LOGS]), mounting)
        )
        == []
    )


def test_a_volume_of_its_own_that_a_policy_drops_is_none() -> None:
    before = injected(template(), wish(sidecars=[MOUNTING], volumes=[LOGS])).template
    assert len(said(injected(before, wish(sidecars=[MOUNTING])))) == 1
