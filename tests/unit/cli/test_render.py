"""`render` and `strip` as a person calls them: output, warnings and exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from sidecarpolicy.cli import main
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.core.facts import workload_facts
from sidecarpolicy.core.plan import plan
from sidecarpolicy.core.selection import Exclusions
from tests.support.cluster import cron_job, deployment, policy, stateful_set

ROOT = Path(__file__).resolve().parents[3]
LOG_SHIPPER = ROOT / "examples" / "log-shipper" / "base"


def call(*args: str, stdin: Any = None) -> Result:
    text = stdin if isinstance(stdin, str) or stdin is None else yaml.safe_dump_all(stdin)
    return CliRunner().invoke(main, list(args), input=text)


def documents(text: str) -> list[Any]:
    return [each for each in yaml.safe_load_all(text) if each is not None]


@pytest.fixture
def shipper(tmp_path: Path) -> str:
    """A file with a policy."""
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(policy()))
    return str(path)


def job(name: str) -> Any:
    spec = cron_job(name)["spec"]["jobTemplate"]["spec"]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def pod(name: str) -> Any:
    template = deployment(name)["spec"]["template"]
    metadata = {"name": name, **template["metadata"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


@pytest.mark.parametrize("make", [deployment, stateful_set, cron_job, job, pod])
def test_what_render_adds_strip_takes_out(make: Any, tmp_path: Path) -> None:
    kinds = [{"kind": kind} for kind in ("Deployment", "StatefulSet", "CronJob", "Job", "Pod")]
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(policy(targets=kinds)))
    shipper = str(path)
    obj = make("web")
    rendered = call("render", "-p", shipper, stdin=[obj])
    assert rendered.exit_code == 0
    (injected,) = documents(rendered.stdout)
    assert injected != obj
    stripped = call("strip", stdin=rendered.stdout)
    assert stripped.exit_code == 0
    assert documents(stripped.stdout) == [obj]


def test_render_makes_the_template_that_the_controller_makes(shipper: str) -> None:
    live = deployment("web")
    live["metadata"] |= {"namespace": "default", "uid": "u", "resourceVersion": "1"}
    inventory = Inventory(Exclusions("sidecarpolicy-system"))
    wanted = policy()
    wanted["metadata"] |= {"namespace": "default", "uid": "p", "resourceVersion": "2"}
    inventory.see_policy(wanted)
    inventory.see_workload(workload_facts(live, kind="Deployment"))
    (change,) = plan(inventory.snapshot("default", gone=frozenset())).changes
    (rendered,) = documents(call("render", "-p", shipper, stdin=[live]).stdout)
    assert rendered["spec"]["template"] == change.template


def test_what_is_worth_knowing_is_noted_and_stands_in_nobodys_way(
    shipper: str, tmp_path: Path
) -> None:
    amounts = {"cpu": "100m", "memory": "64Mi"}
    made = deployment("web")
    made["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": amounts}
    result = call("render", "-p", shipper, stdin=[made])
    assert result.exit_code == 0
    about, qos = result.stderr.splitlines()
    assert about.startswith("note: SidecarPolicy default/log-shipper: sidecar 'shipper' requests")
    assert "QosClassChanged: the Pod's QoS class changes from Guaranteed to Burstable" in qos
    asking = policy(sidecars=[{"name": "shipper", "image": "x", "resources": {"limits": amounts}}])
    path = tmp_path / "asking.yaml"
    path.write_text(yaml.safe_dump(asking))
    assert call("render", "-p", str(path), stdin=[made]).stderr == ""


def test_a_manifest_is_its_owners_next_update(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(policy(rollout={"existing": "OnNextUpdate"})))
    (made,) = documents(call("render", "-p", str(path), stdin=[deployment()]).stdout)
    names = [each["name"] for each in made["spec"]["template"]["spec"]["initContainers"]]
    assert names == ["shipper"]


def test_other_objects_pass_unchanged_and_in_order(shipper: str) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {}}
    unknown = {"apiVersion": "x/v1", "kind": "Unicorn", "metadata": {"name": "u"}, "horn": [None]}
    result = call("render", "-p", shipper, stdin=[service, deployment("web"), unknown])
    found = documents(result.stdout)
    assert [each["kind"] for each in found] == ["Service", "Deployment", "Unicorn"]
    assert (found[0], found[2]) == (service, unknown)


def test_a_policy_acts_in_its_own_namespace_only(shipper: str) -> None:
    elsewhere = deployment("web")
    elsewhere["metadata"]["namespace"] = "other"
    assert documents(call("render", "-p", shipper, stdin=[elsewhere]).stdout) == [elsewhere]


def test_a_namespace_among_the_manifests_may_opt_out(shipper: str) -> None:
    no = {"annotations": {"sidecarpolicy.dev/inject": "false"}}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", **no}}
    result = call("render", "-p", shipper, stdin=[space, deployment("web")])
    assert documents(result.stdout)[1] == deployment("web")
    assert "OptedOut" in result.stderr
    assert result.exit_code == 1


def test_a_finding_names_file_line_object_policy_and_reason(shipper: str, tmp_path: Path) -> None:
    clash = deployment("web", pod={"initContainers": [{"name": "shipper", "image": "mine"}]})
    path = tmp_path / "web.yaml"
    path.write_text(yaml.safe_dump_all([deployment("other"), clash]))
    result = call("render", "-p", shipper, "-f", str(path))
    assert result.exit_code == 1
    line = path.read_text().splitlines().index("---") + 2
    expected = f"warning: {path}:{line}: Deployment web: SidecarPolicy/log-shipper: NameConflict: "
    assert expected in result.stderr


def test_diff_shows_what_changes_and_json_is_one_list(shipper: str) -> None:
    diff = call("render", "-p", shipper, "--diff", stdin=[deployment("web")]).stdout
    assert "+      initContainers:" in diff
    assert not [line for line in diff.splitlines() if line.startswith("-") and line[:3] != "---"]
    result = json.loads(call("render", "-p", shipper, "-o", "json", stdin=[deployment()]).stdout)
    assert result["kind"] == "List"
    assert [each["kind"] for each in result["items"]] == ["Deployment"]


def test_lists_directories_and_times_are_read_as_kubectl_reads_them(tmp_path: Path) -> None:
    made = deployment("web")
    made["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    (tmp_path / "list.json").write_text(json.dumps({"kind": "List", "items": [made]}))
    (tmp_path / "notes.txt").write_text("kind: [")
    text = (tmp_path / "list.json").read_text()
    assert documents(call("strip", "-f", str(tmp_path)).stdout) == [made]
    assert text == (tmp_path / "list.json").read_text()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("a: [", "<stdin>:1: no YAML", id="broken YAML"),
        pytest.param("---\na: 1", "<stdin>:2: not a Kubernetes object", id="no kind"),
        pytest.param("kind: Deployment", "Deployment has no metadata.name", id="no name"),
        pytest.param("{kind: Job, metadata: x}", "Job has no metadata.name", id="odd metadata"),
        pytest.param("{kind: List, items: 5}", "the items of a List are no list", id="odd List"),
        pytest.param(
            "kind: Deployment\nmetadata: {name: w}\nspec: 7",
            "Deployment w has no usable Pod template",
            id="no template",
        ),
    ],
)
def test_unusable_input_is_named_with_file_and_line(text: str, complaint: str) -> None:
    result = call("strip", stdin=text)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        pytest.param(
            [deployment()], "no SidecarPolicy or ClusterSidecarPolicy among the policies", id="none"
        ),
        pytest.param(
            [policy(nodeRule="Sometimes")], "SidecarPolicy log-shipper: spec.nodeRule", id="bad"
        ),
        pytest.param(
            [{**policy(), "apiVersion": "v2"}], "apiVersion must be", id="another version"
        ),
    ],
)
def test_unusable_policies_are_named(made: Any, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text(yaml.safe_dump_all(made))
    result = call("render", "-p", str(path), stdin=[deployment()])
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_a_template_that_cannot_be_understood_is_named(shipper: str) -> None:
    odd = deployment("web")
    odd["spec"]["template"]["spec"]["containers"] = ["c"]
    result = call("render", "-p", shipper, stdin=[odd])
    assert result.exit_code == 2
    assert "<stdin>:1: Deployment web cannot be understood" in result.stderr


def test_a_missing_file_is_named() -> None:
    result = call("strip", "-f", "/nowhere/at/all.yaml")
    assert result.exit_code == 2
    assert "/nowhere/at/all.yaml" in result.stderr


def test_the_example_of_the_readme_renders() -> None:
    files = (str(LOG_SHIPPER / "policy.yaml"), str(LOG_SHIPPER / "deployment.yaml"))
    result = call("render", "-p", files[0], "-f", files[1])
    assert result.exit_code == 0
    (injected,) = documents(result.stdout)
    assert injected["spec"]["template"]["spec"]["initContainers"][0]["name"] == "shipper"


@pytest.mark.parametrize("command", ["render", "strip", "explain", "controller"])
def test_help_has_an_example(command: str) -> None:
    assert f"sidecarpolicy {command}" in call(command, "--help").stdout


def test_what_the_webhook_will_add_to_pods_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(policy(injectAt="Pod")))
    rendered = call("render", "-p", str(path), stdin=[deployment("web")])
    assert rendered.exit_code == 0
    (marked,) = documents(rendered.stdout)
    assert marked["spec"]["template"]["spec"] == deployment("web")["spec"]["template"]["spec"]
    assert (
        "note: <stdin>:1: Deployment web: SidecarPolicy/log-shipper: the webhook adds to its Pods: "
        "container/shipper, nodeTerm/Require"
    ) in rendered.stderr.splitlines()
    assert documents(call("strip", stdin=rendered.stdout).stdout) == [deployment("web")]
