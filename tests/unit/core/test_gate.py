"""Is it the API server itself that drops the field?"""

import pytest

from sidecarpolicy.core.gate import Gate, by_comparison, by_metric, by_version
from sidecarpolicy.core.reading import Answer


@pytest.mark.parametrize(
    ("version", "gate"),
    [
        pytest.param("v1.27.16", Gate.OFF, id="1.27 does not know the field"),
        pytest.param("v1.28.15", Gate.UNKNOWN, id="1.28 has it off by default"),
        pytest.param("v1.31.0", Gate.UNKNOWN, id="1.31 has it on by default"),
        pytest.param("v1.33.0-eks-1", Gate.ON, id="1.33 cannot turn it off"),
        pytest.param("v1.40.0", Gate.ON, id="later ones have no gate any more"),
        pytest.param("", Gate.UNKNOWN, id="no version"),
    ],
)
def test_the_version_decides_where_the_gate_cannot_be_switched(version: str, gate: Gate) -> None:
    assert by_version(version) is gate


@pytest.mark.parametrize(
    ("line", "gate"),
    [
        ('kubernetes_feature_enabled{name="SidecarContainers",stage="BETA"} 0', Gate.OFF),
        ('kubernetes_feature_enabled{name="SidecarContainers",stage=""} 1', Gate.ON),
        ("", Gate.UNKNOWN),
        ('kubernetes_feature_enabled{name="SidecarContainers",stage=""} odd', Gate.UNKNOWN),
    ],
    ids=["off", "on", "an absent metric is no no", "an odd value"],
)
def test_the_metric_says_how_it_is_switched(line: str, gate: Gate) -> None:
    assert by_metric(line) is gate


@pytest.mark.parametrize(
    ("elsewhere", "webhooks", "gate"),
    [
        pytest.param(Answer.PRESERVED, True, Gate.ON, id="kept elsewhere"),
        pytest.param(Answer.LOST, False, Gate.OFF, id="lost where no webhook is asked"),
        pytest.param(Answer.LOST, True, Gate.UNKNOWN, id="lost there, maybe by a webhook"),
        pytest.param(Answer.INCONCLUSIVE, False, Gate.UNKNOWN, id="no answer there"),
    ],
)
def test_another_namespace_tells_the_gate_from_a_webhook(
    elsewhere: Answer, webhooks: bool, gate: Gate
) -> None:
    assert by_comparison(elsewhere, webhooks_there=webhooks) is gate
