"""The CRDs as a real API server takes them: what it refuses, in which words, what it fills in."""

import json
from collections.abc import Iterator
from subprocess import CompletedProcess
from typing import Any
from uuid import uuid4

import pytest
import yaml

from lab import Lab, LabError
from tests.support.cluster import CRDS

Json = dict[str, Any]

CRD_NAMES = (
    "crd/sidecarpolicies.sidecarpolicy.dev",
    "crd/clustersidecarpolicies.sidecarpolicy.dev",
)
NAMESPACE = f"crd-test-{uuid4().hex[:8]}"
SHIPPER: Json = {"name": "shipper", "image": "fluent-bit:3.2"}
DEFAULTS: Json = {
    "targets": [
        {"kind": kind} for kind in ("Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job")
    ],
    "mode": "Native",
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


def requirement(**fields: Any) -> Json:
    return {"selector": {"matchExpressions": [{"key": "tier", **fields}]}}


# Only the words that are ours, or that API servers 1.31 and 1.36 have in common.
BAD_POLICIES: dict[str, tuple[Json, str]] = {
    "a sidecar without an image": (
        {"sidecars": [SHIPPER, {"name": "agent"}]},
        "sidecar agent needs an image",
    ),
    "a sidecar with an empty image": (
        {"sidecars": [{"name": "agent", "image": ""}]},
        "sidecar agent needs an image",
    ),
    "a sidecar that may end": (
        {"sidecars": [SHIPPER | {"restartPolicy": "Never"}]},
        "sidecar shipper: restartPolicy must be absent or Always, not Never",
    ),
    "a sidecar without a name": (
        {"sidecars": [{"image": "fluent-bit:3.2"}]},
        "spec.sidecars[0].name: Required value",
    ),
    "a sidecar whose name is no DNS label": (
        {"sidecars": [SHIPPER | {"name": "Log_Shipper"}]},
        "spec.sidecars[0].name in body should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'",
    ),
    "a sidecar whose name is too long": (
        {"sidecars": [SHIPPER | {"name": "s" * 64}]},
        "spec.sidecars[0].name: Too long: may not be",
    ),
    "a sidecar ordered before itself": (
        {"order": [{"sidecar": "shipper", "before": ["shipper"]}]},
        "sidecar shipper cannot be ordered before or after itself",
    ),
    "an order of a sidecar that is none": (
        {"order": [{"sidecar": "courier", "after": ["migrate"]}]},
        "order names courier, which is no sidecar of this policy",
    ),
    "two variables of one name": (
        {"appContainers": {"env": [{"name": "A"}, {"name": "A"}]}},
        "spec.appContainers.env[1]: Duplicate value",
    ),
    "a grace period of nothing": (
        {"minTerminationGracePeriodSeconds": 0},
        "spec.minTerminationGracePeriodSeconds",
    ),
    "a pace of nothing": (
        {"rollout": {"maxConcurrent": 0}},
        "0 is neither a number from 1 nor a percentage from 1% to 100%",
    ),
    "a percentage of nothing": (
        {"rollout": {"maxConcurrent": "0%"}},
        "0% is neither a number from 1 nor a percentage from 1% to 100%",
    ),
    "more than all": ({"rollout": {"maxConcurrent": "101%"}}, "101% is neither a number"),
    "a pace in words": ({"rollout": {"maxConcurrent": "ten"}}, "ten is neither a number"),
    "a rollout that stops before it starts": (
        {"rollout": {"maxFailed": 0}},
        "spec.rollout.maxFailed",
    ),
    "a failure that is ignored": (
        {"rollout": {"onFailure": "Ignore"}},
        'supported values: "Revert", "Pause"',
    ),
    "a rollout without any time": (
        {"rollout": {"progressDeadlineSeconds": 0}},
        "spec.rollout.progressDeadlineSeconds",
    ),
    "two sidecars of one name": (
        {"sidecars": [SHIPPER, SHIPPER | {"image": "vector:0.50"}]},
        "spec.sidecars[1]: Duplicate value",
    ),
    "an empty list of sidecars": (
        {"sidecars": []},
        "spec.sidecars in body should have at least 1 items",
    ),
    "no sidecars at all": ({"sidecars": None}, "spec.sidecars: Required value"),
    "too many sidecars": (
        {"sidecars": [SHIPPER | {"name": f"shipper-{number}"} for number in range(33)]},
        "spec.sidecars: Too many: 33: must have at most 32 items",
    ),
    "no selector": ({"selector": None}, "spec.selector: Required value"),
    "In without values": (
        requirement(operator="In"),
        "operator In on label tier needs values",
    ),
    "NotIn with no value in its list": (
        requirement(operator="NotIn", values=[]),
        "operator NotIn on label tier needs values",
    ),
    "Exists with values": (
        requirement(operator="Exists", values=["web"]),
        "operator Exists on label tier takes no values; use In or NotIn to compare values",
    ),
    "DoesNotExist with values": (
        requirement(operator="DoesNotExist", values=["web"]),
        "operator DoesNotExist on label tier takes no values",
    ),
    "an operator that does not exist": (
        requirement(operator="Equals", values=["web"]),
        'Unsupported value: "Equals": supported values: "In", "NotIn", "Exists", "DoesNotExist"',
    ),
    "a label value that is too long": (
        {"selector": {"matchLabels": {"tier": "x" * 64}}},
        "spec.selector.matchLabels.tier: Too long: may not be",
    ),
    "one workload listed twice": (
        {"targets": [{"kind": "Deployment", "name": name} for name in ("web", "api", "web")]},
        "target Deployment web is listed more than once",
    ),
    "one kind listed twice": (
        {"targets": [{"kind": "Deployment"}, {"kind": "Deployment"}]},
        "target Deployment is listed more than once",
    ),
    "an empty list of targets": (
        {"targets": []},
        "spec.targets in body should have at least 1 items",
    ),
    "a kind that is no workload": (
        {"targets": [{"kind": "ConfigMap"}]},
        'spec.targets[0].kind: Unsupported value: "ConfigMap"',
    ),
    "a mode that does not exist": (
        {"mode": "Classic"},
        'spec.mode: Unsupported value: "Classic"',
    ),
    "a node rule that does not exist": (
        {"nodeRule": "Maybe"},
        'spec.nodeRule: Unsupported value: "Maybe": supported values: "Require", "Avoid", "None"',
    ),
    "a time that does not exist": (
        {"injectAt": "Container"},
        'spec.injectAt: Unsupported value: "Container": supported values: "Auto", "Pod"',
    ),
    "two volumes of one name": (
        {"volumes": [{"name": "logs", "emptyDir": {}}, {"name": "logs"}]},
        "spec.volumes[1]: Duplicate value",
    ),
    "a volume without a name": (
        {"volumes": [{"emptyDir": {}}]},
        "spec.volumes[0].name: Required value",
    ),
    "one pull secret listed twice": (
        {"imagePullSecrets": [{"name": "regcred"}, {"name": "regcred"}]},
        "spec.imagePullSecrets[1]: Duplicate value",
    ),
    "a misspelt field": ({"nodeRules": "Avoid"}, 'unknown field "spec.nodeRules"'),
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
