"""The command line. Imports of each command's machinery wait until it runs, so --help is quick."""

import re

import click

from sidecarpolicy.core.selection import Exclusions


def _share(_: click.Context, __: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"[1-9]\d{0,5}|(?:[1-9]\d?|100)%", value):
        raise click.BadParameter(f"{value!r} is neither a number nor a percentage, both from 1")
    return value


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: sidecarpolicy controller --namespace sidecarpolicy-system",
)
@click.version_option(package_name="sidecarpolicy")
def main() -> None:
    """Native sidecar containers for real, mixed Kubernetes clusters."""


@main.command()
@click.option(
    "--namespace",
    envvar="POD_NAMESPACE",
    default="sidecarpolicy-system",
    show_default=True,
    help="The controller's own namespace, in which nothing is ever selected.",
)
@click.option(
    "--exclude-namespaces",
    default="",
    metavar="A,B,…",
    help="More namespaces that are never touched, besides kube-system and its kind.",
)
@click.option(
    "--revert-max-concurrent",
    default="10%",
    show_default=True,
    callback=_share,
    metavar="N|N%",
    help="How many workloads of a deleted policy may roll back at one time.",
)
@click.option(
    "--listen",
    default="0.0.0.0:8080",
    show_default=True,
    metavar="HOST:PORT",
    help="Where /healthz and /readyz answer.",
)
@click.option("--kubeconfig", metavar="FILE", help="Default: $KUBECONFIG, the Pod's own account.")
@click.option("--log-format", type=click.Choice(["plain", "json"]), default="plain")
@click.option("--log-level", type=click.Choice(["info", "debug"]), default="info")
def controller(
    *,
    namespace: str,
    exclude_namespaces: str,
    revert_max_concurrent: str,
    listen: str,
    kubeconfig: str | None,
    log_format: str,
    log_level: str,
) -> None:
    """Run the controller: label nodes, inject sidecars, report in policies' statuses.

    \b
    Examples:
      sidecarpolicy controller --kubeconfig ~/.kube/config --listen 127.0.0.1:8080
      sidecarpolicy controller --exclude-namespaces istio-system,cert-manager --log-format json
    """
    from sidecarpolicy.cluster.connection import NoClusterError
    from sidecarpolicy.controller.app import Options, run

    extra = frozenset(filter(None, (name.strip() for name in exclude_namespaces.split(","))))
    options = Options(
        exclusions=Exclusions(own_namespace=namespace, extra=extra),
        listen=listen,
        revert_share=revert_max_concurrent,
        kubeconfig=kubeconfig,
        json_logs=log_format == "json",
        debug=log_level == "debug",
    )
    try:
        run(options)
    except NoClusterError as error:
        raise click.ClickException(str(error)) from error
