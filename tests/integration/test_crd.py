"""The CRDs as a real API server takes them: what it refuses, in which words, what it fills in."""

import json
from collections.abc import Iterator
from subprocess import CompletedProcess
from typing import Any
from uuid import uuid4

import pytest
import yaml

from lab import Lab, LabError
from tests.support.badpolicies import BAD_POLICIES, SHIPPER, requirement
from tests.support.cluster import CRDS

Json = dict[str, Any]

CRD_NAMES = (
    "crd/sidecarpolicies.sidecarpolicy.dev",
    "crd/clustersidecarpolicies.sidecarpolicy.dev",
)
NAMESPACE = f"crd-test-{uuid4().hex[:8]}"
DEFAULTS: Json = {
    "targets": [
        {"kind": kind} for kind in ("Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job")
    ],
    "mode": "Native",
    "universal": {"image": "busybox:1.37.0-musl"},
    "nodeRule": "Require",
    "injectAt": "Auto",
    "paused": False,
    "rollout": {
        "existing": "Progressive",
        "maxConcurrent": "10%",
        "maxFailed": 1,
        "onFailure": "Revert",
        "progressDeadlineSeconds": 600,
    },
    "jobs": {"existing": "Skip"},
    "placement": "First",
}


@pytest.fixture(scope="module")
def applied(cluster: Lab) -> CompletedProcess[str]:
    """The CRDs, applied as a user does it and served; the answer of `kubectl apply`."""
    answer = cluster.run(["kubectl", "apply", "-f", str(CRDS)], check=True)
    cluster.kubectl("wait", "--for=condition=Established", "-f", str(CRDS), "--timeout=30s")
    return answer


@pytest.fixture(scope="module")
def served(cluster: Lab, applied: CompletedProcess[str]) -> Iterator[Lab]:
    """The cluster with the CRD and a namespace of these tests' own."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def policy(name: str, **spec: Any) -> str:
    """A minimal good policy with some fields set; None leaves a field out."""
    fields = {"selector": {"matchLabels": {"logs": "shipped"}}, "sidecars": [SHIPPER], **spec}
    return json.dumps(
        {
            "apiVersion": "sidecarpolicy.dev/v1alpha1",
            "kind": "SidecarPolicy",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {field: value for field, value in fields.items() if value is not None},
        }
    )


def cluster_policy(name: str, **spec: Any) -> str:
    """The same for all namespaces."""
    made = json.loads(policy(name, **{"namespaceSelector": {}, **spec}))
    return json.dumps(made | {"kind": "ClusterSidecarPolicy", "metadata": {"name": name}})


def created(cluster: Lab, text: str) -> Json:
    answer = json.loads(cluster.kubectl("create", "-f", "-", "-o", "json", input=text))
    assert isinstance(answer, dict)
    return answer


def refusal(cluster: Lab, text: str) -> str:
    """What kubectl prints about a policy; a dry run, so that nothing stays if it is taken."""
    with pytest.raises(LabError) as refused:
        cluster.kubectl("create", "--dry-run=server", "-f", "-", input=text)
    return str(refused.value)


def status_patch(cluster: Lab, name: str, status: Json) -> str:
    return cluster.kubectl(
        *("patch", "scpol", name, "-n", NAMESPACE, "--subresource=status", "--type=merge"),
        *("-p", json.dumps({"status": status})),
    )


def ready(status: str) -> Json:
    return {
        "type": "Ready",
        "status": status,
        "reason": "Ready",
        "message": "Sidecars-are-injected.",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-11-21T09:00:00Z",
    }


def test_the_crds_are_applied_without_warnings(applied: CompletedProcess[str]) -> None:
    assert applied.stderr == ""


@pytest.mark.parametrize("name", CRD_NAMES)
def test_a_crd_is_established_and_its_schema_structural(served: Lab, name: str) -> None:
    conditions = json.loads(served.kubectl("get", name, "-o", "json"))["status"]["conditions"]

    assert {condition["type"]: condition["status"] for condition in conditions} == {
        "NamesAccepted": "True",
        "Established": "True",
    }


@pytest.mark.parametrize(("spec", "message"), BAD_POLICIES.values(), ids=BAD_POLICIES)
def test_the_api_server_refuses(served: Lab, spec: Json, message: str) -> None:
    assert message in refusal(served, policy("bad", **spec))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"namespaceSelector": None}, "spec.namespaceSelector: Required value"),
        (
            {"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "In"}]}},
            "operator In on label team needs values",
        ),
        ({"sidecars": [{"name": "agent"}]}, "sidecar agent needs an image"),
    ],
    ids=["no namespace selector", "a bad namespace selector", "what it refuses of the other kind"],
)
def test_of_a_cluster_policy_the_api_server_refuses(served: Lab, spec: Json, message: str) -> None:
    assert message in refusal(served, cluster_policy("bad", **spec))


def test_a_cluster_policy_has_the_same_defaults_and_lives_in_no_namespace(served: Lab) -> None:
    answer = created(served, cluster_policy("minimal", selector={}))
    try:
        wanted = {"selector": {}, "namespaceSelector": {}, "sidecars": [SHIPPER]} | DEFAULTS
        assert (answer["spec"], answer["status"]) == (wanted, {"observedGeneration": -1})
        assert "namespace" not in answer["metadata"]
        assert served.kubectl("get", "cscpol", "minimal", "--no-headers").split()[0] == "minimal"
    finally:
        served.kubectl("delete", "cscpol", "minimal")


def test_all_broken_rules_are_reported_at_once(served: Lab) -> None:
    text = refusal(
        served,
        policy(
            "bad",
            sidecars=[{"name": "agent"}, SHIPPER | {"restartPolicy": "OnFailure"}],
            **requirement(operator="In"),
        ),
    )

    assert "sidecar agent needs an image" in text
    assert "restartPolicy must be absent or Always, not OnFailure" in text
    assert "operator In on label tier needs values" in text


def test_a_minimal_policy_gets_all_defaults_and_nothing_else(served: Lab) -> None:
    answer = created(served, policy("minimal", selector={}))

    assert answer["spec"] == {"selector": {}, "sidecars": [SHIPPER]} | DEFAULTS


def test_a_fresh_policy_has_not_been_observed(served: Lab) -> None:
    answer = created(served, policy("fresh"))

    assert answer["status"] == {"observedGeneration": -1}


def test_fields_of_containers_and_volumes_newer_than_the_crd_survive(served: Lab) -> None:
    sidecar = SHIPPER | {
        "restartPolicy": "Always",
        "ports": [{"containerPort": 2020}],
        "resources": {"limits": {"cpu": 1, "memory": "64Mi"}},
        "futureField": {"deep": [1, {"flag": True}]},
    }
    volume = {"name": "logs", "futureSource": {"size": 0.5}}

    answer = created(served, policy("future", sidecars=[sidecar], volumes=[volume]))

    assert (answer["spec"]["sidecars"], answer["spec"]["volumes"]) == ([sidecar], [volume])


def test_a_policy_as_large_as_the_bounds_allow_stays_within_the_cost_budget(
    served: Lab,
) -> None:
    needs = [
        {"key": f"{need:02}".ljust(253, "k"), "operator": "In", "values": ["v" * 63] * 64}
        for need in range(32)
    ]
    targets = [{"kind": "Deployment", "name": f"{each:02}".ljust(253, "x")} for each in range(64)]
    sidecars = [{"name": f"s{each:02}".ljust(63, "s"), "image": "i" * 1024} for each in range(32)]

    answer = created(
        served,
        policy("large", selector={"matchExpressions": needs}, targets=targets, sidecars=sidecars),
    )

    assert len(answer["spec"]["targets"]) == 64


@pytest.mark.parametrize("pace", [1, 250, "1%", "100%"])
def test_a_pace_is_a_number_or_a_percentage(served: Lab, pace: int | str) -> None:
    answer = created(
        served, policy(f"pace-{pace}".replace("%", "-percent"), rollout={"maxConcurrent": pace})
    )

    assert answer["spec"]["rollout"] == {**DEFAULTS["rollout"], "maxConcurrent": pace}


def test_two_appliers_can_own_one_sidecar_each(served: Lab) -> None:
    for name in ("shipper", "agent"):
        served.kubectl(
            *("apply", "--server-side", f"--field-manager={name}", "-f", "-"),
            input=policy("shared", sidecars=[SHIPPER | {"name": name}]),
        )

    answer = json.loads(served.kubectl("get", "scpol", "shared", "-n", NAMESPACE, "-o", "json"))
    assert [sidecar["name"] for sidecar in answer["spec"]["sidecars"]] == ["shipper", "agent"]


def test_a_status_in_a_manifest_is_ignored(served: Lab) -> None:
    manifest = json.loads(policy("boastful")) | {"status": {"observedGeneration": 7}}

    assert created(served, json.dumps(manifest))["status"] == {"observedGeneration": -1}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"status": "Maybe"}, 'supported values: "True", "False", "Unknown"'),
        ({"lastTransitionTime": "yesterday"}, "must be of type date-time"),
        ({"reason": ""}, "should be at least 1 chars long"),
    ],
    ids=["of an unknown status", "of an unreadable time", "without a reason"],
)
def test_a_condition_is_refused(served: Lab, changed: Json, message: str) -> None:
    name = "condition-" + "-".join(changed).lower()
    created(served, policy(name))

    with pytest.raises(LabError) as refused:
        status_patch(served, name, {"conditions": [ready("True") | changed]})

    assert message in str(refused.value)


def test_kubectl_get_shows_the_columns(served: Lab) -> None:
    created(served, policy("columns"))
    workloads = {"matched": 12, "current": 9, "pending": 2, "failed": 1}
    nodes = {"capable": 3, "total": 5}
    status_patch(
        served,
        "columns",
        {"conditions": [ready("True")], "nodes": nodes, "workloads": workloads},
    )

    shown = served.kubectl("get", "scpol", "columns", "-n", NAMESPACE, "-o", "wide")
    header, row = (line.split() for line in shown.splitlines())
    age = header.index("AGE")

    assert dict(zip(header, row, strict=True)) == {
        "NAME": "columns",
        "READY": "True",
        "MODE": "Native",
        "NODES": "3",
        "MATCHED": "12",
        "CURRENT": "9",
        "PENDING": "2",
        "FAILED": "1",
        "AGE": row[age],
        "REASON": "Ready",
        "MESSAGE": "Sidecars-are-injected.",
    }
    narrow = served.kubectl("get", "scpol", "columns", "-n", NAMESPACE)
    assert narrow.splitlines()[0].split() == header[: age + 1]


@pytest.mark.parametrize("alias", ["scpol", "sidecarpolicy", "sidecarpolicies"])
def test_kubectl_finds_policies_as(served: Lab, alias: str) -> None:
    created(served, policy(f"known-as-{alias}"))

    shown = served.kubectl("get", alias, f"known-as-{alias}", "-n", NAMESPACE, "-o", "name")

    assert shown.strip() == f"sidecarpolicy.sidecarpolicy.dev/known-as-{alias}"


def test_what_kubectl_get_prints_can_be_put_back_unchanged(served: Lab) -> None:
    created(served, policy("round-trip", sidecars=[SHIPPER | {"futureField": {"on": "y"}}]))
    show = ("get", "sidecarpolicy", "round-trip", "-n", NAMESPACE, "-o", "yaml")
    printed = served.kubectl(*show)

    served.kubectl("replace", "-f", "-", input=printed)

    before, after = yaml.safe_load(printed), yaml.safe_load(served.kubectl(*show))
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"] == 1
