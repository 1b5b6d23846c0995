"""What the command line of the webhook refuses before anything starts."""

from click.testing import CliRunner

from sidecarpolicy.cli import main


def test_an_extra_name_that_is_none_is_refused_with_its_text() -> None:
    result = CliRunner().invoke(main, ["webhook", "--extra-name", "https://example.com"])
    assert result.exit_code == 2
    assert "'https://example.com' is neither a DNS name nor an IP address" in result.output
