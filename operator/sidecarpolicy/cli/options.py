"""Options that several commands take."""

import re
from collections.abc import Callable

import click

from sidecarpolicy.api.names import SYSTEM_NAMESPACE

_Command = Callable[..., None]


def _share(_: click.Context, __: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"[1-9]\d{0,5}|(?:[1-9]\d?|100)%", value):
        raise click.BadParameter(f"{value!r} is neither a number nor a percentage, both from 1")
    return value


def share_option(name: str, text: str) -> Callable[[_Command], _Command]:
    """An option that takes `N` or `N%`; core.pace.share understands both."""
    return click.option(
        name, default="10%", show_default=True, callback=_share, metavar="N|N%", help=text
    )


def operator_namespace_option(text: str) -> Callable[[_Command], _Command]:
    """An option that names the namespace in which the operator runs."""
    return click.option(
        "--operator-namespace",
        default=SYSTEM_NAMESPACE,
        show_default=True,
        metavar="NAME",
        help=text,
    )


def kubeconfig_option(command: _Command) -> _Command:
    """The option that names a file with the cluster and who to be there."""
    text = "Default: $KUBECONFIG, the account of the Pod that this runs in, or ~/.kube/config."
    return click.option("--kubeconfig", metavar="FILE", help=text)(command)
