"""Every pair of tests/data on a real API server: the real controller makes what `render` prints.

What the command line prints goes through the server as well, as a dry run, so that both sides
have its defaults.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import pytest

from lab import Lab
from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.core.marker import read_markers
from sidecarpolicy.core.record import Record, read_record
from tests.support.cluster import problems
from tests.support.pairs import CASES, JSON, Case, printed, stripped
from tests.support.processes import Controller, warnings
from tests.support.stage import Stage, Templates, namespace_of
from tests.support.waiting import eventually

LIVE = [case for case in CASES if not case.offline_only]
UNDER_POLICIES = [case for case in LIVE if not case.strips]
NEW = [case for case in LIVE if not case.injected_before]

Found = TypeVar("Found")

_NO_GRACE_PERIOD = re.compile(r'(\\"gracePeriod\\":\\"\d+:)(?=\\")')


@dataclass(frozen=True, repr=False)
class Observed:
    """What the server had before, under and after the policies, and what it makes of what
    `render` and `strip` print; all by case.
    """

    before: Mapping[Case, Templates]
    under: Mapping[Case, Templates]
    after: Mapping[Case, Templates]
    rendered: Mapping[Case, Templates]
    stripped: Mapping[Case, Templates]
    policies: Mapping[Case, Sequence[JSON]]
    log: str


@pytest.fixture(scope="module")
def observed(installed: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """All cases at the same time, on one server."""
    installed.add_fake_nodes(1, kubelet="1.36.3", prefix="new")
    stage = Stage(installed, LIVE)
    with Controller(installed, tmp_path_factory.mktemp("pairs") / "controller.log") as controller:
        stage.set_up()
        yield _observe(stage, controller)
    stage.take_down()


def _observe(stage: Stage, controller: Controller) -> Observed:
    rendered = stage.stored({case: printed(case).objects for case in LIVE})
    without = stage.stored({case: stripped(case).objects for case in LIVE})
    before = stage.templates()
    controller.start("--log-format", "json", "--revert-max-concurrent", "100%")
    stage.create_policies()
    policies = _last_seen(stage.policies, until=_all_settled, seconds=40)
    under, log = stage.templates(), controller.log()
    stage.delete_policies()
    after = _last_seen(stage.templates, until=_without_records, seconds=60)
    return Observed(before, under, after, rendered, without, policies=policies, log=log)


def _last_seen(
    look: Callable[[], Found], *, until: Callable[[Found], bool], seconds: float
) -> Found:
    """Waits as `eventually` does, but leaves it to each case's own test to judge."""
    with suppress(AssertionError):
        eventually(look, until=until, seconds=seconds)
    return look()


def _all_settled(policies: Mapping[Case, Sequence[JSON]]) -> bool:
    return all(_settled(each) for found in policies.values() for each in found)


def _settled(policy: JSON) -> bool:
    """Whether every workload has what the policy wants, or the status says why not."""
    status = policy.get("status") or {}
    if status.get("observedGeneration") != policy["metadata"]["generation"]:
        return False
    counts, said = status["workloads"], problems(status)
    return bool(counts["matched"] == counts["current"] + counts["updating"] + len(said))


def _without_records(templates: Mapping[Case, Templates]) -> bool:
    all_ = [each for found in templates.values() for each in found.values()]
    records = [read_record(each) for each in all_]
    recorded = any(each.policies for each in records if isinstance(each, Record))
    return not recorded and not any(read_markers(each) for each in all_)


def _reports(case: Case, observed: Observed) -> Iterator[str]:
    """What policies report and the controller logs of the case's workloads, as `render` puts it."""
    for policy in observed.policies[case]:
        key = f"{policy['kind']}/{policy['metadata']['name']}"
        for each in problems(policy["status"]):
            yield f"{each['kind']} {each['name']}: {key}: {each['reason']}: {each['message']}"
    for line in warnings(observed.log):
        kind, _, rest = line.partition(f" {namespace_of(case)}/")
        if rest and kind in set(TargetKind):
            yield f"{kind} {rest}"


def _with_default_grace_period(templates: Templates) -> Templates:
    """Records as on a server, which writes the default in before anyone looks."""
    text = _NO_GRACE_PERIOD.sub(r"\g<1>30", json.dumps(templates))
    filled: Templates = json.loads(text)
    return filled


@pytest.mark.parametrize("case", UNDER_POLICIES, ids=str)
def test_the_controller_makes_what_render_prints(case: Case, observed: Observed) -> None:
    assert observed.under[case] == _with_default_grace_period(observed.rendered[case])
    assert sorted(_reports(case, observed)) == sorted(case.findings)


@pytest.mark.parametrize("case", LIVE, ids=str)
def test_without_its_policies_a_workload_is_what_strip_prints(
    case: Case, observed: Observed
) -> None:
    assert observed.after[case] == observed.stripped[case]


@pytest.mark.parametrize("case", NEW, ids=str)
def test_without_its_policies_a_workload_is_what_it_was_before(
    case: Case, observed: Observed
) -> None:
    assert observed.after[case] == observed.before[case]
