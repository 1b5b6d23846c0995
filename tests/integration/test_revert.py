"""Taking back what a deleted policy added: exactly that, while users edit, and only on proof."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import jsonpatch
import pytest

from lab import Lab
from tests.support.admission import install, own_rights
from tests.support.cluster import CRDS, JSON, Namespace, deployment, policy
from tests.support.processes import Controller
from tests.support.waiting import eventually

MANY = 500
REVISION = "deployment.kubernetes.io/revision"


@pytest.fixture
def shop(spare: Lab) -> Iterator[Namespace]:
    """A namespace in a cluster where the operator is installed, but for its Pods."""
    install(spare)
    name = f"shop-{uuid4().hex[:6]}"
    spare.kubectl("create", "namespace", name)
    yield Namespace(spare, name)
    spare.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def controller(shop: Namespace, tmp_path: Path) -> Iterator[Controller]:
    """A controller with the rights of the account that we ship."""
    rights = own_rights(shop.lab, "controller", tmp_path)
    with Controller(shop.lab, tmp_path / "controller.log", kubeconfig=rights) as process:
        yield process


@contextmanager
def writer(shop: Namespace) -> Iterator[subprocess.Popen[str]]:
    """A user who edits all Deployments there, and ends with the context."""
    with subprocess.Popen(
        shop.lab.command([sys.executable, "-m", "tests.support.writer", shop.name, "7"]),
        env=os.environ | shop.lab.environment() | {"KUBECONFIG": str(shop.lab.kubeconfig)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "writing\n"
            yield process
        finally:
            process.kill()


def written(shop: Namespace) -> dict[str, JSON]:
    """What users decide about in each Deployment; a revision's number is its controller's."""
    found = {}
    for each in shop.all("deployments"):
        annotations = {k: v for k, v in each["metadata"]["annotations"].items() if k != REVISION}
        spec = {key: each["spec"][key] for key in ("replicas", "template")}
        found[each["metadata"]["name"]] = {"metadata": {"annotations": annotations}, "spec": spec}
    return found


def app(name: str) -> JSON:
    """A Deployment with all that the writer edits."""
    made = deployment(name, template={"annotations": {"team": "a"}})
    made["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "OWN", "value": "1"}]
    return made


def with_sidecars(shop: Namespace) -> int:
    specs = (each["spec"]["template"]["spec"] for each in shop.all("deployments"))
    return sum("initContainers" in spec for spec in specs)


def test_500_deployments_are_given_back_with_all_edits_that_users_made_meanwhile(
    shop: Namespace, controller: Controller
) -> None:
    shop.apply(*(app(f"web-{number:03}") for number in range(MANY)))
    before = written(shop)
    volume = {"name": "logs", "emptyDir": {}}
    mounts = {"volumeMounts": [{"name": "logs", "mountPath": "/logs"}]}
    env = {"env": [{"name": "LOG_DIR", "value": "/logs"}]}
    parts: JSON = {"volumes": [volume], "appContainers": mounts | env}
    shop.apply(policy(rollout={"maxConcurrent": MANY}, **parts))
    # All at one time: how many is another matter, and each edit makes its Deployment roll as well.
    controller.start("--revert-max-concurrent", "100%")
    shop.wait_status("log-shipper", current=MANY, seconds=180)
    with writer(shop) as user:
        shop.delete("scpol", "log-shipper")
        # By its log first: to look at all of them again and again would take the machine's time.
        patched = ": template patched for"
        eventually(lambda: controller.log().count(patched) >= 2 * MANY, seconds=240)
        eventually(lambda: with_sidecars(shop), until=lambda number: number == 0, seconds=60)
        edits = json.loads(user.communicate("\n", timeout=60)[0])
    assert len(edits) == MANY
    assert written(shop) == {
        name: jsonpatch.apply_patch(obj, edits[name]) for name, obj in before.items()
    }


def test_policies_that_went_with_their_crd_are_no_deleted_policies(
    shop: Namespace, controller: Controller
) -> None:
    shop.apply(policy(), deployment())
    controller.start()
    shop.wait_status("log-shipper", current=1)
    generation = shop.get("deployment", "web")["metadata"]["generation"]
    for crd in ("delete", "create"):
        shop.lab.kubectl(crd, "-f", str(CRDS))
    shop.lab.kubectl("wait", "--for=condition=Established", "-f", str(CRDS), "--timeout=30s")
    said = f"SidecarPolicy {shop.name}/log-shipper is missing, but not proved gone: CRD"
    if controller.running():
        eventually(lambda: said in controller.log() or not controller.running(), seconds=60)
    controller.kill()
    controller.start()  # it remembers nothing, and finds out by the workload
    eventually(lambda: controller.log().rpartition("is ready")[2], until=lambda log: said in log)
    shop.apply(policy())
    shop.wait_status("log-shipper", current=1)
    assert shop.get("deployment", "web")["metadata"]["generation"] == generation
    shop.delete("scpol", "log-shipper")
    eventually(lambda: shop.sidecars("web"), until=lambda names: names == [], seconds=90)


def test_a_policy_that_was_deleted_while_the_controller_was_away_is_taken_back(
    shop: Namespace, controller: Controller
) -> None:
    shop.apply(policy(), deployment())
    controller.start()
    shop.wait_status("log-shipper", current=1)
    controller.kill()
    shop.delete("scpol", "log-shipper")
    controller.start()
    eventually(lambda: shop.sidecars("web"), until=lambda names: names == [], seconds=90)


def test_who_may_not_read_policies_any_more_takes_nothing_back(
    shop: Namespace, controller: Controller
) -> None:
    shop.apply(policy(), deployment())
    controller.start()
    shop.wait_status("log-shipper", current=1)
    role = ("clusterrole", "sidecarpolicy-controller")
    rules = json.loads(shop.lab.kubectl("get", *role, "-o", "json"))["rules"]
    less = [each for each in rules if "sidecarpolicies" not in each.get("resources", ())]
    shop.lab.kubectl("patch", *role, "--type=merge", "-p", json.dumps({"rules": less}))
    may = ("auth", "can-i", "list", "scpol", "--as")
    account = "system:serviceaccount:sidecarpolicy-system:sidecarpolicy-controller"
    eventually(lambda: shop.lab.run(["kubectl", *may, account], check=False).stdout == "no\n")
    shop.delete("scpol", "log-shipper")
    said = f"SidecarPolicy {shop.name}/log-shipper is missing, but not proved gone:"
    eventually(lambda: said in controller.log(), seconds=60)
    assert "HTTP 403" in controller.log().partition(said)[2].partition("\n")[0]
    assert shop.sidecars("web") == ["shipper"]
    shop.lab.kubectl("patch", *role, "--type=merge", "-p", json.dumps({"rules": rules}))
    eventually(lambda: shop.sidecars("web"), until=lambda names: names == [], seconds=90)


def test_with_the_controller_stopped_a_namespace_is_deleted_at_once(
    shop: Namespace, controller: Controller
) -> None:
    shop.apply(policy(), deployment())
    controller.start()
    shop.wait_status("log-shipper", current=1)
    controller.stop()
    shop.lab.kubectl("delete", "namespace", shop.name, "--timeout=60s")
    shop.lab.kubectl("create", "namespace", shop.name)  # for the fixture's own clean-up
