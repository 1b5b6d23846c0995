"""docs/troubleshooting.md, held against the code that it explains."""

import re
from pathlib import Path

import pytest

from sidecarpolicy.cli.hanging import MAX_JOBS
from sidecarpolicy.core import kubeletbugs
from sidecarpolicy.core.advice import ALL, OF_JOBS, Advice
from sidecarpolicy.core.diagnosis import Patience
from sidecarpolicy.core.hanging import PATIENCE_SECONDS
from sidecarpolicy.core.kubeletbugs import Bug
from sidecarpolicy.core.trouble import REASONS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
BUGS = [each for each in vars(kubeletbugs).values() if isinstance(each, Bug)]


def quotes(section: str) -> list[str]:
    """What a section quotes, each in one line."""
    found = re.findall(r"(?:^> .*\n)+", section, re.MULTILINE)
    return [" ".join(each.replace("> ", " ").split()) for each in found]


@pytest.mark.parametrize("advice", [*ALL, *OF_JOBS], ids=lambda advice: str(advice.message[:40]))
def test_the_page_quotes_each_message_and_its_next_step(advice: Advice) -> None:
    quoted = quotes(SECTIONS[advice.reason])
    assert advice.message in quoted
    assert advice.next_step in quoted


def test_the_page_quotes_nothing_that_the_code_does_not_say() -> None:
    said = {text for advice in (*ALL, *OF_JOBS) for text in (advice.message, advice.next_step)}
    assert {text for section in SECTIONS.values() for text in quotes(section)} == said


def test_the_page_has_the_reasons_in_the_order_in_which_they_are_told() -> None:
    assert list(SECTIONS) == [*(reason.value for reason in REASONS), OF_JOBS[0].reason.value]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: str(bug.issue))
def test_the_page_names_each_bug_and_its_cure(bug: Bug) -> None:
    (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| [{bug.issue}]"))
    assert bug.cure.replace(" or ", ", ") in row
    assert f"from 1.{bug.since} on" in row


def test_the_page_says_what_may_take_how_long() -> None:
    patience = Patience()
    flat = " ".join(PAGE.split())
    assert f"{patience.scheduling:.0f} seconds for a node" in flat
    assert f"{patience.mounting:.0f} seconds for its volumes and network" in flat
    assert f"{patience.creating:.0f} seconds for an image or a Secret" in flat
    assert f"may run for {patience.init / 60:.0f} minutes" in flat
    assert patience.crashes == 2  # "may crash once"
    assert f"{PATIENCE_SECONDS:.0f} seconds after the others" in flat
    assert f"at most {MAX_JOBS} Jobs" in flat
