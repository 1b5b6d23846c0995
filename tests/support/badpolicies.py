"""Policies that the API server refuses, and its words about each."""

from typing import Any

Json = dict[str, Any]
SHIPPER: Json = {"name": "shipper", "image": "fluent-bit:3.2"}
RUNNER: Json = {"name": "runner", "image": "runner:1", "command": ["run"]}
_HOOK: Json = {"exec": {"command": ["true"]}}
_REQUEST: Json = {"httpGet": {"port": 80}}


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
        "order names courier, which this policy neither adds nor adopts",
    ),
    "an order of a container that is none": (
        {
            "adopt": [{"container": "proxy"}],
            "order": [{"sidecar": "proxy"}, {"sidecar": "courier"}],
        },
        "order names courier, which this policy neither adds nor adopts",
    ),
    "a container that is adopted and added": (
        {"adopt": [{"container": "proxy"}, {"container": "shipper"}]},
        "container shipper cannot be adopted, because this policy adds a sidecar of that name",
    ),
    "a container that is adopted twice": (
        {"adopt": [{"container": "proxy"}, {"container": "proxy"}]},
        "spec.adopt[1]: Duplicate value",
    ),
    "a container to adopt whose name is no DNS label": (
        {"adopt": [{"container": "Log_Shipper"}]},
        "spec.adopt[0].container in body should match",
    ),
    "too many containers to adopt": (
        {"adopt": [{"container": f"proxy-{number}"} for number in range(17)]},
        "spec.adopt: Too many: 17: must have at most 16 items",
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
        "a policy needs sidecars to add, or containers to adopt",
    ),
    "no sidecars at all": (
        {"sidecars": None},
        "a policy needs sidecars to add, or containers to adopt",
    ),
    "a universal sidecar without a command": (
        {"mode": "Universal", "sidecars": [RUNNER, SHIPPER | {"command": []}]},
        "sidecar shipper needs a command, because its mode is Universal",
    ),
    "a universal sidecar whose name is too long": (
        {"mode": "Universal", "sidecars": [RUNNER | {"name": "s" * 54}]},
        "needs a name of at most 53 characters, because its mode is Universal",
    ),
    "a universal sidecar with a hook after its start": (
        {"mode": "Universal", "sidecars": [RUNNER | {"lifecycle": {"postStart": _HOOK}}]},
        "sidecar runner may have no other lifecycle hook than preStop with exec or sleep",
    ),
    "a universal sidecar with a hook over the network": (
        {"mode": "Universal", "sidecars": [RUNNER | {"lifecycle": {"preStop": _REQUEST}}]},
        "sidecar runner may have no other lifecycle hook than preStop with exec or sleep",
    ),
    "a universal policy that adopts": (
        {"mode": "Universal", "sidecars": [RUNNER], "adopt": [{"container": "logs"}]},
        "mode Universal adopts no containers; use another policy for logs",
    ),
    "nothing to add and nothing to adopt": (
        {"sidecars": None, "adopt": []},
        "a policy needs sidecars to add, or containers to adopt",
    ),
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
