"""Asking kubelets, on a real API server: who is shown to them, how often, and what follows.

The nodes are objects; a server of ours stands for their kubelets and records who asks.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from lab import Lab
from tests.support.admission import (
    CONFIGURATION,
    SYSTEM,
    dry_run,
    every,
    install,
    known,
    names,
    own_rights,
    pod,
    trusted,
)
from tests.support.audit import writes
from tests.support.authors import BASE
from tests.support.cluster import ROOT, Namespace, conditions, persisted, policy
from tests.support.kubelets import Metrics, Signed, answering, metrics, signed
from tests.support.processes import Controller, Webhook
from tests.support.users import User
from tests.support.waiting import eventually, stays

JSON = dict[str, Any]
COMPONENTS = ROOT / "deploy" / "components"
RIGHTS = (BASE / "namespace.yaml", BASE / "rbac.yaml", COMPONENTS / "node-metrics" / "rbac.yaml")
ACCOUNT = "sidecarpolicy-node-metrics"
LABEL = "sidecarpolicy.dev/native-sidecars"
EVIDENCE = "sidecarpolicy.dev/evidence"
SECONDS = 10.0
"""In which a change shows, also on a machine that does much else."""
OVERRIDE = "sidecarpolicy.dev/native-sidecars-override"


@dataclass
class Site:
    """A cluster with the controller's rights, one node, and what its kubelet says."""

    lab: Lab
    kubelet: Metrics
    authority: Signed
    rights: Path
    name: str
    log: Path

    def node(self) -> JSON:
        found: JSON = json.loads(self.lab.kubectl("get", "node", self.name, "-o", "json"))
        return found

    def label(self) -> str | None:
        value: str | None = self.node()["metadata"].get("labels", {}).get(LABEL)
        return value

    def labelled(self, value: str) -> None:
        """Waits for this label."""
        eventually(self.label, until=lambda found: found == value, seconds=SECONDS)

    def evidence(self) -> str:
        return str(self.node()["metadata"].get("annotations", {}).get(EVIDENCE))

    def written(self) -> int:
        """How often the controller has written the node."""
        return persisted(writes(self.lab)).count(("patch", f"nodes/{self.name}"))

    def upgrade(self, version: str) -> None:
        self.patch_status({"nodeInfo": {"kubeletVersion": version}})

    def patch_status(self, status: JSON) -> None:
        patch = json.dumps({"status": status})
        self.lab.kubectl(
            *("patch", "node", self.name, "--subresource=status", "--type=merge", "-p", patch)
        )

    @contextmanager
    def controller(self, *flags: str) -> Iterator[Controller]:
        """Runs with the rights that we ship."""
        with Controller(self.lab, self.log, kubeconfig=self.rights) as process:
            process.start("--log-format", "json", *flags)
            yield process

    @property
    def asking(self) -> Sequence[str]:
        """The flags that have the kubelet asked."""
        return ("--node-metrics", "kubelet", "--node-metrics-ca", self.authority.ca_file)


@pytest.fixture
def site(installed: Lab, tmp_path: Path) -> Iterator[Site]:
    """A node 1.31.0 whose kubelet says that the gate is off."""
    installed.kubectl("apply", *(f"--filename={each}" for each in RIGHTS))
    kubelet, authority = Metrics(metrics(0)), signed(tmp_path / "pki")
    name = f"asked-{uuid4().hex[:6]}"
    with answering(installed, kubelet, authority.server) as port:
        installed.kubectl("create", "-f", "-", input=json.dumps(node(name, "v1.31.0", port)))
        try:
            rights = own_rights(installed, "controller", tmp_path)
            yield Site(installed, kubelet, authority, rights, name, tmp_path / "controller.log")
        finally:
            installed.kubectl("delete", "node", name)


def node(name: str, version: str, port: int) -> JSON:
    info = dict.fromkeys(
        ("architecture", "bootID", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion",
         "machineID", "operatingSystem", "osImage", "systemUUID"), "",
    )  # fmt: skip
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "status": {
            "nodeInfo": {**info, "kubeletVersion": version},
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        },
    }


def holder(lab: Lab, token: str, place: Path) -> User:
    """Somebody who got hold of a token, under the name that the API server knows."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
              "spec": {"token": token}}  # fmt: skip
    answer = lab.kubectl("create", "-o", "json", "-f", "-", input=json.dumps(review))
    config = json.loads(lab.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    place.write_text(json.dumps(config))
    return User(lab, json.loads(answer)["status"]["user"]["username"], place)


def claims(token: str) -> JSON:
    """What a token says of itself."""
    payload = token.split(".")[1]
    found: JSON = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return found


def test_a_kubelet_sees_a_token_that_is_good_for_metrics_and_never_ours(
    site: Site, tmp_path: Path
) -> None:
    with site.controller(*site.asking):
        site.labelled("rejects")
    (sent,) = set(site.kubelet.tokens)
    token = sent.removeprefix("Bearer ")
    assert token not in site.rights.read_text()
    found = holder(site.lab, token, tmp_path / "found.json")
    assert found.name == f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"
    assert found.may("get", "nodes", "--subresource=metrics")
    for request in (
        ("get", "nodes"), ("get", "nodes", "--subresource=proxy"),
        ("get", "nodes", "--subresource=stats"), ("list", "pods", "-A"),
        ("create", f"serviceaccounts/{ACCOUNT}", "--subresource=token", "-n", SYSTEM),
    ):  # fmt: skip
        assert not found.may(*request), request
    assert claims(token)["exp"] - claims(token)["iat"] == 600


def test_the_controller_may_ask_for_tokens_of_that_account_only(site: Site) -> None:
    own = User(site.lab, "controller", site.rights)
    token = ("--subresource=token", "-n", SYSTEM)
    assert own.may("create", f"serviceaccounts/{ACCOUNT}", *token)
    assert not own.may("create", "serviceaccounts", *token)
    for other in ("sidecarpolicy-controller", "default"):
        assert not own.may("create", f"serviceaccounts/{other}", *token)
    elsewhere = ("--subresource=token", "-n", "kube-system")
    assert not own.may("create", f"serviceaccounts/{ACCOUNT}", *elsewhere)
    assert not own.may("get", "nodes", "--subresource=metrics")
    assert not own.may("get", "nodes", "--subresource=proxy")


def test_a_new_label_waits_for_the_kubelets_answer(site: Site) -> None:
    site.kubelet.seconds = 2
    with site.controller(*site.asking):
        site.labelled("rejects")
    assert site.written() == 1


def test_a_kubelet_is_asked_once_whatever_its_node_reports(site: Site) -> None:
    with site.controller(*site.asking):
        site.labelled("rejects")
        for beat in range(5):
            ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
            times = {
                "lastHeartbeatTime": f"2026-01-01T00:0{beat}:00Z",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
            site.patch_status({"conditions": [{**ready, **times}]})
        stays(lambda: len(site.kubelet.asked), seconds=2)
    assert len(site.kubelet.asked) == 1


def test_a_node_that_gains_or_loses_capability_shows_within_seconds(
    site: Site, shop: Namespace
) -> None:
    shop.apply(policy())

    def nodes() -> int:
        return int(shop.status("log-shipper").get("nodes", {}).get("capable", -1))

    def counted(number: int) -> None:
        eventually(nodes, until=lambda found: found == number, seconds=SECONDS)

    with site.controller(*site.asking):
        site.labelled("rejects")
        before = eventually(nodes, until=lambda number: number >= 0)
        for version, label, capable in (
            ("v1.36.3", "true", before + 1),
            ("v1.26.15", "false", before),
            ("v1.31.9", "rejects", before),
        ):
            site.upgrade(version)
            site.labelled(label)
            counted(capable)
        assert "v1.31.9: its metrics say" in site.evidence()
        assert len(site.kubelet.asked) == 2
        site.kubelet.text = metrics(1)
        site.upgrade("v1.32.0")
        site.labelled("true")
        counted(before + 1)
        assert conditions(shop.status("log-shipper"))["ClusterCapable"] == ("True", "Capable")


def test_the_only_capable_node_that_is_lost_shows_in_the_policys_condition(
    site: Site, shop: Namespace
) -> None:
    others = site.lab.kubectl("get", "nodes", "-o", "name").split()
    for other in others:
        site.lab.kubectl("annotate", "--overwrite", other, f"{OVERRIDE}=false")

    def shows(*wanted: str) -> None:
        eventually(
            lambda: conditions(shop.status("log-shipper")).get("ClusterCapable"),
            until=lambda found: found == wanted,
            seconds=SECONDS,
        )

    def override(value: str) -> None:
        site.lab.kubectl("annotate", "--overwrite", "node", site.name, f"{OVERRIDE}{value}")

    try:
        override("=true")
        shop.apply(policy())
        with site.controller():
            shows("True", "Capable")
            override("=rejects")
            shows("False", "NoCapableNodes")
            site.labelled("rejects")
            override("=perhaps")
            shows("True", "Capable")
            eventually(site.evidence, until=lambda text: "'perhaps', which is none of" in text)
            override("-")
            eventually(site.evidence, until=lambda text: "perhaps" not in text, seconds=SECONDS)
    finally:
        for other in set(others) - {f"node/{site.name}"}:
            site.lab.kubectl("annotate", other, f"{OVERRIDE}-")


def test_a_restart_asks_nobody_again_and_writes_nothing(site: Site) -> None:
    with site.controller(*site.asking):
        site.labelled("rejects")
    before = site.written()
    with site.controller(*site.asking):
        stays(site.label, seconds=2)
    assert site.written() == before
    assert len(site.kubelet.asked) == 1


def test_the_webhook_judges_as_the_controller_and_asks_nobody(
    site: Site, shop: Namespace, tmp_path: Path
) -> None:
    site.lab.add_fake_nodes(1, kubelet="1.36.3", prefix="new")
    bound = pod("bound")
    bound["spec"]["nodeName"] = site.name

    def sidecars() -> list[str]:
        return names(dry_run(shop, bound)["spec"])

    with site.controller(*site.asking), webhook(site.lab, tmp_path):
        known(shop, every())
        site.labelled("rejects")
        eventually(sidecars, until=lambda found: found == [])
        site.kubelet.text = metrics(1)
        site.upgrade("v1.32.0")
        site.labelled("true")
        eventually(sidecars, until=lambda found: found == ["shipper"])
    assert len(site.kubelet.asked) == 2


@contextmanager
def webhook(lab: Lab, place: Path) -> Iterator[None]:
    """The webhook as installed, which the API server asks."""
    install(lab)
    rights = own_rights(lab, "webhook", place)
    try:
        with Webhook(lab, place / "webhook.log", kubeconfig=rights) as process:
            process.start("--log-format", "json")
            eventually(lambda: trusted(lab))
            yield
    finally:
        lab.kubectl("delete", CONFIGURATION)


def test_without_metrics_what_was_read_earlier_goes(site: Site) -> None:
    with site.controller(*site.asking):
        site.labelled("rejects")
    with site.controller():
        site.labelled("true")
    annotations = site.node()["metadata"]["annotations"]
    assert "sidecarpolicy.dev/feature-gate" not in annotations
    assert site.evidence().endswith("its feature gate was not read")


def test_a_certificate_that_the_clusters_ca_did_not_sign_shows_in_the_evidence(site: Site) -> None:
    with site.controller("--node-metrics", "kubelet"):
        site.labelled("true")
        eventually(site.evidence, until=lambda text: "its certificate is not trusted" in text)
    assert site.kubelet.asked == []


def test_without_the_component_the_evidence_says_which_token_is_missing(site: Site) -> None:
    site.lab.kubectl("-n", SYSTEM, "delete", "rolebinding", f"{ACCOUNT}-token")
    own = User(site.lab, "controller", site.rights)
    token = ("create", f"serviceaccounts/{ACCOUNT}", "--subresource=token", "-n", SYSTEM)
    eventually(lambda: not own.may(*token))
    with site.controller(*site.asking):
        missing = f"could not be read: no token of ServiceAccount {SYSTEM}/{ACCOUNT}: "
        eventually(site.evidence, until=lambda text: missing in text)
    assert site.kubelet.asked == []


def test_an_unreadable_version_counts_by_the_api_servers_where_that_is_switched_on(
    site: Site,
) -> None:
    site.upgrade("build-4711")
    with site.controller():
        site.labelled("false")
    with site.controller("--capability-strategies", "override,version,apiserver-skew"):
        site.labelled("true")
    assert "supports none older than 1.33" in site.evidence()


def test_no_token_is_in_the_log_and_tokens_are_asked_for_one_account_only(site: Site) -> None:
    with site.controller(*site.asking) as process:
        site.labelled("rejects")
        token = site.kubelet.tokens[0].removeprefix("Bearer ")
        assert token not in process.log()
    objects_written = [each["objectRef"] for each in writes(site.lab)]
    asked = {each["name"] for each in objects_written if each["resource"] == "serviceaccounts"}
    assert asked == {ACCOUNT}
