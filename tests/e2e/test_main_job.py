"""The main job on real kubelets, done by the operator as a Pod with its own ServiceAccount."""

import json

import pytest

from lab import Lab, Node
from tests.e2e.conftest import node_labels, operator_log
from tests.support.audit import writes
from tests.support.cluster import JSON, ROOT, Namespace, conditions, deployment, persisted, policy
from tests.support.pods import ends_of, keep, moment, release, running, starts_of
from tests.support.processes import warnings
from tests.support.waiting import eventually, stays

TOLD = "date +%s > /dev/termination-log"
"""Leaves the time at which a container was told to end, in seconds, as its last message."""


def container(name: str, *, slow_start: int = 0, slow_end: int = 0) -> JSON:
    """A container that takes some seconds to be started, and some to end."""
    script = (
        f'trap "{TOLD}; sleep {slow_end}; exit 0" TERM; '
        f"sleep {slow_start}; touch /tmp/up; sleep infinity & wait"
    )
    return {
        "name": name,
        "image": "lab.local/busybox:1",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
    }


def sidecar(name: str = "shipper") -> JSON:
    return container(name)


def app(*, replicas: int = 2) -> JSON:
    pod = {"containers": [container("web", slow_end=2)], "terminationGracePeriodSeconds": 10}
    return deployment(replicas=replicas, pod=pod)


def placed(shop: Namespace) -> dict[str, set[str]]:
    """Init containers of the Pods that are there to stay, by node."""
    found: dict[str, set[str]] = {}
    for pod in running(shop):
        names = {each["name"] for each in pod["spec"].get("initContainers", [])}
        found.setdefault(pod["spec"].get("nodeName", ""), set()).update(names)
    return found


def test_every_node_is_labelled_with_what_its_kubelet_does(labelled: Lab) -> None:
    assert node_labels(labelled) == {"new": "true", "old": "rejects", "oldest": "false"}
    oldest = json.loads(labelled.kubectl("get", "node", "oldest", "-o", "json"))
    assert "v1.26.15" in oldest["metadata"]["annotations"]["sidecarpolicy.dev/evidence"]


@pytest.mark.usefixtures("labelled")
def test_pods_with_their_sidecar_run_on_the_capable_node_only(shop: Namespace) -> None:
    shop.apply(app(replicas=3))
    eventually(lambda: len(placed(shop)) > 1, seconds=60)  # without a policy they spread
    shop.apply(policy(sidecars=[sidecar()]))
    status = shop.wait_status("log-shipper", current=1, seconds=90)
    assert placed(shop) == {"new": {"shipper"}}
    assert conditions(status)["RolloutComplete"] == ("True", "Complete")
    assert status["nodes"] == {"capable": 1, "total": 3}


@pytest.mark.usefixtures("labelled")
def test_the_sidecar_starts_before_the_application_and_ends_after_it(shop: Namespace) -> None:
    test = {"exec": {"command": ["test", "-f", "/tmp/up"]}}
    probe = {**test, "periodSeconds": 1, "failureThreshold": 30}
    slow = {**container("shipper", slow_start=3), "startupProbe": probe}
    shop.apply(policy(sidecars=[slow]), app(replicas=1))
    shop.wait_status("log-shipper", current=1, seconds=60)
    (pod,) = running(shop)
    name = pod["metadata"]["name"]
    started = starts_of(pod)
    assert started["web"] - started["shipper"] >= 2
    keep(shop, name)
    shop.kubectl("delete", "pod", name, "--wait=false")
    ended = eventually(lambda: ends_of(shop, name), until=lambda found: len(found) == 2)
    release(shop, name)
    told_to_end = float(ended["shipper"]["message"])
    assert told_to_end >= moment(ended["web"]["finishedAt"])


@pytest.mark.usefixtures("labelled")
def test_a_changed_policy_rolls_once_and_a_deleted_one_sets_the_pods_free(shop: Namespace) -> None:
    shop.apply(app(), policy(sidecars=[sidecar()]))
    shop.wait_status("log-shipper", current=1, seconds=60)
    revisions = shop.revisions("web")
    shop.patch("scpol", "log-shipper", {"spec": {"sidecars": [sidecar("courier")]}})
    eventually(lambda: placed(shop), until=lambda found: found == {"new": {"courier"}}, seconds=60)
    shop.wait_status("log-shipper", current=1, seconds=60)
    assert shop.revisions("web") == revisions + 1
    shop.delete("scpol", "log-shipper")
    free = eventually(
        lambda: placed(shop), until=lambda found: not any(found.values()), seconds=120
    )
    assert set(free) <= {"new", "old", "oldest"}
    assert shop.pods_template("web")["metadata"] == {"labels": {"app": "web"}}


def test_a_node_that_joins_is_labelled_before_it_is_ready(labelled: Lab) -> None:
    key = "sidecarpolicy.dev/native-sidecars"
    labelled.add_node(Node("late", "1.31.0"), wait=False)

    def seen() -> tuple[bool, bool] | None:
        items = json.loads(labelled.kubectl("get", "nodes", "-o", "json"))["items"]
        late = next((each for each in items if each["metadata"]["name"] == "late"), None)
        if late is None:
            return None
        taints = {each["key"] for each in late["spec"].get("taints", [])}
        return key in late["metadata"]["labels"], "node.kubernetes.io/not-ready" in taints

    first = eventually(seen, until=lambda found: found is not None and (found[0] or not found[1]))
    labelled.wait_nodes()
    assert node_labels(labelled)["late"] == "true"
    labelled.remove_node("late")
    assert first is not None
    assert first[0], "the node lost its not-ready taint before it had its label"


def test_a_hand_written_sidecar_shows_the_problem_on_old_kubelets(kubelets: Lab) -> None:
    kubelets.kubectl("apply", "-k", str(ROOT / "examples" / "hand-written" / "lab"))
    space = Namespace(kubelets, "hand-written")

    def outcomes() -> dict[str, str]:
        return {pod["spec"]["nodeName"]: outcome(pod) for pod in space.all("pod")
                if "nodeName" in pod["spec"]}  # fmt: skip

    expected = {
        "new": "Running",
        "old": "Failed InitContainerRestartPolicyForbidden",
        "oldest": "Pending, the init container runs",
    }
    eventually(outcomes, until=lambda found: found == expected, seconds=60)
    stays(lambda: outcomes()["oldest"], seconds=8)
    kubelets.kubectl("delete", "namespace", "hand-written", "--timeout=60s")


def outcome(pod: JSON) -> str:
    status = pod["status"]
    inits = status.get("initContainerStatuses", [])
    if status["phase"] == "Pending" and any("running" in each["state"] for each in inits):
        return "Pending, the init container runs"
    return " ".join(filter(None, (status["phase"], status.get("reason"))))


def test_its_rights_are_enough_and_its_log_has_no_complaints(operator: Lab) -> None:
    denied = [
        (event["verb"], event["objectRef"]["resource"])
        for event in writes(operator)
        if event["responseStatus"]["code"] == 403
        and "because it is being terminated" not in event["responseStatus"].get("message", "")
    ]
    assert denied == []
    complaints = [each for each in warnings(operator_log(operator)) if "next try in" not in each]
    assert complaints == []
    assert {what.partition("/")[0] for _, what in persisted(writes(operator))} <= {
        "nodes", "deployments", "daemonsets", "cronjobs", "sidecarpolicies",
        "secrets", "mutatingwebhookconfigurations", "events", "leases",
    }  # fmt: skip
