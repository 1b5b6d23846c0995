"""The command line of `uninstall`; its machinery is imported when it runs."""

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import click

from sidecarpolicy.cli.endings import unusable_input_ends
from sidecarpolicy.cli.options import kubeconfig_option, operator_namespace_option, share_option

if TYPE_CHECKING:
    from sidecarpolicy.cli.uninstall_steps import Wish

_INTERRUPTED = 130
_QUESTION = (
    "This deletes all policies (save them: kubectl get scpol,cscpol -A -o yaml), has the Pods of "
    "their workloads made anew without what was added, and removes the operator. Go on?"
)


@click.command("uninstall")
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@share_option("--max-concurrent", "How many workloads may roll at one time.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the rollout of one workload; then it goes on without.",
)
@click.option(
    "--keep-node-labels",
    is_flag=True,
    help="Leave the nodes' labels, for Jobs that are yet to create Pods; run it again later.",
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
@operator_namespace_option("Where the operator runs, if it does.")
@kubeconfig_option
def uninstall_command(
    *,
    dry_run: bool,
    yes: bool,
    max_concurrent: str,
    timeout: float,
    keep_node_labels: bool,
    output: str,
    operator_namespace: str,
    kubeconfig: str | None,
) -> None:
    """Take the operator and all that it ever wrote out of the cluster.

    In this order: the webhook's registration, the operator's processes, the policies, what they
    added to workloads (a few at a time, each until it has rolled), labels and annotations, and
    what its manifests installed. Your own edits stay. Works with the operator running, stopped or
    half removed; interrupt it whenever you like, and run it again.

    Jobs and Pods that nobody makes anew keep their sidecars until they end. What you wrote for the
    operator to read (sidecarpolicy.dev/inject, sidecarpolicy.dev/native-sidecars-override) stays.

    \b
    Exit code: 0 if everything is taken back; 1 if something failed or is not finished;
    2 if it could not begin, and nothing was changed; 130 if it was interrupted.

    \b
    Examples:
      sidecarpolicy uninstall --dry-run
      sidecarpolicy uninstall --max-concurrent 5
      sidecarpolicy uninstall --yes -o json > uninstalled.json
    """
    from sidecarpolicy.cli.uninstall_steps import Wish

    if not (dry_run or yes):
        _ask()
    wish = Wish(
        operator_namespace,
        max_concurrent,
        timeout,
        dry_run=dry_run,
        keep_node_labels=keep_node_labels,
    )
    sys.exit(0 if _carried_out(wish, output, kubeconfig) else 1)


def _ask() -> None:
    if not sys.stdin.isatty():
        click.echo("Error: nobody to ask; pass --yes, or --dry-run to see what it does", err=True)
        sys.exit(2)
    if not click.confirm(_QUESTION, err=True):
        click.echo("Nothing was changed", err=True)
        sys.exit(2)


def _carried_out(wish: "Wish", output: str, kubeconfig: str | None) -> bool:
    from sidecarpolicy.cli import uninstall_view as view
    from sidecarpolicy.cli.uninstall import uninstall

    for_programs = output == "json"
    lines = view.Lines(err=for_programs)
    try:
        with unusable_input_ends():
            steps = asyncio.run(uninstall(wish, lines.tell, kubeconfig=kubeconfig))
    except KeyboardInterrupt:
        click.echo("Interrupted; run it again, and it goes on where it was", err=True)
        sys.exit(_INTERRUPTED)
    lines.flush()
    for line in view.summary(steps, dry_run=wish.dry_run):
        click.echo(line, err=for_programs)
    if for_programs:
        click.echo(json.dumps(view.as_data(steps, dry_run=wish.dry_run), indent=2))
    return view.finished(steps)
