"""Every kind of workload with a template that can change, and every kind of part, and back."""

from typing import Any

import pytest

from tests.support.cluster import (
    JSON,
    Namespace,
    cron_job,
    deployment,
    policy,
    problems,
    stateful_set,
)
from tests.support.waiting import eventually, stays

FULL: JSON = {
    "sidecars": [
        {"name": "shipper", "image": "lab.local/busybox:1", "ports": [{"containerPort": 24}]}
    ],
    "placement": "Last",
    "order": [{"sidecar": "shipper", "after": ["vault"], "before": ["migrate"]}],
    "volumes": [{"name": "logs", "emptyDir": {"sizeLimit": "1024Mi"}}],
    "imagePullSecrets": [{"name": "regcred"}],
    "appContainers": {
        "volumeMounts": [{"name": "logs", "mountPath": "/var/log/app"}],
        "env": [
            {"name": "LOG_DIR", "value": "/var/log/app"},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
    },
    "minTerminationGracePeriodSeconds": 45,
}

POD: JSON = {
    "initContainers": [
        {"name": "vault", "image": "lab.local/busybox:1"},
        {"name": "migrate", "image": "lab.local/busybox:1"},
    ],
}


def template_of(shop: Namespace, kind: str, name: str) -> JSON:
    spec: Any = shop.get(kind, name)["spec"]
    template: JSON = (spec["jobTemplate"]["spec"] if kind == "cronjob" else spec)["template"]
    return template


WORKLOADS = (("deployment", "web"), ("statefulset", "db"), ("cronjob", "nightly"))


@pytest.mark.usefixtures("controller")
def test_every_part_reaches_every_kind_and_comes_back_out(shop: Namespace) -> None:
    shop.apply(
        deployment("web", pod=POD), stateful_set("db", pod=POD), cron_job("nightly", pod=POD)
    )
    before = {each: template_of(shop, *each) for each in WORKLOADS}
    shop.apply(policy(**FULL))
    shop.wait_status("log-shipper", matched=3, current=3)
    for each in WORKLOADS:
        spec = template_of(shop, *each)["spec"]
        assert [one["name"] for one in spec["initContainers"]] == ["vault", "shipper", "migrate"]
        assert [one["name"] for one in spec["volumes"]] == ["logs"]
        assert [one["name"] for one in spec["containers"][0]["env"]] == ["LOG_DIR", "NODE"]
        assert spec["containers"][0]["volumeMounts"][0]["mountPath"] == "/var/log/app"
        assert spec["terminationGracePeriodSeconds"] == 45
        assert shop.get(*each)["metadata"]["generation"] == 2
    # Narrowed, so that nothing is selected: taken back at once, without waiting for a proof.
    shop.patch("scpol", "log-shipper", {"spec": {"selector": {"matchLabels": {"app": "none"}}}})
    eventually(
        lambda: {each: template_of(shop, *each) for each in WORKLOADS},
        until=lambda now: now == before,
    )
    shop.wait_status("log-shipper", matched=0)


@pytest.mark.usefixtures("controller")
def test_a_target_may_name_one_workload_of_one_kind(shop: Namespace) -> None:
    shop.apply(deployment("web"), deployment("db"), stateful_set("db", pod=POD))
    shop.apply(policy(targets=[{"kind": "StatefulSet", "name": "db"}]))
    shop.wait_status("log-shipper", matched=1, current=1)
    assert shop.sidecars("db") == []
    assert "initContainers" in template_of(shop, "statefulset", "db")["spec"]


@pytest.mark.usefixtures("controller")
def test_workloads_change_a_few_at_a_time_and_the_rest_waits_for_their_rollouts(
    shop: Namespace,
) -> None:
    names = [f"web-{number}" for number in range(5)]
    shop.apply(*(deployment(name, replicas=1) for name in names))
    eventually(lambda: shop.all("deployment"), until=all_available)
    shop.lab.kubectl("cordon", "new-0")  # the only capable node: new Pods have to wait
    try:
        shop.apply(policy(rollout={"maxConcurrent": 2}))
        shop.wait_status("log-shipper", updating=2, pending=3)
        changed = stays(lambda: [name for name in names if shop.sidecars(name)], seconds=2)
        assert len(changed) == 2
    finally:
        shop.lab.kubectl("uncordon", "new-0")
    shop.wait_status("log-shipper", current=5)
    assert [shop.get("deployment", name)["metadata"]["generation"] for name in names] == [2] * 5


@pytest.mark.usefixtures("controller")
def test_a_workload_that_the_api_server_refuses_keeps_no_other_waiting(shop: Namespace) -> None:
    windows = {"os": {"name": "windows"}}  # which knows no user ids
    shop.apply(deployment("aaa", pod=windows), deployment("bbb"), deployment("ccc"))
    user = {"securityContext": {"runAsUser": 1000}}
    sidecar = {"name": "shipper", "image": "lab.local/busybox:1", **user}
    shop.apply(policy(sidecars=[sidecar], rollout={"maxConcurrent": 1}))
    status = shop.wait_status("log-shipper", pending=1, current=2)
    assert [(each["name"], each["reason"]) for each in problems(status)] == [("aaa", "Refused")]


@pytest.mark.usefixtures("controller")
def test_a_daemon_that_would_roll_for_nothing_keeps_no_other_waiting(shop: Namespace) -> None:
    daemon = {**deployment("agent", pod={"nodeSelector": {"none": "such"}}), "kind": "DaemonSet"}
    daemon["spec"] = {key: daemon["spec"][key] for key in ("selector", "template")}
    shop.apply(daemon, deployment("web"), policy())
    status = shop.wait_status("log-shipper", matched=2, skipped=1, current=1)
    assert [each["reason"] for each in problems(status)] == ["NoCapableNodes"]


def all_available(deployments: list[JSON]) -> bool:
    return all(each.get("status", {}).get("availableReplicas") for each in deployments)


@pytest.mark.usefixtures("controller")
def test_a_volume_of_a_claim_template_is_never_covered(shop: Namespace) -> None:
    claims = [
        {
            "metadata": {"name": "logs"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }
    ]
    made = stateful_set("db", pod=POD)
    made["spec"]["volumeClaimTemplates"] = claims
    shop.apply(made, policy(volumes=[{"name": "logs", "emptyDir": {}}]))
    status = shop.wait_status("log-shipper", conflicted=1)
    assert "volumeClaimTemplates" in problems(status)[0]["message"]
