"""The command line of `status`; its machinery is imported when it runs."""

import asyncio
import json
import shutil
import sys
import time
from typing import TYPE_CHECKING

import click

from sidecarpolicy.cli.endings import unusable_input_ends
from sidecarpolicy.cli.judging import strategies_option
from sidecarpolicy.cli.options import kubeconfig_option, operator_namespace_option
from sidecarpolicy.core.capability import Rules
from sidecarpolicy.core.selection import Exclusions

if TYPE_CHECKING:
    from sidecarpolicy.cli.status import Status, View

_SECONDS = 2.0


@click.command("status")
@click.option("-n", "--namespace", metavar="NAME", help="Default: the current context's.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Policies of all namespaces.")
@click.option("-o", "--output", type=click.Choice(["table", "wide", "json"]), default="table")
@click.option("-w", "--watch", is_flag=True, help="Look every two seconds; show what changes.")
@operator_namespace_option("Where the operator runs; nothing is ever selected there.")
@click.option(
    "--exclude-namespaces",
    default="",
    metavar="A,B,…",
    help="What the controller was told never to touch.",
)
@strategies_option
@kubeconfig_option
def status_command(
    *,
    namespace: str | None,
    all_namespaces: bool,
    output: str,
    watch: bool,
    operator_namespace: str,
    exclude_namespaces: str,
    rules: Rules,
    kubeconfig: str | None,
) -> None:
    """Show policies and where each of their workloads is.

    A policy of the cluster is shown with its workloads in the namespace that is asked for. States
    are drawn from the workloads themselves, by the controller's code; needs rights to read only,
    and says what it could not read.

    \b
    Exit code: 0 if all is well, or on its way; 1 if a policy does not work, a workload failed or
    is in conflict, or something could not be read; 2 if policies cannot be read.

    \b
    Examples:
      sidecarpolicy status
      sidecarpolicy status -A -o wide
      sidecarpolicy status -n shop --watch
    """
    from sidecarpolicy.cli.status import View
    from sidecarpolicy.cluster.connection import current_namespace

    extra = frozenset(filter(None, (name.strip() for name in exclude_namespaces.split(","))))
    where = "" if all_namespaces else namespace or current_namespace(kubeconfig)
    view = View(where, Exclusions(operator_namespace, extra), rules)
    with unusable_input_ends():
        found = _looked(view, kubeconfig)
    click.echo(_shown(found, output), nl=False)
    if watch:
        found = _watched(view, found, output, kubeconfig)
    sys.exit(0 if found.well else 1)


def _looked(view: "View", kubeconfig: str | None) -> "Status":
    from sidecarpolicy.cli.status import look

    return asyncio.run(look(view, kubeconfig=kubeconfig))


def _watched(view: "View", found: "Status", output: str, kubeconfig: str | None) -> "Status":
    """Shows what is new until somebody interrupts it; what was found last."""
    from sidecarpolicy.cli.manifests import UnusableInputError

    before = _shown(found, output)
    try:
        while True:
            time.sleep(_SECONDS)
            try:
                found = _looked(view, kubeconfig)
            except UnusableInputError as error:
                click.echo(f"Error: {error}", err=True)
                continue
            now = _shown(found, output)
            if now != before:
                click.clear()  # does nothing where the output is no terminal
                click.echo(now, nl=False)
                before = now
    except KeyboardInterrupt:
        return found


def _shown(found: "Status", output: str) -> str:
    from sidecarpolicy.cli import status_view as view

    if output == "json":
        return json.dumps(view.as_data(found), indent=2) + "\n"
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return view.as_text(found, wide=output == "wide", width=width)
