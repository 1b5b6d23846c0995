"""The ledger: nothing is reported of a spec that was not planned."""

from dataclasses import replace

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.controller.ledger import Entry, Ledger
from sidecarpolicy.core.facts import CLUSTER, PolicyFacts, Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.snapshot import Elsewhere
from sidecarpolicy.core.standing import Standing, State
from sidecarpolicy.core.summary import summarize
from tests.support.builders import policy


def entry(of: PolicyFacts, *names: str, generation: int = 1) -> dict[str, Entry]:
    standings = [Standing(Ref("Deployment", "shop", name), State.CURRENT) for name in names]
    return {of.key: Entry(of.uid, generation, summarize(standings))}


def matched(ledger: Ledger, of: PolicyFacts) -> int | None:
    summary = ledger.summary(of)
    return None if summary is None else summary.matched


MESH = replace(policy("mesh"), scope=CLUSTER)


def test_a_cluster_policy_is_the_sum_of_all_namespaces() -> None:
    ledger = Ledger()
    ledger.put("shop", entry(MESH, "web"))
    ledger.put("bank", entry(MESH, "web", "api"))
    assert matched(ledger, MESH) == 3
    ledger.drop("shop")
    assert matched(ledger, MESH) == 2


def test_a_policy_has_no_status_until_its_spec_was_planned_everywhere() -> None:
    ledger, changed = Ledger(), replace(MESH, generation=2)
    ledger.put("shop", entry(MESH, "web"))
    ledger.put("bank", entry(MESH, "web"))
    ledger.put("shop", entry(changed, "web", generation=2))
    assert matched(ledger, changed) is None
    ledger.put("bank", entry(changed, generation=2))
    assert matched(ledger, changed) == 1


def test_what_was_planned_for_a_deleted_policy_is_not_its_namesakes() -> None:
    ledger, ours = Ledger(), policy()
    ledger.put("shop", entry(ours, "web"))
    assert matched(ledger, ours) == 1
    assert matched(ledger, replace(ours, uid="another")) is None


def rolling(of: PolicyFacts, *states: State) -> dict[str, Entry]:
    standings = [
        Standing(Ref("Deployment", "shop", f"web-{number}"), state)
        for number, state in enumerate(states)
    ]
    return {of.key: Entry(of.uid, 1, summarize(standings))}


def test_each_namespace_knows_what_a_cluster_policy_does_elsewhere() -> None:
    ledger = Ledger()
    ledger.put("shop", rolling(MESH, State.UPDATING, State.SKIPPED, State.CURRENT))
    ledger.put("bank", rolling(MESH, State.FAILED))
    assert ledger.elsewhere("shop") == {MESH.key: Elsewhere(matched=1, failed=1)}
    assert ledger.elsewhere("new") == {MESH.key: Elsewhere(matched=3, rolling=1, failed=1)}
    ledger.drop("shop")
    assert ledger.elsewhere("new") == {MESH.key: Elsewhere(matched=1, failed=1)}


def test_a_rollout_that_finished_wakes_the_namespaces_that_wait_for_its_place() -> None:
    ledger = Ledger()
    ledger.put("shop", rolling(MESH, State.UPDATING))
    assert ledger.put("bank", rolling(MESH, State.PENDING)) == {CLUSTER}
    ledger.put("idle", rolling(MESH, State.CURRENT))
    assert ledger.put("shop", rolling(MESH, State.CURRENT)) == {CLUSTER, "bank"}


def test_what_waits_for_its_owner_elsewhere_holds_no_place() -> None:
    ledger, finding = Ledger(), Finding(Reason.WAITING_FOR_OWNER, "paused")
    paused = Standing(Ref("Deployment", "shop", "web"), State.UPDATING, finding)
    ledger.put("shop", {MESH.key: Entry(MESH.uid, 1, summarize([paused]))})
    assert ledger.elsewhere("new") == {MESH.key: Elsewhere(matched=1)}


def test_a_deleted_namespace_leaves_its_place_to_the_namespaces_that_wait() -> None:
    ledger = Ledger()
    ledger.put("shop", rolling(MESH, State.UPDATING))
    ledger.put("bank", rolling(MESH, State.PENDING))
    assert ledger.drop("shop") == {CLUSTER, "bank"}


def test_only_news_about_cluster_policies_asks_for_their_report() -> None:
    ledger, ours = Ledger(), policy()
    assert not ledger.put("shop", entry(ours, "web"))
    assert ledger.put("shop", {**entry(ours, "web"), **entry(MESH)})
    assert not ledger.put("shop", {**entry(ours, "web", "api"), **entry(MESH)})
    assert ledger.put("shop", {**entry(ours), **entry(MESH, "web")})
