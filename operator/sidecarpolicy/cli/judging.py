"""Options that say how nodes are judged; shared by controller, webhook and `nodes`."""

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from sidecarpolicy.core.capability import RULES, Rules, Strategy

if TYPE_CHECKING:
    from sidecarpolicy.controller.nodemetrics import NodeMetrics

_Command = Callable[..., None]

KUBELET, PROXY, NONE = "kubelet", "apiserver-proxy", "none"
_DEFAULT = ",".join(each for each in Strategy if each in RULES.strategies)


def _rules(_: click.Context, __: click.Parameter, value: str) -> Rules:
    names = [name.strip() for name in value.split(",") if name.strip()]
    unknown = [name for name in names if name not in tuple(Strategy)]
    if unknown or not names:
        raise click.BadParameter(
            f"{', '.join(unknown) or 'nothing'}: choose some of {', '.join(Strategy)}"
        )
    return Rules(frozenset(Strategy(name) for name in names))


def _authority(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    try:
        ssl.create_default_context(cafile=value)
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{value}: no certificates in PEM form: {error}") from error
    return value


strategies_option = click.option(
    "--capability-strategies",
    "rules",
    default=_DEFAULT,
    show_default=True,
    callback=_rules,
    metavar="A,B,…",
    help="How nodes are judged (docs/capability.md); the same for controller and webhook.",
)


def node_metrics_options(command: _Command) -> _Command:
    """What the controller takes to read kubelets' metrics."""
    for option in reversed(
        (
            click.option(
                "--node-metrics",
                type=click.Choice([NONE, KUBELET, PROXY]),
                default=NONE,
                show_default=True,
                help="Read the feature gate of kubelets 1.28 to 1.32 from their metrics.",
            ),
            click.option(
                "--node-metrics-ca",
                metavar="FILE",
                callback=_authority,
                help="What signed the kubelets' certificates. Default: the cluster's CA.",
            ),
            click.option(
                "--node-metrics-account",
                default="sidecarpolicy-node-metrics",
                show_default=True,
                metavar="NAME",
                help="The ServiceAccount whose tokens kubelets get to see.",
            ),
            click.option(
                "--node-metrics-recheck",
                type=click.FloatRange(5, 86400),
                default=1800.0,
                show_default=True,
                metavar="SECONDS",
                help="After how long, at most, a kubelet that answered is asked again.",
            ),
        )
    ):
        command = option(command)
    return command


def node_metrics(
    source: str, rules: Rules, *, namespace: str, account: str, ca_file: str | None, recheck: float
) -> "NodeMetrics | None":
    """The chosen way to read metrics; a usage error if nothing would use them."""
    from sidecarpolicy.cluster.kubelets import Account
    from sidecarpolicy.controller.nodemetrics import NodeMetrics

    if source == NONE:
        return None
    if Strategy.METRICS not in rules.strategies:
        raise click.UsageError(f"--node-metrics={source} needs the strategy {Strategy.METRICS}")
    direct = Account(namespace, account) if source == KUBELET else None
    return NodeMetrics(recheck, direct, ca_file)
