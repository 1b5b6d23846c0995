"""The command `doctor`; its machinery is imported when it runs."""

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import click

from sidecarpolicy.cli.endings import unusable_input_ends
from sidecarpolicy.cli.judging import strategies_option
from sidecarpolicy.cli.options import kubeconfig_option, operator_namespace_option
from sidecarpolicy.core.capability import Rules

if TYPE_CHECKING:
    from sidecarpolicy.cli.checkup import Scope


@click.command("doctor")
@click.argument("wanted", default="", metavar="[KIND/NAME]")
@click.option("-n", "--namespace", metavar="NAME", help="Look only at what is in this namespace.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Look at all of them, the default.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
@operator_namespace_option("Where the operator runs, if it does.")
@strategies_option
@kubeconfig_option
def doctor_command(
    *,
    wanted: str,
    namespace: str | None,
    all_namespaces: bool,
    output: str,
    operator_namespace: str,
    rules: Rules,
    kubeconfig: str | None,
) -> None:
    """Tell what keeps native sidecars from running, and what to do next.

    Without KIND/NAME it checks the cluster: API server, nodes, webhooks, what becomes of a Pod
    (by a dry run), the operator, if it is there, its policies, all Pods with native sidecars, and
    Jobs that a container keeps from completing, with the policy that would make it a native one.
    With it, one Pod, or the Pods of a workload (-n: default is the current context's).

    Changes nothing, and says what it could not read. The operator need not be installed.

    \b
    Each line: ✓ fine, ✗ a problem, ? not known.
    Exit code: 0 if nothing is wrong; 1 if something is; 2 if that could not be found out.

    \b
    Examples:
      sidecarpolicy doctor
      sidecarpolicy doctor -n shop -o json
      sidecarpolicy doctor pod/web-5d9c7b-x2x8p -n shop
      sidecarpolicy doctor deploy/web -n shop
      sidecarpolicy doctor job/nightly-29380 -n shop
    """
    from sidecarpolicy.cli.checkup import Scope
    from sidecarpolicy.cluster.connection import current_namespace

    with unusable_input_ends():
        here = namespace or current_namespace(kubeconfig)
        if wanted:
            healthy = _examined(wanted, "" if all_namespaces else here, output, kubeconfig)
        else:
            narrowed = "" if all_namespaces else namespace or ""
            scope = Scope(narrowed, here, operator_namespace, rules)
            healthy = _checked_up(scope, output, kubeconfig)
    sys.exit(0 if healthy else 1)


def _examined(wanted: str, namespace: str, output: str, kubeconfig: str | None) -> bool:
    from sidecarpolicy.cli import doctor, doctor_view

    target = doctor.target(wanted, namespace)
    report = asyncio.run(doctor.examine(target, kubeconfig=kubeconfig))
    if output == "json":
        click.echo(json.dumps(doctor_view.as_data(report), indent=2))
    else:
        doctor_view.show(report)
    return report.healthy


def _checked_up(scope: "Scope", output: str, kubeconfig: str | None) -> bool:
    from sidecarpolicy.cli import checkup, checkup_view

    found = asyncio.run(checkup.check_up(scope, kubeconfig=kubeconfig))
    if output == "json":
        click.echo(json.dumps(checkup_view.as_data(found), indent=2))
    else:
        checkup_view.show(found)
    return found.healthy
