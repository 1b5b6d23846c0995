"""What the command line takes of how nodes are judged, and what it refuses at once."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sidecarpolicy.cli import main
from sidecarpolicy.cli.judging import node_metrics
from sidecarpolicy.cluster.kubelets import Account
from sidecarpolicy.controller.nodemetrics import NodeMetrics, effective
from sidecarpolicy.core.capability import RULES, Rules, Strategy


def chosen(source: str, rules: Rules = RULES) -> NodeMetrics | None:
    return node_metrics(
        source, rules, namespace="ours", account="metrics", ca_file="ca.crt", recheck=60
    )


@pytest.mark.parametrize("command", ["controller", "webhook", "nodes"])
@pytest.mark.parametrize("value", ["", "version,metric", "Version"])
def test_a_strategy_that_is_none_is_refused_with_those_that_are(command: str, value: str) -> None:
    result = CliRunner().invoke(main, [command, "--capability-strategies", value])
    assert result.exit_code == 2
    assert "choose some of override, version, metrics, apiserver-skew" in result.output


def test_metrics_that_no_strategy_would_use_are_refused() -> None:
    flags = ["--node-metrics", "kubelet", "--capability-strategies", "override,version"]
    result = CliRunner().invoke(main, ["controller", *flags])
    assert result.exit_code == 2
    assert "--node-metrics=kubelet needs the strategy metrics" in result.output


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_that_is_none_is_refused(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_text(content)
    flags = ["--node-metrics", "kubelet", "--node-metrics-ca", str(file)]
    result = CliRunner().invoke(main, ["controller", *flags])
    assert result.exit_code == 2
    assert "ca.crt: no certificates in PEM form" in result.output


def test_no_source_of_metrics_is_chosen_unless_somebody_does() -> None:
    assert chosen("none") is None
    assert chosen("kubelet") == NodeMetrics(60, Account("ours", "metrics"), "ca.crt")
    assert chosen("apiserver-proxy") == NodeMetrics(60, None, "ca.crt")
    with pytest.raises(click.UsageError):
        chosen("kubelet", Rules(frozenset({Strategy.VERSION})))


def test_where_no_metrics_are_read_their_strategy_is_off() -> None:
    assert Strategy.METRICS in effective(RULES, chosen("kubelet")).strategies
    assert effective(RULES, None).strategies == {Strategy.OVERRIDE, Strategy.VERSION}
