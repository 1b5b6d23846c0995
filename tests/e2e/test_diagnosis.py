"""Everything that can be wrong with a native sidecar, on real kubelets, all at once.

Each Pod comes into its state by itself: no status is written, no event is made up. Only the
stripped field takes a helper, an admission policy that does what an old webhook does.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import pytest
import yaml

from lab import Lab, Node
from tests.e2e.conftest import SYSTEM
from tests.e2e.test_main_job import container, sidecar
from tests.support.cluster import JSON, Namespace, deployment, policy
from tests.support.waiting import eventually

BUGGY = Node("middle", "1.31.0")
STRIPS = "strips-restart-policies"
IGNORES_SIGTERM = "trap '' TERM; while true; do sleep 1; done"
NEVER = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 6}


def ends(name: str, code: int = 0) -> JSON:
    return {**container(name), "command": ["sh", "-c", f"sleep 1; exit {code}"]}


def trouble(name: str, side: JSON, *, rule: str = "Require", **pod: object) -> tuple[JSON, JSON]:
    """A Deployment, and the policy that gets it into trouble."""
    spec = {"containers": [container("web")], "terminationGracePeriodSeconds": 2, **pod}
    labels = {"template": {"labels": {"app": name}}}
    target = [{"kind": kind, "name": name} for kind in ("Deployment", "Job")]
    return (
        policy(name, targets=target, sidecars=[side], nodeRule=rule),
        deployment(name, replicas=1, pod=spec, **labels),
    )


def job(
    name: str, side: JSON, script: str, *, rule: str = "Require", **pod: object
) -> tuple[JSON, JSON]:
    made, workload = trouble(name, side, rule=rule, restartPolicy="Never", **pod)
    template = workload["spec"]["template"]
    template["spec"]["containers"] = [{**container("web"), "command": ["sh", "-c", script]}]
    spec = {"backoffLimit": 0, "template": template}
    return made, {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


NO_SECRET = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "none", "key": "token"}}}
STUBBORN = {**sidecar(), "command": ["sh", "-c", IGNORES_SIGTERM]}
TROUBLES = {
    "NodeIgnoresSidecars": trouble("ignored", sidecar(), rule="None", nodeName="oldest"),
    "NodeRejectsSidecars": job("rejected", sidecar(), "true", rule="None", nodeName="old"),
    "StartupProbeFailing": trouble("slow", {**sidecar(), "startupProbe": NEVER}),
    "ImagePullFailing": trouble("pulled", {**sidecar(), "image": "registry.invalid/none:1"}),
    "SidecarNotCreated": trouble("secretive", {**sidecar(), "env": [NO_SECRET]}),
    "CrashLooping": trouble("crashing", ends("shipper", 3)),
    "NoMatchingNode": trouble(
        "homeless", sidecar(), nodeSelector={"kubernetes.io/hostname": "old"}
    ),
    "SidecarKilledAtShutdown": job("killed", STUBBORN, "sleep 1"),
    "InitContainerBlocked": trouble("blocked", sidecar(), initContainers=[ends("migrate", 1)]),
}
FAILS_ONCE = (
    "trap 'exit 0' TERM; [ -e /state/once ] || { touch /state/once; sleep 2; exit 1; }; "
    "touch /tmp/up; sleep infinity & wait"
)


def given_up() -> tuple[JSON, JSON]:
    """What kubelet 1.31.0 does not recover from (kubernetes#132826)."""
    probe = {"exec": {"command": ["test", "-f", "/tmp/up"]}, "periodSeconds": 1}
    side = {
        **sidecar(),
        "command": ["sh", "-c", FAILS_ONCE],
        "startupProbe": {**probe, "failureThreshold": 8},
        "volumeMounts": [{"name": "state", "mountPath": "/state"}],
    }
    made, workload = job("given-up", side, "true", rule="None", nodeName=BUGGY.name)
    made["spec"]["volumes"] = [{"name": "state", "emptyDir": {}}]
    (web,) = workload["spec"]["template"]["spec"]["containers"]
    web["startupProbe"] = {"exec": {"command": ["true"]}}
    return made, workload


def unmounted() -> tuple[JSON, JSON]:
    """A sidecar whose Secret does not exist: the kubelet waits for it before it starts anything."""
    mounts = [{"name": "token", "mountPath": "/token"}]
    made, workload = trouble("unmounted", {**sidecar(), "volumeMounts": mounts})
    made["spec"]["volumes"] = [{"name": "token", "secret": {"secretName": "none"}}]
    return made, workload


TROUBLES["KnownKubeletBug"] = given_up()
TROUBLES["PodNotStarted"] = unmounted()
TROUBLES["PodNotCreated"] = trouble("unborn", sidecar(), serviceAccountName="none")
HUNG = trouble("hung", sidecar())
AT_ONCE = {"exec": {"command": ["true"]}, "periodSeconds": 1}
REFUSED = trouble("refused", {**sidecar(), "startupProbe": AT_ONCE})
FINE = trouble("fine", sidecar())
LEAVING = trouble("leaving", STUBBORN)
STRIPPED = {"hung": HUNG, "refused": REFUSED}
NATIVE = {**sidecar(), "restartPolicy": "Always"}
_, BY_HAND = trouble("by-hand", sidecar(), initContainers=[NATIVE])
"""Written by hand and selected by no policy, so only `doctor` can tell."""
EXPECTED = {made["metadata"]["name"]: reason for reason, (made, _) in TROUBLES.items()}
EXPECTED |= dict.fromkeys(STRIPPED, "RestartPolicyStripped")
SERVED = {"blocked", "given-up"}
"""Whose sidecar runs, and whose application does not."""

NOT_STUCK = {"killed", "refused", "unborn"}
"""What has run, and what has no Pods."""


def stripping(space: Namespace) -> list[JSON]:
    """Takes the restart policy off the first init container of some Pods at their creation."""
    expression = "[JSONPatch{op: 'remove', path: '/spec/initContainers/0/restartPolicy'}]"
    api = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": STRIPS}}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"]}
    wanted = [{"key": "app", "operator": "In", "values": [*STRIPPED, "by-hand"]}]
    constraints = {
        "resourceRules": [{**rule, "resources": ["pods"]}],
        "objectSelector": {"matchExpressions": wanted},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}},
    }
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": constraints,
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
    }
    return [
        {**api, "kind": "MutatingAdmissionPolicy", "spec": spec},
        {**api, "kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": STRIPS}},
    ]


@pytest.fixture(scope="module")
def ward(operator: Lab) -> Iterator[Namespace]:
    """A namespace in which everything goes wrong."""
    space = Namespace(operator, "ward")
    operator.add_node(BUGGY, wait=False)
    try:
        operator.kubectl("create", "namespace", space.name)
        fill(space)
        begin_to_strip(space)
        yield space
    finally:
        kinds = "mutatingadmissionpolicybinding,mutatingadmissionpolicy"
        operator.kubectl("delete", kinds, STRIPS, "--ignore-not-found")
        operator.kubectl("delete", "namespace", space.name, "--wait=false", "--ignore-not-found")
        operator.remove_node(BUGGY.name)


def fill(space: Namespace) -> None:
    """Creates all policies, and their workloads as soon as everybody knows them."""
    pairs = [*TROUBLES.values(), *STRIPPED.values(), FINE, LEAVING]
    space.apply(*(made for made, _ in pairs))
    jobs = [workload for _, workload in pairs if workload["kind"] == "Job"]
    eventually(lambda: all(known(space, each) for each in jobs))
    space.lab.wait_nodes()
    space.apply(*(workload for _, workload in pairs))


def begin_to_strip(space: Namespace) -> None:
    """A webhook of the old kind comes into a cluster where all was well; before that, a dry run
    would have found it out, and the policy would have changed nothing.
    """
    for name in STRIPPED:
        eventually(partial(serves, space, name), seconds=60)
    space.lab.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(stripping(space)))
    eventually(lambda: strips(space))
    space.kubectl("delete", "pods", "-l", f"app in ({','.join(STRIPPED)})", "--wait=false")
    space.apply(BY_HAND)


def serves(space: Namespace, name: str) -> bool:
    """Whether the Pods of a policy run with its sidecars."""
    pods = statuses(space)[name].get("pods") or {}
    return bool(pods.get("running"))


def known(space: Namespace, workload: JSON) -> bool:
    """Whether both replicas of the webhook know the policy of a workload."""
    text = yaml.safe_dump(workload)
    asked = ("-n", space.name, "create", "--dry-run=server", "-o", "json", "-f", "-")
    answers = (json.loads(space.lab.kubectl(*asked, input=text)) for _ in range(6))
    return all("initContainers" in each["spec"]["template"]["spec"] for each in answers)


def strips(space: Namespace) -> bool:
    """Whether the API server has taken note of the policy that strips."""
    pod = {"containers": [container("web")], "initContainers": [NATIVE]}
    probe = {"apiVersion": "v1", "kind": "Pod", "spec": pod}
    probe["metadata"] = {"name": "probe", "labels": {"app": "hung"}}
    asked = ("-n", space.name, "create", "--dry-run=server", "-o", "json", "-f", "-")
    answer = json.loads(space.lab.kubectl(*asked, input=yaml.safe_dump(probe)))
    return "restartPolicy" not in answer["spec"]["initContainers"][0]


def statuses(space: Namespace) -> dict[str, JSON]:
    found = space.all("sidecarpolicies")
    return {each["metadata"]["name"]: each.get("status") or {} for each in found}


def told(status: JSON, name: str) -> set[str]:
    """Reasons of what is said about a workload."""
    return {each["reason"] for each in status.get("problems", []) if each["name"] == name}


def test_the_status_of_each_policy_names_what_is_wrong_with_its_pods(ward: Namespace) -> None:
    def reasons() -> dict[str, set[str]]:
        return {name: told(status, name) & set(EXPECTED.values())
                for name, status in statuses(ward).items()}  # fmt: skip

    wanted = {name: {reason} for name, reason in EXPECTED.items()} | {
        "fine": set(),
        "leaving": set(),
    }
    eventually(reasons, until=lambda found: found == wanted, seconds=120)


def test_pods_are_counted_by_what_was_seen_of_them(ward: Namespace) -> None:
    def counts() -> dict[str, tuple[int, int, int]]:
        found = {name: status["pods"] for name, status in statuses(ward).items()}
        return {name: (e["total"], e["running"], e["stuck"]) for name, e in found.items()}

    wanted = {name: (1, int(name in SERVED), 1) for name in EXPECTED}
    wanted |= dict.fromkeys(NOT_STUCK, (0, 0, 0)) | dict.fromkeys(("fine", "leaving"), (1, 1, 0))
    eventually(counts, until=lambda found: found == wanted, seconds=60)


def test_an_event_on_each_owner_says_it_once(ward: Namespace) -> None:
    def events() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {name: [] for name in EXPECTED}
        for each in ward.all("events"):
            about = each["involvedObject"]
            if each["reason"] in EXPECTED.values():
                assert (about["kind"] in ("Deployment", "Job"), each["type"]) == (True, "Warning")
                found[about["name"]].append(each["reason"])
        return found

    wanted = {name: [reason] for name, reason in EXPECTED.items()}
    eventually(events, until=lambda found: found == wanted, seconds=60)


def doctor(space: Namespace, *arguments: str) -> tuple[int, JSON]:
    """Exit code and report; nothing of the operator but its command is involved."""
    argv = [sys.executable, "-m", "sidecarpolicy", "doctor", *arguments, "-o", "json"]
    answer = subprocess.run(
        space.lab.command([*argv, "-n", space.name]),
        env=space.lab.environment(),
        check=False,
        capture_output=True,
        text=True,
    )
    assert answer.returncode in (0, 1), answer.stderr
    return answer.returncode, json.loads(answer.stdout)


def test_doctor_finds_the_same_for_the_whole_namespace_and_for_one_pod(ward: Namespace) -> None:
    code, report = doctor(ward)
    found = {each["owner"]["name"]: each["reason"] for each in report["pods"]}
    found |= {each["name"]: each["reason"] for each in report["refused"]}
    assert (code, found, report["unread"]) == (1, EXPECTED | {"fine": None, "leaving": None}, [])
    pods = {each["owner"]["name"]: each["name"] for each in report["pods"]}
    code, alone = doctor(ward, f"pod/{pods['ignored']}")
    assert (code, [each["reason"] for each in alone["pods"]]) == (1, ["NodeIgnoresSidecars"])
    assert "1.26.15" in alone["pods"][0]["message"]
    code, alone = doctor(ward, f"pod/{pods['fine']}")
    assert (code, [each["reason"] for each in alone["pods"]]) == (0, [None])


def test_doctor_knows_by_the_owners_template_what_a_hand_written_pod_lost(ward: Namespace) -> None:
    (name,) = ward.kubectl("get", "pods", "-l", "app=by-hand", "-o", "name").split()
    code, report = doctor(ward, name)
    assert (code, [each["reason"] for each in report["pods"]]) == (1, ["RestartPolicyStripped"])


def test_of_a_deleted_pod_an_event_on_its_deployment_tells_how_it_ended(ward: Namespace) -> None:
    def events() -> set[tuple[str, str]]:
        found = (each for each in ward.all("events") if each["involvedObject"]["name"] == "leaving")
        return {(each["involvedObject"]["kind"], each["reason"]) for each in found}

    ward.kubectl("delete", "pods", "-l", "app=leaving", "--wait=false")
    told = ("Deployment", "SidecarKilledAtShutdown")
    eventually(events, until=lambda found: told in found, seconds=60)


def test_the_controller_counts_them_for_prometheus(ward: Namespace) -> None:
    path = f"/api/v1/namespaces/{SYSTEM}/pods/{{}}:8080/proxy/metrics"
    selected = ("-n", SYSTEM, "get", "pods", "-l", "app.kubernetes.io/component=controller")
    (name,) = ward.lab.kubectl(*selected, "-o", "name").split()
    text = ward.lab.kubectl("get", "--raw", path.format(name.removeprefix("pod/")))
    metric = "sidecarpolicy_controller_problem_pods"
    lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith(metric))
    counted = {name.partition('"')[2].rstrip('"}'): float(value) for name, _, value in lines}
    assert counted.keys() == set(EXPECTED.values())
    assert all(number >= 1 for number in counted.values()), counted
