"""What a Pod gets whose node is chosen: only what runs there."""

from collections.abc import Iterator
from typing import Any

import pytest

from sidecarpolicy.core import inject
from sidecarpolicy.core.capability import NodeTally, Verdict
from sidecarpolicy.core.desired import desired
from sidecarpolicy.core.holding import nowhere_to_run
from sidecarpolicy.core.noderule import POD_PARTS, needs_label, rule_allows
from sidecarpolicy.core.ownership import NodeRuleSite
from tests.support.builders import policy_object, sidecar, spec, wish
from tests.support.reviews import admitted, memory

JSON = dict[str, Any]
COMMAND = ["/bin/run"]
UNIVERSAL: JSON = {"mode": "Universal", "sidecars": [sidecar("universal", command=COMMAND)]}
POLICIES = ("native", "universal")
ON = {
    "new": {"native", "universal"},
    "old": {"universal"},
    "refusing": set(),
    "never-seen": set(),
}


def policies(**fields: Any) -> tuple[JSON, JSON]:
    native = policy_object("native", sidecars=[sidecar("native")], **fields)
    return native, policy_object("universal", **UNIVERSAL, **fields)


def pod(**fields: Any) -> JSON:
    return {
        "metadata": {"name": "p", **fields.pop("metadata", {})},
        "spec": {"containers": [{"name": "web", "image": "nginx"}], **fields},
    }


def bound(node: str) -> JSON:
    return pod(nodeName=node)


def of_daemon_set(node: str) -> JSON:
    wanted = {"key": "metadata.name", "operator": "In", "values": [node]}
    rule = {"nodeSelectorTerms": [{"matchFields": [wanted]}]}
    field = "requiredDuringSchedulingIgnoredDuringExecution"
    owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "controller": True}
    return pod(
        affinity={"nodeAffinity": {field: rule}},
        metadata={"ownerReferences": [owner]},
    )


def sidecars(stored: JSON) -> set[str]:
    found = stored["spec"].get("initContainers", [])
    return {each["name"] for each in found} & set(POLICIES)


def every() -> Iterator[Any]:
    for made in (bound, of_daemon_set):
        for node, expected in ON.items():
            yield pytest.param(made(node), expected, id=f"{made.__name__} on {node}")


@pytest.mark.parametrize(("made", "expected"), list(every()))
def test_a_pod_for_a_node_gets_what_runs_there(made: JSON, expected: set[str]) -> None:
    kinds = [{"kind": "Pod"}, {"kind": "DaemonSet"}]
    stored = admitted(made, memory(*policies(targets=kinds)), kind="Pod")
    assert sidecars(stored) == expected


@pytest.mark.parametrize(("node", "expected"), list(ON.items()))
def test_a_pod_for_a_node_gets_of_what_it_was_promised_what_runs_there(
    node: str, expected: set[str]
) -> None:
    view = memory(*policies(injectAt="Pod"))
    deployment = {
        "metadata": {"name": "web"},
        "spec": {"template": {"metadata": {}, "spec": pod()["spec"]}},
    }
    template = admitted(deployment, view, kind="Deployment")["spec"]["template"]
    made = {
        "metadata": {"name": "web-1", **template["metadata"]},
        "spec": {**template["spec"], "nodeName": node},
    }
    assert sidecars(admitted(made, view, kind="Pod")) == expected


@pytest.mark.parametrize(
    ("fields", "nodes", "nowhere"),
    [
        pytest.param({}, NodeTally(0, 2), True, id="native, where no node is capable"),
        pytest.param({}, NodeTally(1, 2), False, id="native, where one is"),
        pytest.param(UNIVERSAL, NodeTally(0, 2), False, id="universal, where nodes ignore it"),
        pytest.param(UNIVERSAL, NodeTally(0, 2, 1), False, id="universal, where one refuses it"),
        pytest.param(UNIVERSAL, NodeTally(0, 2, 2), True, id="universal, where all refuse it"),
        pytest.param(UNIVERSAL, NodeTally(0, 0), False, id="universal, where there is no node"),
        pytest.param(
            {**UNIVERSAL, "nodeRule": "None"}, NodeTally(0, 2, 2), False, id="without a rule"
        ),
    ],
)
def test_nodes_keep_a_policy_from_working_only_where_none_runs_its_pods(
    fields: JSON, nodes: NodeTally, nowhere: bool
) -> None:
    assert (nowhere_to_run(wish(**fields), nodes) is not None) is nowhere


def test_mode_universal_is_a_way_out_for_native_policies_where_nodes_ignore_the_field() -> None:
    found = [nowhere_to_run(wish(), nodes) for nodes in (NodeTally(0, 2), NodeTally(0, 2, 2))]
    assert ["mode: Universal" in each.message for each in found if each] == [True, False]


def test_where_the_api_server_drops_the_field_no_node_sees_it() -> None:
    made = desired("SidecarPolicy/universal", spec(**UNIVERSAL), field_dropped=True)
    assert nowhere_to_run(made, NodeTally(0, 2, 2)) is None
    assert all(made.runs_on(verdict) for verdict in Verdict)


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        pytest.param({}, True, id="Require"),
        pytest.param({"nodeRule": "Avoid"}, False, id="Avoid"),
        pytest.param({"nodeRule": "None"}, False, id="None"),
        pytest.param(UNIVERSAL, False, id="mode Universal"),
    ],
)
def test_only_a_rule_that_asks_for_the_label_needs_it(fields: JSON, needed: bool) -> None:
    wanted = wish(**fields)
    verdicts = [inject.Verdict(wanted.key, inject.Action.APPLY, wanted)]
    made = inject.inject(pod(), verdicts, site=NodeRuleSite.AFFINITY).template
    assert needs_label(made["spec"]) is needed


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ("Require", {Verdict.CAPABLE}),
        ("Avoid", {Verdict.CAPABLE}),
        ("NotRejecting", {Verdict.CAPABLE, Verdict.IGNORES, Verdict.UNKNOWN}),
    ],
)
def test_a_rule_that_is_missing_matters_on_the_nodes_that_it_excludes(
    rule: str, allowed: set[Verdict]
) -> None:
    part = f"{POD_PARTS}{rule}"
    assert {verdict for verdict in Verdict if rule_allows(part, verdict)} == allowed
    assert not rule_allows(part, None)
