"""The book of Pods: its numbers, and how little it keeps."""

import gc
import tracemalloc
from typing import Any

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.controller.podbook import PodBook
from sidecarpolicy.core.advice import CREATION_REFUSED
from sidecarpolicy.core.diagnosis import Case, diagnose, settled
from sidecarpolicy.core.facts import CLUSTER
from sidecarpolicy.core.podfacts import PodFacts, pod_facts
from sidecarpolicy.core.selection import Exclusions
from sidecarpolicy.core.trouble import PodTally, Trouble, pod_record
from tests.support.builders import policy
from tests.support.patients import (
    JSON,
    NOW,
    SERVES,
    container,
    ended,
    owned_by,
    pod,
    recorded,
    running,
    sidecar,
    waiting,
)
from tests.support.plans import MESH, WEB, cluster_policy

SHIPPER, MESH_POLICY = policy(), cluster_policy()
NO_IMAGE = sidecar(waiting("ErrImagePull"))
RUNS: JSON = {"apps": (container("web", running()),), "phase": "Running"}


def put(book: PodBook, raw: JSON) -> frozenset[str]:
    facts = pod_facts(raw)
    found = diagnose(Case(facts, NOW))
    rests = settled(facts, NOW) and found is None
    return book.put(facts.uid, pod_record(facts, found), None if rests else facts)


def named(
    name: str, *inits: JSON, key: str = SHIPPER.key, space: str = "shop", **rest: Any
) -> JSON:
    meta = {**recorded(policy=key), "name": name, "uid": name, "namespace": space}
    return pod(*inits, meta=meta, **rest)


def numbers(tally: PodTally) -> tuple[int, int, int]:
    return tally.total, tally.running, tally.stuck


def test_pods_are_counted_by_what_was_seen_of_them() -> None:
    book = PodBook()
    put(book, named("a", sidecar(SERVES), **RUNS))
    put(book, named("b", sidecar(waiting())))
    put(book, named("c", NO_IMAGE))
    tally = book.tally(SHIPPER)
    assert numbers(tally) == (3, 1, 1)
    assert [each.owner.ref.name for each in tally.troubles] == ["c"]
    assert book.reasons() == {Reason.IMAGE_PULL_FAILING: 1}


def test_a_pod_that_recovers_is_stuck_no_more() -> None:
    book = PodBook()
    put(book, named("a", NO_IMAGE))
    put(book, named("a", sidecar(SERVES), **RUNS))
    assert book.tally(SHIPPER) == PodTally(total=1, running=1)
    assert not +book.reasons()
    book.drop("a")
    assert book.tally(SHIPPER) == PodTally()
    assert book.uids() == frozenset()


def test_only_news_are_worth_a_report() -> None:
    book = PodBook()
    assert put(book, named("a", NO_IMAGE)) == {"shop"}
    assert put(book, named("a", sidecar(waiting("ImagePullBackOff", "in 40s")))) == frozenset()
    assert book.drop("a") == {"shop"}
    assert book.drop("a") == frozenset()


def test_facts_are_kept_only_of_pods_that_are_not_settled() -> None:
    book = PodBook()
    put(book, named("a", sidecar(running(1))))
    assert [each.ref.name for each in book.unsettled()] == ["a"]
    put(book, named("a", sidecar(SERVES), **RUNS))
    assert book.unsettled() == ()


def test_settled_pods_are_known_by_their_node() -> None:
    book = PodBook()
    put(book, named("a", sidecar(running(1))))
    put(book, named("b", sidecar(SERVES), **RUNS))
    put(book, named("c", sidecar(SERVES), nodeName="n2", **RUNS))
    assert book.settled({"n1", "n3"}) == {"n1": {"b"}}


def test_a_policy_of_the_cluster_has_the_sum_of_all_namespaces() -> None:
    book = PodBook()
    assert put(book, named("a", sidecar(SERVES), key=MESH, space="one", **RUNS)) == {CLUSTER}
    put(book, named("b", NO_IMAGE, key=MESH, space="two"))
    assert numbers(book.tally(MESH_POLICY)) == (2, 1, 1)
    assert book.tally(SHIPPER) == PodTally()


def test_an_owner_whose_pods_are_refused_is_told_of_once_for_each_policy() -> None:
    book = PodBook()
    owner = pod_facts(pod(meta=owned_by("Job", "nightly"))).owner
    trouble = Trouble(owner, CREATION_REFUSED.on(), 0)
    found = {("shop", SHIPPER.key): (trouble,), ("shop", "SidecarPolicy/other"): (trouble,)}
    assert book.refuse(found) == {"shop"}
    assert book.refuse(found) == frozenset()
    assert book.tally(SHIPPER).troubles == (trouble,)
    assert book.reasons() == {Reason.RESTART_POLICY_STRIPPED: 1}
    assert book.refuse({}) == {"shop"}
    assert book.tally(SHIPPER) == PodTally()


def test_the_youngest_pod_of_an_owner() -> None:
    book = PodBook()
    facts: PodFacts = pod_facts(pod(sidecar(), meta={**recorded(), **owned_by("Job", "nightly")}))
    assert book.youngest(facts.owner) == 0
    book.put(facts.uid, pod_record(facts, None), facts)
    assert book.youngest(facts.owner) == facts.created


def test_a_running_pod_takes_about_a_kilobyte() -> None:
    """So that ten thousand of them, with their owners, fit into ten megabytes."""
    inventory = Inventory(Exclusions(own_namespace="system"))
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(2_000):
            name = f"web-{number // 10:04}-5d9c7b-{number:05}"
            owner = owned_by("ReplicaSet", f"web-{number // 10:04}-5d9c7b")
            raw = named(name, sidecar(SERVES), **RUNS)
            raw["metadata"] |= {**owner, "uid": f"0b0c8b9e-37a1-4a3e-9d5f-{number:012}"}
            put(inventory.pods, raw)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / 2_000 < 1_100
    assert numbers(inventory.pods.tally(SHIPPER)) == (2_000, 2_000, 0)


def test_a_workload_has_idle_sidecars_until_they_run_or_their_pod_is_gone() -> None:
    book = PodBook()
    waits, ref = named("a", sidecar(waiting())), pod_facts(named("a")).owner.ref
    created = pod_facts(waits).created
    put(book, waits)
    put(book, named("b", sidecar(SERVES), **RUNS))
    assert book.idle(ref) == {SHIPPER.key: created}
    put(book, named("a", sidecar(SERVES), **RUNS))
    assert book.idle(ref) == {}
    put(book, waits)
    book.drop("a")
    assert book.idle(ref) == {}


def test_a_sidecar_that_ends_again_and_again_is_idle_also_while_it_runs() -> None:
    book, ref = PodBook(), pod_facts(named("a")).owner.ref
    runs = running(4, started=True, restartCount=5, lastState=ended(2, since=20))
    put(book, named("a", sidecar(runs), **RUNS))
    assert book.idle(ref, arrived=True).keys() == {SHIPPER.key}
    put(book, named("a", sidecar(waiting())))
    assert book.idle(ref, arrived=True) == {}
    assert book.idle(ref).keys() == {SHIPPER.key}


def test_sidecars_are_fresh_until_they_have_run_for_a_moment() -> None:
    book, ref = PodBook(), pod_facts(named("a")).owner.ref
    put(book, named("a", sidecar(running(1, started=True)), **RUNS))
    assert book.fresh(ref, now=NOW + 2).keys() == {SHIPPER.key}
    assert book.fresh(ref, now=NOW + 3) == {}


def test_the_cause_is_the_worst_of_a_workloads_pods_and_nobody_elses() -> None:
    book = PodBook()
    put(book, named("a", NO_IMAGE))
    ref = pod_facts(named("a")).owner.ref
    assert "shipper" in book.cause(ref)
    assert book.cause(WEB) == ""
    assert PodBook().cause(ref) == ""
    assert book.blamed(ref) == {SHIPPER.key}
    assert not book.blamed(WEB)
