"""Fights over time: writes of ours, what others make of them, and the end."""

from typing import Any

from sidecarpolicy.controller.fights import Fights
from sidecarpolicy.core.fights import WINDOW
from sidecarpolicy.core.held import Because, Hold
from sidecarpolicy.core.plan import plan
from tests.support.builders import policy, snapshot, workload
from tests.support.plans import KEY, WEB

_TEMPLATE: Any = {"f:spec": {"f:template": {}}}
_FIELDS = [{"manager": "deployer", "time": "2026-01-01T00:00:00Z", "fieldsV1": _TEMPLATE}]


def rounds(fights: Fights, *, number: int, every: float, start: float = 0) -> list[Any]:
    """Has a writer undo each of our writes; what was given in to in each round."""
    found = []
    for each in range(number):
        now = start + each * every
        web = workload(metadata={"generation": 2 * each + 1, "managedFields": _FIELDS})
        seen = snapshot(policies=(policy(),), workloads=(web,))
        planned = plan(seen)
        found.append(fights.lost(planned, seen, now=now))
        fights.made(planned.changes[0], generation=2 * each + 2, now=now)
    return found


def test_after_three_undone_writes_we_give_in_and_name_the_writer() -> None:
    revision = policy().desired
    assert revision is not None
    hold = Hold(KEY, revision.revision, Because.FIGHT, "deployer")
    assert rounds(Fights(), number=4, every=10) == [{}, {}, {}, {WEB: (hold,)}]


def test_who_undoes_us_now_and_then_is_written_over() -> None:
    assert not any(rounds(Fights(), number=20, every=WINDOW / 2))


def test_what_happened_long_ago_is_forgotten() -> None:
    fights = Fights()
    rounds(fights, number=3, every=1)
    assert not any(rounds(fights, number=3, every=1, start=3 * WINDOW))


def test_what_is_taken_out_is_no_fight() -> None:
    fights = Fights()
    (change,) = plan(snapshot(policies=(policy(),), workloads=(workload(),))).changes
    pods = workload(pods=dict(change.template))
    seen = snapshot(policies=(policy(selector={"matchLabels": {"x": "y"}}),), workloads=(pods,))
    for moment in range(5):
        planned = plan(seen)
        assert planned.changes
        assert fights.lost(planned, seen, now=moment) == {}
        fights.made(planned.changes[0], generation=1, now=moment)


def test_what_we_take_out_ourselves_and_put_in_again_is_no_fight() -> None:
    """As when a selector is narrowed and widened, again and again."""
    fights, plain = Fights(), workload()
    narrow = policy(selector={"matchLabels": {"x": "y"}})
    for moment in range(5):
        wide = snapshot(policies=(policy(),), workloads=(plain,))
        planned = plan(wide)
        assert fights.lost(planned, wide, now=moment) == {}
        fights.made(planned.changes[0], generation=4 * moment + 2, now=moment)
        carrying = workload(
            pods=dict(planned.changes[0].template), metadata={"generation": 4 * moment + 2}
        )
        (back,) = plan(snapshot(policies=(narrow,), workloads=(carrying,))).changes
        fights.made(back, generation=4 * moment + 3, now=moment)
        plain = workload(metadata={"generation": 4 * moment + 3})
