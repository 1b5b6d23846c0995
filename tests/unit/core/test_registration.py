"""Whether a webhook configuration has the API server ask about new Pods."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecarpolicy.core.registration import sees_pods

JSON = dict[str, Any]
SHIPPED = Path(__file__).resolve().parents[3] / "deploy" / "base" / "webhook.yaml"


def shipped() -> JSON:
    """Our own configuration, as a webhook that runs has completed it."""
    objects = yaml.safe_load_all(SHIPPED.read_text())
    found: JSON = next(e for e in objects if e["kind"] == "MutatingWebhookConfiguration")
    for webhook in found["webhooks"]:
        webhook["clientConfig"]["caBundle"] = "Cg=="
    return found


def without(**fields: Any) -> JSON:
    """The same with other fields in the rules of all webhooks."""
    made = shipped()
    for webhook in made["webhooks"]:
        webhook["rules"] = [{**rule, **fields} for rule in webhook["rules"]]
    return made


EVERYTHING = {"resources": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"]}


def untrusted() -> JSON:
    made = shipped()
    for webhook in made["webhooks"]:
        del webhook["clientConfig"]["caBundle"]
    return made


@pytest.mark.parametrize(
    ("configuration", "sees"),
    [
        pytest.param(shipped(), True, id="is ours"),
        pytest.param(without(**EVERYTHING), True, id="is about everything"),
        pytest.param(without(resources=["pods/*"]), True, id="is about Pods and what is below"),
        pytest.param(without(apiVersions=["v2"]), False, id="is about Pods of another version"),
        pytest.param(without(scope="Cluster"), False, id="is about objects without a namespace"),
        pytest.param(untrusted(), False, id="trusts nobody, because no webhook ever ran"),
        pytest.param(without(operations=["UPDATE"]), False, id="is not about creation"),
        pytest.param(without(resources=["deployments"]), False, id="is not about Pods"),
        pytest.param(without(apiGroups=["metrics.k8s.io"]), False, id="is about other Pods"),
        pytest.param({}, False, id="is empty"),
    ],
)  # fmt: skip
def test_new_pods_are_seen_if_the_configuration(configuration: JSON, sees: bool) -> None:
    assert sees_pods(configuration) is sees
