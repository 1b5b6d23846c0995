"""`sidecarpolicy nodes` on a real API server: what it shows, to whom, and how it ends."""

import json
import sys
from collections.abc import Iterator
from subprocess import CompletedProcess

import pytest

from lab import Lab
from tests.support.users import User, dismiss, grant_everywhere, person, right

NODES = {"asked-new": "1.36.3", "asked-open": "1.31.0", "asked-old": "1.28.15"}


@pytest.fixture(scope="module")
def reader(cluster: Lab) -> Iterator[User]:
    """Somebody who may list nodes and nothing else; there are some, and no operator."""
    user = person(cluster, "nodes-reader")
    grant_everywhere(user, [right("list", "nodes")])
    for name, version in NODES.items():
        cluster.add_fake_nodes(1, kubelet=version, prefix=name)
    yield user
    cluster.kubectl("delete", "node", *(f"{each}-0" for each in NODES))
    dismiss(user)


def nodes(user: User, *flags: str) -> CompletedProcess[str]:
    """The command, whatever becomes of it."""
    argv = [sys.executable, "-m", "sidecarpolicy", "nodes", *flags]
    return user.lab.run(argv, check=False, env={"KUBECONFIG": str(user.kubeconfig)})


def rows(done: CompletedProcess[str]) -> dict[str, list[str]]:
    """The table's lines about our nodes by name, as words."""
    found = (line.split() for line in done.stdout.splitlines() if line.startswith("asked-"))
    return {words[0]: words[1:] for words in found}


def said(done: CompletedProcess[str]) -> list[str]:
    """What is said of our nodes; other tests may have left nodes with labels of theirs."""
    return [line for line in done.stderr.splitlines() if " asked-" in line]


def test_a_right_to_list_nodes_is_enough_and_no_operator_is_needed(reader: User) -> None:
    done = nodes(reader)
    assert done.stdout.splitlines()[0].split() == [
        "NODE", "KUBELET", "SIDECARS", "REASON", "EVIDENCE",
    ]  # fmt: skip
    assert {name: words[:3] for name, words in rows(done).items()} == {
        "asked-new-0": ["v1.36.3", "true", "GenerallyAvailable"],
        "asked-open-0": ["v1.31.0", "true", "OnByDefault"],
        "asked-old-0": ["v1.28.15", "rejects", "OffByDefault"],
    }
    assert " ".join(rows(done)["asked-open-0"]).endswith("; its feature gate was not read")
    assert (done.returncode, said(done)) == (1, [])


def test_programs_get_json(reader: User) -> None:
    done = nodes(reader, "-o", "json")
    (found,) = (each for each in json.loads(done.stdout) if each["name"] == "asked-new-0")
    assert found == {
        "name": "asked-new-0",
        "kubelet": "v1.36.3",
        "operatingSystem": "linux",
        "nativeSidecars": "true",
        "reason": "GenerallyAvailable",
        "evidence": "kubelet v1.36.3: native sidecars are GA since 1.33",
        "featureGate": None,
        "override": None,
        "label": None,
    }


def test_it_says_which_kubelets_it_could_not_ask(reader: User) -> None:
    done = nodes(reader, "--node-metrics", "apiserver-proxy")
    missing = "feature gate not read: HTTP 403: the right to read its metrics is missing"
    assert said(done) == [f"warning: asked-{name}-0: {missing}" for name in ("old", "open")]
    assert "HTTP 403" in " ".join(rows(done)["asked-open-0"])
    assert done.returncode == 1


def test_a_label_that_says_otherwise_is_a_finding(reader: User) -> None:
    label = "sidecarpolicy.dev/native-sidecars"
    reader.lab.kubectl("label", "node", "asked-new-0", f"{label}=false")
    done = nodes(reader, "-o", "wide")
    assert said(done) == ["warning: asked-new-0: labelled 'false', but found 'true'"]
    assert rows(done)["asked-new-0"][:5] == ["v1.36.3", "true", "linux", "-", "false"]
    reader.lab.kubectl("label", "node", "asked-new-0", f"{label}-")


def test_an_override_that_is_none_is_a_finding(reader: User) -> None:
    override = "sidecarpolicy.dev/native-sidecars-override"
    reader.lab.kubectl("annotate", "node", "asked-new-0", f"{override}=yes")
    done = nodes(reader)
    reader.lab.kubectl("annotate", "node", "asked-new-0", f"{override}-")
    ignored = f"the annotation {override} says 'yes', which is none of true, false, rejects"
    assert said(done) == [f"warning: asked-new-0: {ignored}, and is ignored"]
    assert rows(done)["asked-new-0"][1:3] == ["true", "GenerallyAvailable"]


def test_without_the_right_to_list_nodes_it_says_so_and_ends_with_2(cluster: Lab) -> None:
    done = nodes(person(cluster, "nodes-nobody"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: cannot list nodes: nodes is forbidden: ")


def test_where_all_nodes_are_capable_it_ends_with_0(reader: User) -> None:
    override = "sidecarpolicy.dev/native-sidecars-override"
    everyone = reader.lab.kubectl("get", "nodes", "-o", "name").split()
    reader.lab.kubectl("annotate", *everyone, f"{override}=true")
    reader.lab.kubectl("label", *everyone, "sidecarpolicy.dev/native-sidecars-")
    done = nodes(reader)
    reader.lab.kubectl("annotate", *everyone, f"{override}-")
    assert {words[2] for words in rows(done).values()} == {"Overridden"}
    assert (done.returncode, done.stderr) == (0, "")
