"""The mirror of webhook configurations: when our own counts as registered."""

from typing import Any

from sidecarpolicy.controller.webhooks import WebhookMirror

JSON = dict[str, Any]


def configuration(name: str = "sidecarpolicy", **client: str) -> JSON:
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["pods"],
    }
    webhook = {"name": "pods.example", "clientConfig": client, "rules": [rule]}
    return {"metadata": {"name": name}, "webhooks": [webhook]}


def test_our_webhook_counts_from_its_first_ca_until_its_configuration_is_gone() -> None:
    told: list[bool] = []
    mirror = WebhookMirror(told.append)
    mirror.replace([mirror.facts(configuration("other", caBundle="Cg=="))])
    assert told == [False]
    mirror.store(mirror.facts(configuration()))
    mirror.store(mirror.facts(configuration(caBundle="Cg==")))
    assert told == [False, False, True]
    mirror.forget(mirror.facts(configuration()))
    assert told[-1] is False
