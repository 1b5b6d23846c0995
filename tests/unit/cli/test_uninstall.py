"""`uninstall` as people and programs see it; what it does to a cluster is an integration test."""

import pytest
from click.testing import CliRunner

from sidecarpolicy.cli.main import main
from sidecarpolicy.cli.uninstall_steps import Action, State, Step, needed
from sidecarpolicy.cli.uninstall_view import Lines, as_data, finished, summary

STRIPPED = Step(State.DONE, Action.STRIP, "Deployment", "web", "shop", "free of SidecarPolicy/x")
KEPT = Step(State.STAYS, Action.NONE, "Job", "once", "shop", "it keeps its sidecars until it ends")


def cleaned(kind: str, state: State = State.DONE) -> Step:
    return Step(state, Action.CLEAN, kind, "any")


def printed(capsys: pytest.CaptureFixture[str], *steps: Step) -> list[list[str]]:
    lines = Lines(err=False)
    for step in steps:
        lines.tell(step)
    lines.flush()
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_each_step_is_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, STRIPPED, KEPT) == [
        ["STATE", "ACTION", "OBJECT", "WHAT"],
        ["done", "strip", "Deployment", "shop/web", "free", "of", "SidecarPolicy/x"],
        ["stays", "Job", "shop/once", *["it", "keeps", "its", "sidecars", "until", "it", "ends"]],
    ]


def test_what_is_merely_cleaned_is_counted_unless_it_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failed = cleaned("Node", State.FAILED)
    rows = printed(capsys, cleaned("Node"), cleaned("Node"), cleaned("Job"), failed)
    assert [row[:4] for row in rows[1:]] == [
        ["done", "clean", "2", "Nodes"],
        ["done", "clean", "1", "Job"],
        ["failed", "clean", "Node", "any"],
    ]


@pytest.mark.parametrize(
    ("steps", "end"),
    [
        ([STRIPPED, KEPT], "Everything is taken back"),
        ([KEPT], "Nothing to take back"),
        ([cleaned("Node", State.UNFINISHED)], "Everything is taken back; see above what has not "),
        ([STRIPPED, cleaned("Node", State.FAILED)], "Not finished: mend what failed, and run it "),
    ],
)
def test_the_last_line_says_how_it_ended(steps: list[Step], end: str) -> None:
    assert summary(steps, dry_run=False)[-1].startswith(end)


def test_that_histories_still_have_sidecars_is_said_once() -> None:
    lines = summary([cleaned("ReplicaSet"), cleaned("ReplicaSet")], dry_run=False)
    assert [line.startswith("Older revisions") for line in lines] == [True, False]


def test_what_stays_by_itself_leaves_nothing_to_finish() -> None:
    assert finished([STRIPPED, KEPT])
    assert not finished([STRIPPED, cleaned("Node", State.FAILED)])
    assert as_data([KEPT], dry_run=True) == {
        "dryRun": True,
        "finished": True,
        "steps": [
            {
                "state": "stays",
                "action": "none",
                "kind": "Job",
                "namespace": "shop",
                "name": "once",
                "message": "it keeps its sidecars until it ends",
            }
        ],
    }


def test_a_dry_run_needs_rights_to_read_only() -> None:
    assert {right.verb for right in needed(dry_run=True)} == {"get", "list"}
    assert {right.verb for right in needed(dry_run=False)} == {"get", "list", "patch", "delete"}


def test_where_nobody_can_be_asked_it_wants_to_be_told() -> None:
    result = CliRunner().invoke(main, ["uninstall"])
    assert result.exit_code == 2
    assert "pass --yes, or --dry-run" in result.output


def test_without_a_cluster_it_says_so() -> None:
    result = CliRunner().invoke(main, ["uninstall", "--yes", "--kubeconfig", "/no/such/file"])
    assert result.exit_code == 2
    assert "no cluster to connect to" in result.output
