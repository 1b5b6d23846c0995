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
