"""Every pair of tests/data through the command line: what `render` and `strip` print."""

import re

import pytest

from tests.support.pairs import CASES, FILES, Case, call, documents, printed, readable, stripped


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_result_is_as_expected(case: Case) -> None:
    result = printed(case)
    assert readable(result.objects) == readable(case.expected)
    assert result.warnings == case.findings
    assert result.exit_code == (1 if case.findings else 0)


@pytest.mark.parametrize("case", [each for each in CASES if not each.strips], ids=str)
def test_rendering_the_result_again_changes_nothing(case: Case) -> None:
    once = printed(case).text
    assert call("render", "-p", str(case.policies), stdin=once).objects == documents(once)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_strip_gives_back_what_the_user_wrote(case: Case) -> None:
    users = call("strip", "-f", str(case.input)).objects
    assert stripped(case).objects == users


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_says_its_rule_and_has_nothing_that_nobody_reads(case: Case) -> None:
    first = (case.folder / "expected.yaml").read_text().partition("\n")[0]
    assert re.fullmatch(r"# \w.+\.", first)
    assert {each.name for each in case.folder.iterdir()} <= FILES
