"""The oldest API server that the lab has, as one that real clusters still run."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab, Node
from tests.support import admission
from tests.support.audit import writes
from tests.support.authors import INSTALLED, PODS, WORKLOADS, may_not, refusal
from tests.support.cluster import (
    CRDS,
    Namespace,
    cluster_policy,
    conditions,
    deployment,
    persisted,
    policy,
    problems,
)
from tests.support.doctors import doctor, said, states
from tests.support.labs import lab_for
from tests.support.processes import Controller
from tests.support.universal import (
    IMAGE,
    complete,
    job,
    ready_pod,
    restarts,
    runs,
    serving,
    universal,
    web,
)
from tests.support.users import admin, grant, let_write_policies, person
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def older() -> Iterator[Lab]:
    """An API server 1.31 whose gate for native sidecars is off."""
    lab = lab_for("older")
    lab.down()
    lab.up(version="1.31.0", api_server_flags=("--feature-gates=SidecarContainers=false",))
    yield lab
    lab.down()


def test_an_api_server_1_31_takes_the_crd_and_fills_in_the_defaults(older: Lab) -> None:
    applied = older.run(["kubectl", "apply", "-f", str(CRDS)])
    assert applied.stderr == ""
    older.kubectl("wait", "--for=condition=Established", "-f", str(CRDS), "--timeout=30s")
    default = Namespace(older, "default")
    default.apply(policy())
    stored = default.get("scpol", "log-shipper")
    assert {"kind": "Deployment"} in stored["spec"]["targets"]
    assert stored["status"] == {"observedGeneration": -1}
    assert json.loads(older.kubectl("version", "-o", "json"))["serverVersion"]["minor"] == "31"


def test_an_api_server_1_31_checks_authors(older: Lab) -> None:
    older.kubectl("apply", "-f", str(CRDS))
    assert older.run(["kubectl", "apply", *INSTALLED]).stderr == ""
    alice, default = person(older, "alice"), Namespace(older, "default")
    let_write_policies(default, alice)
    wanted, lacked = policy("checked"), may_not(alice, default, "patch deployments")
    eventually(lambda: refusal(alice, default, wanted).endswith(lacked))
    grant(default, alice, [*WORKLOADS, PODS])
    assert refusal(alice, default, wanted) == ""


@pytest.mark.parametrize(
    "fields",
    [{}, {"lifecycle": {"preStop": {"exec": {"command": ["true"]}}}}],
    ids=["dropped silently", "refused loudly"],
)
def test_an_api_server_that_drops_the_field_is_told_and_nothing_is_written(
    older: Lab, tmp_path: Path, fields: dict[str, object]
) -> None:
    older.kubectl("apply", "-f", str(CRDS))
    older.add_fake_nodes(1, kubelet="1.31.0", prefix="node")
    name = f"shop-{len(fields)}"
    older.kubectl("create", "namespace", name)
    shop = Namespace(older, name)
    sidecars = [{"name": "shipper", "image": "lab.local/busybox:1", **fields}]
    nowhere = {"matchLabels": {"no": "namespace"}}
    unused = cluster_policy(name, namespaceSelector=nowhere, sidecars=sidecars)
    shop.apply(deployment(), policy(sidecars=sidecars))
    older.kubectl("apply", "-f", "-", input=json.dumps(unused))
    with Controller(older, tmp_path / "controller.log") as controller:
        controller.start("--log-format", "json")
        status = shop.wait_status("log-shipper", pending=1)
        told = ("False", "ApiServerDropsField")
        assert conditions(status)["ClusterCapable"] == conditions(status)["Ready"] == told
        assert [each["reason"] for each in problems(status)] == ["ApiServerDropsField"]
        assert "feature gate SidecarContainers" in problems(status)[0]["message"]
        eventually(lambda: _conditions(older, name).get("ClusterCapable") == told)
    written = {what.partition("/")[0] for _, what in persisted(writes(older))}
    assert written <= {"nodes", "sidecarpolicies", "clustersidecarpolicies"}
    assert shop.get("deployment", "web")["metadata"]["generation"] == 1


def test_doctor_blames_the_api_server_and_no_webhook(older: Lab) -> None:
    code, _, report = doctor(admin(older))
    found = {check: said(report, check) for check in ("api-server", "dry-run")}
    assert {check: each["reason"] for check, each in found.items()} == dict.fromkeys(
        ("api-server", "dry-run"), "ApiServerDropsField"
    )
    assert (code, states(report)["mutating-webhooks"]) == (1, "fine")
    nobody = doctor(person(older, "nobody"))[2]
    assert states(nobody)["api-server"] == "unknown"  # only its metrics tell


def test_in_mode_universal_the_ordinary_copy_serves_where_the_field_is_dropped(
    older: Lab, tmp_path: Path
) -> None:
    older.add_node(Node("real", "1.31.0"))
    older.kubectl("create", "namespace", "everywhere")
    space = Namespace(older, "everywhere")
    app = {
        "name": "web",
        "image": IMAGE,
        "command": ["sh", "-c", "trap exit TERM; sleep 1d & wait"],
    }
    with admission.running(older, tmp_path):
        space.apply(universal(), web("calm", "real", app))
        status = space.wait_status("log-shipper", current=1, seconds=120)
        assert conditions(status)["ClusterCapable"] == ("False", "ApiServerDropsField")
        pod = ready_pod(space, "calm-real")
        assert [("restartPolicy" in each) for each in pod["spec"]["initContainers"]] == [False] * 2
        assert "affinity" not in pod["spec"]
        assert serving(space, pod) == {"shipper-ordinary"}
        assert set(restarts(pod).values()) == {0}
        (run,) = runs(space, pod["metadata"]["name"])
        assert run.last > run.begun
        space.apply(job("open", "real", "true"), job("done", "real", "touch /state/done"))
        eventually(lambda: complete(space, "done"), seconds=60)
        assert not complete(space, "open")


def _conditions(lab: Lab, name: str) -> dict[str, tuple[str, str]]:
    found = json.loads(lab.kubectl("get", "cscpol", name, "-o", "json"))
    return conditions(found.get("status") or {})
