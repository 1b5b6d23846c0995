"""The report on a cluster: for people, for programs, and how it ends."""

import json

import pytest
from click.testing import CliRunner

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.cli import checkup_view, main
from sidecarpolicy.cli.checkup import Checkup
from sidecarpolicy.cli.checkup_view import as_data, lines
from sidecarpolicy.cli.doctor import Report
from sidecarpolicy.core.checkup import Check, Unread, fine, problem, unread

FINE = fine(Check.NODES, "1 of 1 nodes run native sidecars")
UNKNOWN = unread(Check.CONTROLLER, "its Deployment", Unread("HTTP 403"))
PROBLEM = problem(
    Check.POLICIES,
    "Ready is False: no",
    next_step="See its status",
    about="SidecarPolicy shop/logs",
    reason=Reason.REFUSED,
    details=["Deployment shop/web: Refused: no"],
)


def test_each_check_has_a_line_with_details_and_next_step_below() -> None:
    assert list(lines(Checkup((FINE, UNKNOWN, PROBLEM), Report((), unread=("events: no",))))) == [
        "✓ Nodes               1 of 1 nodes run native sidecars",
        "? Controller          could not read its Deployment: HTTP 403",
        "✗ Policies            SidecarPolicy shop/logs: Ready is False: no",
        "    Deployment shop/web: Refused: no",
        "    Next: See its status",
        "    Could not read events: no",
        "",
        "1 problem; 1 not known",
    ]


def test_what_is_printed_where_it_is_no_terminal_is_plain(
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkup = Checkup((FINE, PROBLEM), None)
    checkup_view.show(checkup)
    assert capsys.readouterr().out.splitlines() == list(lines(checkup))


def test_only_a_problem_is_a_problem() -> None:
    assert Checkup((FINE, UNKNOWN), None).healthy
    assert not Checkup((FINE, PROBLEM), None).healthy


def test_programs_get_every_field_of_every_check() -> None:
    data = json.loads(json.dumps(as_data(Checkup((FINE, PROBLEM), None))))
    assert data == {
        "checks": [
            {
                "check": "nodes", "state": "fine", "about": None, "reason": None,
                "message": "1 of 1 nodes run native sidecars", "nextStep": None, "details": [],
            },
            {
                "check": "policies", "state": "problem", "about": "SidecarPolicy shop/logs",
                "reason": "Refused", "message": "Ready is False: no",
                "nextStep": "See its status", "details": ["Deployment shop/web: Refused: no"],
            },
        ],
        "pods": None, "refused": None, "jobs": None, "moreJobs": 0, "unread": [],
    }  # fmt: skip


def test_every_check_has_a_title() -> None:
    every = [fine(each, "well") for each in Check]
    assert len([line for line in lines(Checkup(tuple(every), None)) if "well" in line]) == len(
        Check
    )


@pytest.mark.parametrize("flags", [[], ["-A"], ["-n", "shop", "-o", "json"]])
def test_without_a_cluster_it_ends_with_two(
    flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    answer = CliRunner().invoke(main, ["doctor", *flags])
    assert answer.exit_code == 2, answer.output
    assert answer.output.startswith("Error: ")


def test_help_says_what_it_does_with_examples() -> None:
    said = CliRunner().invoke(main, ["doctor", "--help"]).output
    for text in ("✓ fine, ✗ a problem, ? not known", "sidecarpolicy doctor -n shop -o json"):
        assert text in said
