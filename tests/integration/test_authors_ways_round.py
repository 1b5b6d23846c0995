"""Ways in which somebody who may write policies, but not workloads, could get a sidecar into one.

And what must stay possible without any right on workloads.
"""

import json
from collections.abc import Iterator, Sequence

import pytest
import yaml

from lab import Lab
from tests.support.authors import (
    PODS,
    STATEFUL_SETS,
    create,
    may_not,
    patch,
    refusal,
    said,
    targets,
)
from tests.support.cluster import CRDS, JSON, Namespace, policy
from tests.support.users import User, admin, grant, right
from tests.support.waiting import eventually

CREATING = {
    "create": ("create",),
    "apply": ("apply",),
    "server-side apply": ("apply", "--server-side", "--field-manager=argocd-controller"),
}
WRITING = {
    "apply": ("apply",),
    "server-side apply": ("apply", "--server-side", "--force-conflicts"),
    "replace": ("replace",),
}
CHANGES: dict[str, JSON] = {
    "another image": {"sidecars": [{"name": "shipper", "image": "lab.local/evil:1"}]},
    "another selector": {"selector": {"matchLabels": {"app": "db"}}},
    "fewer targets": {"targets": targets("Deployment")},
    "the end of its pause": {"paused": False},
    "a field that had its default": {"nodeRule": "None"},
}


@pytest.fixture
def written(author: User, shop: Namespace) -> JSON:
    """The spec of a policy in the shop that somebody wrote who may."""
    assert refusal(author, shop, policy())
    shop.apply(policy(paused=True))
    return spec_of(shop)


def rewrite(change: JSON) -> Sequence[str]:
    return patch("scpol", "log-shipper", {"spec": change})


def spec_of(shop: Namespace) -> JSON:
    spec: JSON = shop.get("scpol", "log-shipper")["spec"]
    return spec


@pytest.mark.parametrize("command", CREATING.values(), ids=CREATING)
def test_no_policy_comes_in_by(author: User, shop: Namespace, command: tuple[str, ...]) -> None:
    answer = said(author, shop, *command, "-f", "-", obj=policy())
    assert answer.endswith(may_not(author, shop, "patch deployments"))
    assert shop.all("scpol") == []


def test_no_policy_comes_in_by_a_generated_name(author: User, shop: Namespace) -> None:
    nameless = policy() | {"metadata": {"generateName": "log-shipper-"}}
    assert create(author, shop, nameless).endswith(may_not(author, shop, "patch deployments"))
    assert shop.all("scpol") == []


@pytest.mark.parametrize("command", WRITING.values(), ids=WRITING)
def test_no_policy_is_changed_by(
    author: User, shop: Namespace, written: JSON, command: tuple[str, ...]
) -> None:
    changed = policy(**{**written, "paused": False})
    answer = said(author, shop, *command, "-f", "-", obj=changed)
    assert answer.endswith(may_not(author, shop, "patch deployments"))
    assert spec_of(shop) == written


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_no_patch_brings(author: User, shop: Namespace, written: JSON, change: JSON) -> None:
    answer = said(author, shop, *rewrite(change))
    assert answer.endswith(may_not(author, shop, "patch deployments"))
    assert spec_of(shop) == written


def test_a_policy_is_not_moved_to_workloads_that_its_author_may_not_patch(
    author: User, shop: Namespace
) -> None:
    grant(shop, author, [STATEFUL_SETS, PODS])
    assert create(author, shop, policy(targets=targets("StatefulSet"))) == ""
    assert said(author, shop, *rewrite({"paused": True})) == ""
    for words in (["Deployment"], ["StatefulSet", "Deployment"]):
        answer = said(author, shop, *rewrite({"targets": targets(*words)}))
        assert answer.endswith(may_not(author, shop, "patch deployments"))


def test_a_write_to_the_status_changes_no_spec(
    author: User, shop: Namespace, written: JSON
) -> None:
    status = "sidecarpolicies/status.sidecarpolicy.dev"
    grant(shop, author, [right("get", status), right("patch", status)])
    both = {"spec": {"paused": False}, "status": {"observedGeneration": 7}}
    command = (*patch("scpol", "log-shipper", both), "--subresource=status")
    assert said(author, shop, *command) == ""
    assert shop.status("log-shipper")["observedGeneration"] == 7
    assert spec_of(shop) == written


def test_who_impersonates_an_author_has_the_authors_rights_only(
    author: User, shop: Namespace
) -> None:
    command = ("create", "--dry-run=server", "-f", "-")
    assert said(admin(shop.lab), shop, *command, obj=policy()) == ""
    answer = said(admin(shop.lab), shop, *command, f"--as={author.name}", obj=policy())
    assert answer.endswith(may_not(author, shop, "patch deployments"))


METADATA: dict[str, JSON] = {
    "a label": {"labels": {"team": "web"}},
    "an annotation": {"annotations": {"team": "web"}},
    "a finalizer": {"finalizers": ["test.example/keep"]},
}


@pytest.mark.parametrize("metadata", METADATA.values(), ids=METADATA)
def test_it_takes_no_rights_on_workloads_to_put_and_take_back(
    author: User, shop: Namespace, written: JSON, metadata: JSON
) -> None:
    for value in (metadata, dict.fromkeys(metadata)):
        command = patch("scpol", "log-shipper", {"metadata": value})
        assert said(author, shop, *command) == ""
    assert spec_of(shop) == written


@pytest.mark.parametrize("command", WRITING.values(), ids=WRITING)
def test_it_takes_no_rights_on_workloads_to_repeat_what_is_there_by(
    author: User, shop: Namespace, written: JSON, command: tuple[str, ...]
) -> None:
    assert said(author, shop, *command, "-f", "-", obj=policy(**written)) == ""


def test_it_takes_no_rights_on_workloads_to_delete_a_policy(
    author: User, shop: Namespace, written: JSON
) -> None:
    assert written
    assert said(author, shop, "delete", "scpol", "log-shipper") == ""


def test_kubernetes_collects_a_policy_with_its_owner_and_nothing_brings_it_back(
    author: User, shop: Namespace, written: JSON
) -> None:
    assert written
    shop.kubectl("create", "configmap", "owner")
    uid = shop.get("configmap", "owner")["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    command = patch("scpol", "log-shipper", {"metadata": {"ownerReferences": [owner]}})
    assert said(author, shop, *command) == ""
    shop.delete("configmap", "owner")
    eventually(lambda: shop.all("scpol"), until=lambda found: found == [])
    assert create(author, shop, policy()).endswith(may_not(author, shop, "patch deployments"))


CRD = CRDS / "sidecarpolicies.sidecarpolicy.dev.yaml"
UNKNOWN = "ReplicaSet"


@pytest.fixture(scope="module")
def newer(alice: User) -> Iterator[Lab]:
    """The cluster with the CRD of a later release: one more kind of target, and another version."""
    lab = alice.lab
    lab.kubectl("replace", "-f", "-", input=json.dumps(newer_crd()))
    eventually(lambda: not refusal(admin(lab), None, in_another_version(policy())))
    yield lab
    lab.kubectl("replace", "-f", str(CRD))
    eventually(lambda: refusal(admin(lab), None, in_another_version(policy())))


def newer_crd() -> JSON:
    crd: JSON = yaml.safe_load(CRD.read_text())
    (version,) = crd["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    kinds = spec["properties"]["targets"]["items"]["properties"]["kind"]["enum"]
    kinds.append(UNKNOWN)
    # A name that sorts last, so that kubectl never prefers it: it remembers what a server served.
    crd["spec"]["versions"].append({**version, "name": "other", "storage": False})
    return crd


def in_another_version(obj: JSON) -> JSON:
    return {**obj, "apiVersion": "sidecarpolicy.dev/other"}


@pytest.mark.usefixtures("newer")
@pytest.mark.parametrize("others", [0, 9])
def test_nobody_may_target_a_kind_for_which_no_right_is_known(shop: Namespace, others: int) -> None:
    words = [*(f"Deployment/web-{number}" for number in range(others)), UNKNOWN]
    assert refusal(admin(shop.lab), shop, policy(targets=targets(*words))).endswith(
        f"targets of kind {UNKNOWN} are unknown to the ValidatingAdmissionPolicy; remove them "
        "from spec.targets, or have sidecarpolicy installed in one version"
    )


@pytest.mark.usefixtures("newer")
def test_another_version_of_the_api_is_no_way_round(author: User, shop: Namespace) -> None:
    answer = refusal(author, shop, in_another_version(policy()))
    assert answer.endswith(may_not(author, shop, "patch deployments"))
