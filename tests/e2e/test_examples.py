"""Each example on real kubelets, with stand-ins for its images: does it do what it is there for?

All of them are applied at once and deleted at once, because waiting is what takes the time.
"""

import pytest
import yaml

from lab import Lab, LabError
from tests.e2e.test_admission import pod_of
from tests.support.cluster import JSON, ROOT, Namespace, conditions
from tests.support.pods import both, ends_of, keep, moment, release, running, starts_of
from tests.support.waiting import eventually, stays

FOLDERS = {path.parents[1].name: path.parent for path in ROOT.glob("examples/*/lab/policy.yaml")}
SLOW_START = 2
"""Seconds that each stand-in for a sidecar takes until it serves."""


def namespace_of(name: str) -> str:
    text = (ROOT / "examples" / name / "base" / "namespace.yaml").read_text()
    found: str = yaml.safe_load(text)["metadata"]["name"]
    return found


@pytest.fixture(scope="module")
def examples(operator: Lab) -> dict[str, Namespace]:
    """The namespaces of all examples that have a policy, by folder."""
    for folder in FOLDERS.values():
        operator.kubectl("apply", "-k", str(folder))
    return {name: Namespace(operator, namespace_of(name)) for name in sorted(FOLDERS)}


def injected(space: Namespace, app: str) -> JSON:
    """The Pod of an application that has its sidecar."""
    label = "sidecarpolicy.dev/injected"
    found = [
        pod
        for pod in running(space)
        if pod["metadata"]["labels"].items() >= {"app": app, label: "true"}.items()
    ]
    assert len(found) == 1
    return found[0]


def restarts(pod: JSON) -> int:
    return sum(each["restartCount"] for each in both(pod))


def log(space: Namespace, pod: JSON, container: str) -> str:
    return space.kubectl("logs", pod["metadata"]["name"], "-c", container)


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_every_selected_workload_runs_with_its_sidecar(
    examples: dict[str, Namespace], name: str
) -> None:
    space = examples[name]

    def status() -> JSON:
        (policy,) = space.all("scpol")
        found: JSON = policy.get("status", {})
        return found

    def settled(now: JSON) -> bool:
        counts = now.get("workloads", {})
        return bool(counts.get("matched")) and counts["matched"] == counts["current"]

    found = eventually(status, until=settled, seconds=90)
    assert conditions(found)["Ready"][0] == "True"
    assert found["problems"] == []


def test_the_log_shipper_ships_lines(examples: dict[str, Namespace]) -> None:
    shop = examples["log-shipper"]
    pod = running(shop)[0]
    eventually(lambda: "shipped: " in log(shop, pod, "shipper"))


def test_vault_agent_has_written_the_secret_when_the_application_starts(
    examples: dict[str, Namespace],
) -> None:
    space = examples["vault-agent"]
    pod = injected(space, "grafana")
    started = starts_of(pod)
    assert started["grafana"] - started["vault-agent"] >= SLOW_START
    assert restarts(pod) == 0
    assert log(space, pod, "grafana") == "read a password of 12 characters\n"
    name = pod["metadata"]["name"]
    inside = ("exec", name, "-c", "grafana", "--", "grep", "/vault/secrets", "/proc/mounts")
    kind, _, _, options, *_ = space.kubectl(*inside).split()
    assert (kind, options.split(",")[0]) == ("tmpfs", "ro")


def test_the_migration_runs_once_the_cloud_sql_proxy_is_up(examples: dict[str, Namespace]) -> None:
    space = examples["cloud-sql-proxy"]
    pod = injected(space, "orders")
    inits = [each["name"] for each in pod["spec"]["initContainers"]]
    assert inits == ["cloud-sql-proxy", "migrate"]
    started = starts_of(pod)
    assert started["migrate"] - started["cloud-sql-proxy"] >= SLOW_START
    assert restarts(pod) == 0
    assert log(space, pod, "migrate").startswith("done: CREATE TABLE")
    assert log(space, pod, "postgrest") == "done: SELECT\n"
    assert pod["spec"]["terminationGracePeriodSeconds"] == 45


def test_requests_enter_and_leave_through_the_mesh_proxy(examples: dict[str, Namespace]) -> None:
    space = examples["mesh-proxy"]
    pod = injected(space, "web")
    assert restarts(pod) == 0
    path = f"/api/v1/namespaces/{space.name}"
    assert space.kubectl("get", "--raw", f"{path}/services/web:http/proxy/") == "three items\n"
    # Past the proxy nobody reaches the application, so the answer did come through it.
    with pytest.raises(LabError, match="connection refused"):
        space.kubectl("get", "--raw", f"{path}/pods/{pod['metadata']['name']}:8080/proxy/")


def test_the_mesh_proxy_serves_the_last_request_too(examples: dict[str, Namespace]) -> None:
    space = examples["mesh-proxy"]
    name = injected(space, "web")["metadata"]["name"]
    keep(space, name)
    space.kubectl("delete", "pod", name, "--wait=false")
    ended = eventually(lambda: ends_of(space, name), until=lambda found: len(found) == 2)
    release(space, name)
    assert ended["web"]["message"] == "three items\n"
    assert moment(ended["envoy"]["finishedAt"]) >= moment(ended["web"]["finishedAt"])


def test_the_job_is_complete_although_its_database_would_run_for_ever(
    examples: dict[str, Namespace],
) -> None:
    space = examples["sql-server-ci"]
    space.kubectl("create", "job", "now", "--from=cronjob/nightly-tests")
    space.kubectl("wait", "job/now", "--for=condition=Complete", "--timeout=60s")
    (pod,) = running(space)
    assert pod["status"]["phase"] == "Succeeded"
    assert restarts(pod) == 0
    started = starts_of(pod)
    assert started["tests"] - started["sql-server"] >= SLOW_START
    assert log(space, pod, "tests").startswith("ok: ")
    assert ends_of(space, pod["metadata"]["name"])["sql-server"]["exitCode"] == 0


def test_the_collector_serves_on_nodes_of_either_kind(examples: dict[str, Namespace]) -> None:
    space = examples["universal"]
    copies = {"new": "collector", "oldest": "collector-ordinary"}

    def receiving() -> set[tuple[str, str]]:
        pods = [each for each in running(space) if len(both(each)) == 4]
        return {
            (pod["spec"]["nodeName"], copy)
            for pod in pods
            for copy in copies.values()
            if "receiving\n" in log(space, pod, copy)
        }

    eventually(receiving, until=lambda found: found == set(copies.items()))
    pods = running(space)
    eventually(lambda: all("sent\n" in log(space, pod, "orders") for pod in pods))


def test_a_report_completes_although_the_proxy_that_its_owner_wrote_would_run_for_ever(
    examples: dict[str, Namespace],
) -> None:
    space = examples["adopting"]
    hanging = not_adopted(space, "hanging")
    space.kubectl("create", "job", "now", "--from=cronjob/nightly-report")
    space.kubectl("wait", "job/now", "--for=condition=Complete", "--timeout=60s")
    pod = pod_of(space, "now")
    assert restarts(pod) == 0
    started = starts_of(pod)
    assert started["report"] - started["cloud-sql-proxy"] >= SLOW_START
    assert log(space, pod, "report").startswith("done: REFRESH")
    eventually(lambda: both_states(space, hanging) == HANGING, seconds=60)
    assert stays(lambda: both_states(space, hanging), seconds=3) == HANGING
    assert ended(space.get("job", hanging)) == []
    written = space.get("cronjob", "nightly-report")["spec"]["jobTemplate"]["spec"]["template"]
    assert [each["name"] for each in written["spec"]["containers"]] == ["cloud-sql-proxy", "report"]


def ended(job: JSON) -> list[str]:
    """Conditions that say that a Job is over."""
    return [each["type"] for each in job["status"].get("conditions", [])]


HANGING = {"cloud-sql-proxy": {"running"}, "report": {"terminated"}}


def not_adopted(space: Namespace, name: str) -> str:
    """A Job of the CronJob's that opts out, and so runs as it is written."""
    made = space.get("cronjob", "nightly-report")["spec"]["jobTemplate"]
    made["spec"]["template"]["metadata"]["annotations"] = {"sidecarpolicy.dev/inject": "false"}
    meta = {"name": name}
    space.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": made["spec"]})
    return name


def both_states(space: Namespace, job: str) -> dict[str, set[str]]:
    """The state of each ordinary container of a Job's Pod."""
    found = pod_of(space, job)["status"].get("containerStatuses", [])
    return {each["name"]: set(each["state"]) for each in found}


def test_deleting_the_examples_leaves_nothing_stuck(
    operator: Lab, examples: dict[str, Namespace]
) -> None:
    for folder in FOLDERS.values():
        operator.kubectl("delete", "-k", str(folder), "--wait=false")
    names = [f"namespace/{space.name}" for space in examples.values()]
    operator.kubectl("wait", "--for=delete", *names, "--timeout=60s")
