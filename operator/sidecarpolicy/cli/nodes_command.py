"""The command line of `nodes`; its machinery waits in `cli.nodes` until it runs."""

import sys

import click

from sidecarpolicy.cli.judging import NONE, PROXY, strategies_option
from sidecarpolicy.cli.options import kubeconfig_option
from sidecarpolicy.core.capability import Rules


@click.command("nodes")
@click.option("-o", "--output", type=click.Choice(["table", "wide", "json"]), default="table")
@click.option(
    "--node-metrics",
    type=click.Choice([NONE, PROXY]),
    default=NONE,
    show_default=True,
    help="Ask kubelets 1.28 to 1.32 for their feature gate, with your right to get nodes/proxy.",
)
@strategies_option
@kubeconfig_option
def nodes_command(*, output: str, node_metrics: str, rules: Rules, kubeconfig: str | None) -> None:
    """Tell which nodes run native sidecars, and what proves it.

    Reads nodes only, and needs no operator in the cluster.

    \b
    Exit code: 0 if all nodes are capable; 1 if one is not, is labelled otherwise, or could
    not be asked; 2 if nodes cannot be read.

    \b
    Examples:
      sidecarpolicy nodes
      sidecarpolicy nodes -o wide --node-metrics apiserver-proxy
    """
    from sidecarpolicy.cli import nodes

    try:
        survey = nodes.survey(kubeconfig, rules, ask=node_metrics == PROXY)
    except nodes.UnreadableError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    nodes.show(survey, output=output)
    for finding in survey.findings:
        click.echo(f"warning: {finding}", err=True)
    sys.exit(1 if survey.flawed else 0)
