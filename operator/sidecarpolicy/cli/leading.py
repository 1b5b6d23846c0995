"""What the command line says about leader election."""

import socket
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sidecarpolicy.controller.election import Candidate


def leader_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds `--leader-elect` and `--leader-identity`."""
    elect = click.option(
        "--leader-elect/--no-leader-elect",
        default=False,
        show_default=True,
        help="Write only while holding the Lease sidecarpolicy-controller in the operator's own "
        "namespace, so that several may run. What is shipped for clusters turns it on.",
    )
    identity = click.option(
        "--leader-identity",
        envvar="POD_NAME",
        metavar="NAME",
        help="Who holds the Lease; default: $POD_NAME, else the host's name and a random part.",
    )
    return elect(identity(command))


def candidate(*, elect: bool, identity: str | None, namespace: str) -> "Candidate | None":
    """Who asks for the Lease; None leads without one."""
    from sidecarpolicy.controller.election import Candidate

    if not elect:
        return None
    return Candidate(identity or f"{socket.gethostname()}_{uuid.uuid4()}", namespace)
