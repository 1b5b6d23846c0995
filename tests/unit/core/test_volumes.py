"""Which claims tie the Pods of a workload to nodes."""

from dataclasses import replace

from sidecarpolicy.core.facts import Ref, WorkloadFacts
from sidecarpolicy.core.volumes import bound_volume, claims_of_pods, reachable_from
from tests.support.builders import template, workload

SHARED = {"name": "config", "persistentVolumeClaim": {"claimName": "config"}}


def database() -> WorkloadFacts:
    return replace(workload(), ref=Ref("StatefulSet", "shop", "db"), claims=frozenset({"data"}))


def test_all_pods_of_a_deployment_use_the_same_claims() -> None:
    present = {"config": "pv-1", "other": "pv-2"}
    found = claims_of_pods(workload(), template(volumes=[SHARED]), present)
    assert list(found) == [frozenset({"config"})]


def test_each_pod_of_a_stateful_set_has_claims_of_its_own_besides() -> None:
    present = dict.fromkeys(["config", "data-db-0", "data-db-1", "data-db-x", "data-dba-0"], "pv")
    found = claims_of_pods(database(), template(volumes=[SHARED]), present)
    assert set(found) == {frozenset({"config", "data-db-0"}), frozenset({"config", "data-db-1"})}


def test_claims_that_are_not_bound_yet_tie_nobody() -> None:
    assert list(claims_of_pods(database(), template(volumes=[SHARED]), {})) == []
    assert bound_volume({"metadata": {"name": "data"}, "spec": {}}) is None
    assert bound_volume({"metadata": {"name": "data"}, "spec": {"volumeName": "pv"}}) == (
        "data",
        "pv",
    )


def test_a_volume_without_node_affinity_is_reached_from_everywhere() -> None:
    assert reachable_from({"spec": {}}) is None
    assert reachable_from({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": []}}}}) == {
        "nodeSelectorTerms": []
    }
