"""The command `doctor`; its machinery is imported when it runs."""

import json
import sys

import click

from sidecarpolicy.cli.endings import unusable_input_ends


@click.command("doctor")
@click.argument("wanted", default="", metavar="[KIND/NAME]")
@click.option("-n", "--namespace", metavar="NAME", help="Default: that of the current context.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Look at all namespaces.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
@click.option("--kubeconfig", metavar="FILE", help="Default: $KUBECONFIG, the Pod's own account.")
def doctor_command(
    *,
    wanted: str,
    namespace: str | None,
    all_namespaces: bool,
    output: str,
    kubeconfig: str | None,
) -> None:
    """Tell what is wrong with Pods that have native sidecars, and what to do next.

    Looks at one Pod, at the Pods of a workload, or, where nothing is named, at all Pods of the
    namespace. Only reads; the operator need not be installed.

    \b
    Exit code: 0; 1 if something is wrong; 2 if that could not be found out.

    \b
    Examples:
      sidecarpolicy doctor pod/web-5d9c7b-x2x8p -n shop
      sidecarpolicy doctor deploy/web -n shop -o json
      sidecarpolicy doctor -A
    """
    import asyncio

    from sidecarpolicy.cli import doctor, doctor_view
    from sidecarpolicy.cluster.connection import current_namespace

    with unusable_input_ends():
        space = "" if all_namespaces else namespace or current_namespace(kubeconfig)
        target = doctor.target(wanted, space)
        report = asyncio.run(doctor.examine(target, kubeconfig=kubeconfig))
    if output == "json":
        click.echo(json.dumps(doctor_view.as_data(report), indent=2))
    else:
        doctor_view.show(report)
    sys.exit(0 if report.healthy else 1)
