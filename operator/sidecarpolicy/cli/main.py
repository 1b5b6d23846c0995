"""The command line. Imports of each command's machinery wait until it runs, so --help is quick."""

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from sidecarpolicy.api.names import SYSTEM_NAMESPACE
from sidecarpolicy.cli.doctor_command import doctor_command
from sidecarpolicy.cli.endings import unusable_input_ends
from sidecarpolicy.cli.judging import node_metrics as node_metrics_chosen
from sidecarpolicy.cli.judging import node_metrics_options, strategies_option
from sidecarpolicy.cli.leading import candidate, leader_options
from sidecarpolicy.cli.nodes_command import nodes_command
from sidecarpolicy.cli.options import kubeconfig_option, share_option
from sidecarpolicy.cli.status_command import status_command
from sidecarpolicy.cli.uninstall_command import uninstall_command
from sidecarpolicy.core.capability import Rules
from sidecarpolicy.core.selection import Exclusions

if TYPE_CHECKING:
    from sidecarpolicy.cli.manifests import Manifest
    from sidecarpolicy.cli.render import Rendered


def _server_names(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        return value
    from sidecarpolicy.webhook.pki import server_names

    try:
        server_names(*value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return value


_LEVELS = 30_000
"""Recursions. An API server takes JSON of 10,000 levels (sigs.k8s.io/json), in fields of a policy
that its schema leaves open; by default Python fails at a tenth of that, and with it whoever reads.
"""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: sidecarpolicy controller --namespace sidecarpolicy-system",
)
@click.version_option(package_name="sidecarpolicy")
def main() -> None:
    """Native sidecar containers for real, mixed Kubernetes clusters."""
    sys.setrecursionlimit(_LEVELS)


main.add_command(nodes_command)
main.add_command(doctor_command)
main.add_command(status_command)
main.add_command(uninstall_command)

_Command = Callable[..., None]


def _process_options(command: _Command) -> _Command:
    """What both processes take."""
    for option in reversed(
        (
            click.option(
                "--namespace",
                envvar="POD_NAMESPACE",
                default=SYSTEM_NAMESPACE,
                show_default=True,
                help="The operator's own namespace, in which nothing is ever selected.",
            ),
            click.option(
                "--exclude-namespaces",
                default="",
                metavar="A,B,…",
                help="More namespaces that are never touched, besides kube-system and its kind.",
            ),
            strategies_option,
            kubeconfig_option,
            click.option("--log-format", type=click.Choice(["plain", "json"]), default="plain"),
            click.option("--log-level", type=click.Choice(["info", "debug"]), default="info"),
        )
    ):
        command = option(command)
    return command


def _exclusions(namespace: str, extra: str) -> Exclusions:
    names = frozenset(filter(None, (name.strip() for name in extra.split(","))))
    return Exclusions(own_namespace=namespace, extra=names)


@main.command()
@_process_options
@share_option(
    "--revert-max-concurrent", "How many workloads of a deleted policy may roll back at one time."
)
@click.option(
    "--listen",
    default="0.0.0.0:8080",
    show_default=True,
    metavar="HOST:PORT",
    help="Where /healthz, /readyz and /metrics answer.",
)
@node_metrics_options
@leader_options
def controller(
    *,
    namespace: str,
    exclude_namespaces: str,
    rules: Rules,
    revert_max_concurrent: str,
    listen: str,
    node_metrics: str,
    node_metrics_ca: str | None,
    node_metrics_account: str,
    node_metrics_recheck: float,
    leader_elect: bool,
    leader_identity: str | None,
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

    options = Options(
        exclusions=_exclusions(namespace, exclude_namespaces),
        listen=listen,
        revert_share=revert_max_concurrent,
        rules=rules,
        node_metrics=node_metrics_chosen(
            node_metrics,
            rules,
            namespace=namespace,
            account=node_metrics_account,
            ca_file=node_metrics_ca,
            recheck=node_metrics_recheck,
        ),
        candidate=candidate(elect=leader_elect, identity=leader_identity, namespace=namespace),
        kubeconfig=kubeconfig,
        json_logs=log_format == "json",
        debug=log_level == "debug",
    )
    try:
        run(options)
    except NoClusterError as error:
        raise click.ClickException(str(error)) from error


@main.command()
@_process_options
@click.option(
    "--listen",
    default="0.0.0.0:9443",
    show_default=True,
    metavar="HOST:PORT",
    help="Where admission reviews are answered, over TLS.",
)
@click.option(
    "--health",
    default="0.0.0.0:8081",
    show_default=True,
    metavar="HOST:PORT",
    help="Where /healthz, /readyz and /metrics answer.",
)
@click.option(
    "--service",
    default="sidecarpolicy-webhook",
    show_default=True,
    help="Name of the Service in front of it; its certificate is made for that.",
)
@click.option(
    "--extra-name",
    "extra_names",
    multiple=True,
    metavar="NAME|IP",
    callback=_server_names,
    help="Another name by which the API server reaches it.",
)
@click.option(
    "--tls-dir",
    metavar="DIR",
    help="Serve with tls.crt and tls.key from here (cert-manager), instead of an own CA.",
)
@click.option(
    "--controller-user",
    metavar="USER",
    help="Whose requests pass untouched; default: the controller's ServiceAccount.",
)
@click.option(
    "--leave-seconds",
    type=click.FloatRange(0, 60),
    default=5.0,
    show_default=True,
    help="For how long it answers on after it was told to end.",
)
def webhook(
    *,
    namespace: str,
    exclude_namespaces: str,
    rules: Rules,
    listen: str,
    health: str,
    service: str,
    extra_names: tuple[str, ...],
    tls_dir: str | None,
    controller_user: str | None,
    leave_seconds: float,
    kubeconfig: str | None,
    log_format: str,
    log_level: str,
) -> None:
    """Run the admission webhook: Jobs, Pods and new workloads get their sidecars at once.

    \b
    Examples:
      sidecarpolicy webhook --log-format json
      sidecarpolicy webhook --listen 127.0.0.1:9443 --extra-name 127.0.0.1
    """
    from sidecarpolicy.cluster.connection import NoClusterError
    from sidecarpolicy.webhook.app import Options, run
    from sidecarpolicy.webhook.certificates import Site

    own = f"system:serviceaccount:{namespace}:sidecarpolicy-controller"
    options = Options(
        exclusions=_exclusions(namespace, exclude_namespaces),
        own_user=controller_user or own,
        listen=listen,
        health=health,
        site=Site(namespace=namespace, service=service, extra_names=extra_names),
        rules=rules,
        tls_dir=tls_dir,
        leave_seconds=leave_seconds,
        kubeconfig=kubeconfig,
        json_logs=log_format == "json",
        debug=log_level == "debug",
    )
    try:
        run(options)
    except NoClusterError as error:
        raise click.ClickException(str(error)) from error


_FILES = click.option(
    "-f",
    "--filename",
    "filenames",
    multiple=True,
    default=("-",),
    metavar="PATH",
    help="File or directory of manifests; - (the default) is standard input.",
)
_OUTPUT = click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml")
_DIFF = click.option("--diff", is_flag=True, help="Show what changes instead of the result.")


_POLICIES = click.option(
    "-p",
    "--policy",
    "policies",
    multiple=True,
    required=True,
    metavar="PATH",
    help="File or directory with SidecarPolicies and ClusterSidecarPolicies.",
)


@main.command("render")
@_POLICIES
@_FILES
@_OUTPUT
@_DIFF
def render_command(
    *, policies: tuple[str, ...], filenames: tuple[str, ...], output: str, diff: bool
) -> None:
    """Show what policies would make of manifests. No cluster is needed.

    \b
    Exit code: 0; 1 if there is something to say (on standard error); 2 for unusable input.

    Examples:
      sidecarpolicy render -p policy.yaml -f deployment.yaml
      kubectl kustomize . | sidecarpolicy render -p policies/ --diff
    """
    from sidecarpolicy.cli.manifests import read_manifests
    from sidecarpolicy.cli.render import render

    _show(
        lambda: (
            manifests := read_manifests(filenames),
            render(read_manifests(policies), manifests),
        ),
        output=output,
        diff=diff,
    )


@main.command("strip")
@_FILES
@_OUTPUT
@_DIFF
def strip_command(*, filenames: tuple[str, ...], output: str, diff: bool) -> None:
    """Take out of manifests all that policies added: the reverse of render.

    \b
    Example:
      kubectl get deploy web -o yaml | sidecarpolicy strip
    """
    from sidecarpolicy.cli.manifests import read_manifests
    from sidecarpolicy.cli.render import strip

    _show(
        lambda: (manifests := read_manifests(filenames), strip(manifests)),
        output=output,
        diff=diff,
    )


@main.command("explain")
@_POLICIES
@_FILES
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table")
@click.argument("workload", default="", metavar="[KIND/NAME]")
def explain_command(
    *, policies: tuple[str, ...], filenames: tuple[str, ...], output: str, workload: str
) -> None:
    """Tell which policies select a workload, what each adds, in which order, and why not.

    \b
    Exit code: 0; 1 if something stands in a policy's way; 2 for unusable input.

    \b
    Examples:
      sidecarpolicy explain deploy/web -p policies/ -f deployment.yaml
      kubectl get deploy,sts,cj -o yaml | sidecarpolicy explain -p policies/ -o json
    """
    from sidecarpolicy.cli import explain
    from sidecarpolicy.cli.manifests import as_yaml, read_manifests

    with unusable_input_ends():
        explained = explain.explanations(
            read_manifests(policies), read_manifests(filenames), wanted=workload
        )
    if output == "table":
        explain.show(explained)
    else:
        data = explain.as_data(explained)
        click.echo(json.dumps(data, indent=2) if output == "json" else as_yaml(data))
    sys.exit(1 if explain.has_findings(explained) else 0)


def _show(
    work: "Callable[[], tuple[list[Manifest], Rendered]]", *, output: str, diff: bool
) -> None:
    """Prints the result, warnings apart, and ends with the exit code that says how it went."""
    from sidecarpolicy.cli.manifests import as_diff, as_json, as_yaml

    with unusable_input_ends():
        manifests, rendered = work()
    if diff:
        click.echo(as_diff(zip(manifests, rendered.objects, strict=True)), nl=False)
    else:
        click.echo((as_json if output == "json" else as_yaml)(rendered.objects), nl=False)
    for note in rendered.notes:
        click.echo(f"note: {note}", err=True)
    for warning in rendered.warnings:
        click.echo(f"warning: {warning}", err=True)
    sys.exit(1 if rendered.warnings else 0)
