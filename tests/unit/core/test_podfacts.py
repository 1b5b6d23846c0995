"""What is kept of a Pod, and whose Pod it is."""

import pytest

from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.kubeletbugs import NO_SIGTERM, PROBE_GIVEN_UP, STATUS_FROZEN
from sidecarpolicy.core.native import native_names
from sidecarpolicy.core.podfacts import concerns_us, made_from, pod_facts
from sidecarpolicy.core.refused import Refusal, lacks_pods, policies_in, refusal_of
from tests.support.builders import workload
from tests.support.patients import (
    JSON,
    NOW,
    RULE,
    SERVES,
    ago,
    init,
    owned_by,
    pod,
    recorded,
    sidecar,
)
from tests.support.plans import injected

HASHED = {"labels": {"pod-template-hash": "5d9c7b"}}


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        pytest.param({}, Ref("Pod", "shop", "web-1"), id="of nobody"),
        pytest.param(owned_by("Job", "nightly"), Ref("Job", "shop", "nightly"), id="of a Job"),
        pytest.param(
            owned_by("ReplicaSet", "web-5d9c7b", **HASHED), Ref("Deployment", "shop", "web"),
            id="of a Deployment's ReplicaSet",
        ),
        pytest.param(
            owned_by("ReplicaSet", "web-5d9c7b"), Ref("ReplicaSet", "shop", "web-5d9c7b"),
            id="of a ReplicaSet on its own",
        ),
    ],
)  # fmt: skip
def test_the_owner_that_people_know_a_pod_by(meta: JSON, expected: Ref) -> None:
    owner = pod_facts(pod(meta=meta)).owner
    assert owner.ref == expected
    direct = meta["ownerReferences"][0] if meta else {"name": "web-1", "uid": "uid-web-1"}
    assert (owner.direct.name, owner.uid) == (direct["name"], direct["uid"])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(pod(affinity=RULE), True, id="in a required term"),
        pytest.param(
            pod(nodeSelector={"sidecarpolicy.dev/native-sidecars": "true"}), True,
            id="as a selector entry",
        ),
        pytest.param(pod(nodeSelector={"disk": "ssd"}), False, id="not on another label"),
    ],
)  # fmt: skip
def test_a_node_rule_is_seen(raw: JSON, *, expected: bool) -> None:
    assert pod_facts(raw).ruled is expected


def test_the_grace_period_that_a_deletion_named_counts() -> None:
    given = {"deletionTimestamp": ago(0), "deletionGracePeriodSeconds": 1}
    assert pod_facts(pod(terminationGracePeriodSeconds=60, meta=given)).grace_seconds == 1
    assert pod_facts(pod(terminationGracePeriodSeconds=60)).grace_seconds == 60
    assert pod_facts(pod()).grace_seconds == 30


def test_pods_with_native_sidecars_concern_us_and_those_that_are_to_have_some() -> None:
    assert concerns_us(pod(sidecar(SERVES)))
    assert concerns_us(pod(init(), meta=recorded()))
    assert not concerns_us(pod(init()))
    assert native_names(pod(init(), sidecar())) == {"shipper"}


def test_an_unreadable_record_names_no_sidecars() -> None:
    broken = {"annotations": {"sidecarpolicy.dev/injected": "{"}}
    assert pod_facts(pod(sidecar(), meta=broken)).sidecars == ()


def test_the_releases_that_cure_a_bug() -> None:
    assert PROBE_GIVEN_UP.cure == "1.33.6, 1.34.2 or 1.35.0"
    assert NO_SIGTERM.cure == "1.29.8, 1.30.4 or 1.31.0"
    assert STATUS_FROZEN.cure == "1.28.8, 1.29.3 or 1.30.0"
    assert not any(bug.affects("unknown") for bug in (PROBE_GIVEN_UP, NO_SIGTERM, STATUS_FROZEN))


def creation_event(**changes: object) -> JSON:
    about = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d9c7b", "uid": "u-rs"}
    return {
        "metadata": {"name": "web.1", "namespace": "shop", "creationTimestamp": ago(100)},
        "involvedObject": {**about, "namespace": "shop"},
        "reason": "FailedCreate",
        "message": "may not be set for init containers without restartPolicy=Always",
        "firstTimestamp": ago(100),
        "lastTimestamp": ago(40),
        "eventTime": None,
        **changes,
    }


def refusal(**changes: object) -> Refusal:
    found = refusal_of(creation_event(**changes))
    assert found is not None
    return found


def test_a_refused_creation_is_its_deployments() -> None:
    found = refusal()
    assert found.owner.ref == Ref("Deployment", "shop", "web")
    assert (found.owner.direct.kind, found.owner.uid, found.at) == ("ReplicaSet", "u-rs", NOW - 40)


def test_a_refused_creation_lasts_until_a_pod_comes_to_exist() -> None:
    assert refusal().lasts(NOW, youngest=NOW - 50)
    assert not refusal().lasts(NOW, youngest=NOW - 30)
    assert not refusal().lasts(NOW, youngest=NOW - 40), "controllers try many times a second"
    assert not refusal().lasts(NOW + 1200, youngest=0)


def test_a_refused_creation_that_is_over_in_a_moment_is_none() -> None:
    just = refusal(metadata={"name": "web.1"}, firstTimestamp=ago(9), lastTimestamp=ago(8))
    assert not just.lasts(NOW, youngest=0)
    assert just.lasts(NOW + 1, youngest=0)


def owned(status: JSON, **spec: object) -> JSON:
    return {"spec": spec, "status": status}


@pytest.mark.parametrize(
    ("kind", "owner", "expected"),
    [
        ("ReplicaSet", owned({"replicas": 1}, replicas=2), True),
        ("ReplicaSet", owned({"replicas": 2}, replicas=2), False),
        ("ReplicaSet", owned({"replicas": 0}, replicas=0), False),
        ("StatefulSet", owned({}), True),
        ("DaemonSet", owned({"desiredNumberScheduled": 2, "currentNumberScheduled": 1}), True),
        ("DaemonSet", owned({"desiredNumberScheduled": 2, "currentNumberScheduled": 2}), False),
        ("Job", owned({}), True),
        ("Job", owned({}, suspend=True), False),
        ("Job", owned({"conditions": [{"type": "Complete", "status": "True"}]}), False),
    ],
    ids=[
        "one Pod short", "complete", "scaled down", "without any", "without it on one node",
        "on every node", "that has not ended", "that is suspended", "that is complete",
    ],
)  # fmt: skip
def test_only_who_wants_pods_lacks_some(kind: str, owner: JSON, *, expected: bool) -> None:
    assert lacks_pods(owner, kind) is expected


def test_a_refused_creation_that_is_repeated_counts_from_its_last_time() -> None:
    series = {"count": 9, "lastObservedTime": ago(10)}
    assert refusal(series=series, lastTimestamp=None).at == NOW - 10


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": "FailedMount"},
        {"message": "exceeded quota"},
        {"message": None},
        {"involvedObject": {"kind": "Job", "namespace": "shop"}},
    ],
    ids=["of something else", "by a quota", "without words", "of nobody"],
)
def test_no_refusal_is_an_event(changes: JSON) -> None:
    assert refusal_of(creation_event(**changes)) is None


def test_a_workload_names_the_policies_whose_sidecars_its_pods_are_to_have() -> None:
    assert policies_in(injected()) == {"SidecarPolicy/log-shipper"}
    assert policies_in(injected(injectAt="Pod")) == {"SidecarPolicy/log-shipper"}
    assert policies_in(workload()) == frozenset()


def generation(number: str) -> JSON:
    return {"annotations": {"deprecated.daemonset.template.generation": number}}


@pytest.mark.parametrize(
    ("labels", "owner", "expected"),
    [
        ({"controller-revision-hash": "db-1"}, {"status": {"updateRevision": "db-1"}}, True),
        ({"controller-revision-hash": "db-1"}, {"status": {"updateRevision": "db-2"}}, False),
        ({"pod-template-generation": "1"}, {"metadata": generation("1")}, True),
        ({"pod-template-generation": "1"}, {"metadata": generation("2")}, False),
        ({"pod-template-hash": "5d9c7b"}, {}, True),
    ],
    ids=[
        "of a StatefulSet, current", "of a StatefulSet, older", "of a DaemonSet, current",
        "of a DaemonSet, older", "of a ReplicaSet",
    ],
)  # fmt: skip
def test_a_pod_may_be_older_than_its_owners_template(
    labels: JSON, owner: JSON, *, expected: bool
) -> None:
    assert made_from(pod(meta={"labels": labels}), {"metadata": {}, **owner}) is expected
