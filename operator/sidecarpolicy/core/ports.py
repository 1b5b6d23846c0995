"""Ports: containers of a Pod share one network, so two cannot listen on the same port."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.desired import Desired
from sidecarpolicy.core.finding import Finding


def port_clashes(wish: Desired, others: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    """One finding for each port of a sidecar that one of `others`, or another sidecar, has."""
    taken = {port: str(each.get("name")) for each in others for port in ports(each)}
    for sidecar in wish.sidecars:
        for port in ports(sidecar):
            if port in taken:
                yield Finding(
                    Reason.PORT_CONFLICT,
                    f"sidecar {sidecar['name']!r} and container {taken[port]!r} both use port "
                    f"{port[0]}/{port[1]}; change it in the policy",
                )
        taken |= dict.fromkeys(ports(sidecar), sidecar["name"])


def ports(container: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Ports and protocols; a policy may hold anything here, what is no port the API server says."""
    found = container.get("ports")
    for port in found if isinstance(found, list) else ():
        if isinstance(port, Mapping) and isinstance(number := port.get("containerPort"), int):
            yield number, str(port.get("protocol") or "TCP")
