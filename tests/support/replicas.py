"""Two controllers that share one Lease, each with a token of its own, by which the audit log
tells them apart.
"""

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import Lab
from tests.support.admission import SYSTEM, own_rights
from tests.support.audit import writes
from tests.support.authors import BASE
from tests.support.processes import CONTROLLER_HEALTH, Controller
from tests.support.waiting import eventually

JSON = dict[str, Any]
LEASE = "sidecarpolicy-controller"
LEASES = "leases"


@dataclass(frozen=True)
class Replica:
    """One controller, as it is known in the Lease and in the audit log."""

    name: str
    process: Controller
    token: str
    """The id of its token, which the API server writes down with each request."""

    def start(self, *, wait: bool = True) -> None:
        flags = ("--leader-elect", "--leader-identity", self.name, "--log-format", "json")
        self.process.start(*flags, wait=wait)

    def requests(self) -> list[JSON]:
        """All its requests that write, whatever became of them."""
        lab = self.process.lab
        return [each for each in writes(lab) if self.token in _credential(each)]

    def written(self) -> list[str]:
        """What it tried to write apart from the Lease, as `verb resource name`."""
        about = ((each["verb"], each["objectRef"]) for each in self.requests())
        return [
            f"{verb} {what['resource']} {what.get('name', '')}"
            for verb, what in about
            if what["resource"] != LEASES
        ]


def install(lab: Lab) -> None:
    """The controller's rights, as we ship them."""
    for name in ("namespace", "rbac"):
        lab.kubectl("apply", "-f", str(BASE / f"{name}.yaml"))


@contextmanager
def replicas(lab: Lab, place: Path, *names: str) -> Iterator[list[Replica]]:
    """Controllers that are not started yet; none leads from an earlier test."""
    install(lab)
    lab.kubectl("-n", SYSTEM, "delete", "lease", LEASE, "--ignore-not-found")
    made: list[Replica] = []
    try:
        for number, name in enumerate(names):
            (place / name).mkdir()
            rights = own_rights(lab, "controller", place / name)
            process = Controller(
                lab,
                place / f"{name}.log",
                kubeconfig=rights,
                health=CONTROLLER_HEALTH + 10 * number,
            )
            made.append(Replica(name, process, _token_id(rights)))
        yield made
    finally:
        for each in made:
            each.process.__exit__()


def holder(lab: Lab) -> str:
    """Who leads; empty if nobody does."""
    found = lab.kubectl(
        *("-n", SYSTEM, "get", "lease", LEASE, "--ignore-not-found"),
        *("-o", "jsonpath={.spec.holderIdentity}"),
    )
    return found.strip()


def led_by(lab: Lab, name: str, *, seconds: float = 30) -> None:
    """Waits until this one leads."""
    eventually(lambda: holder(lab), until=lambda found: found == name, seconds=seconds)


def _token_id(kubeconfig: Path) -> str:
    token = json.loads(kubeconfig.read_text())["users"][0]["user"]["token"]
    claims = token.split(".")[1]
    return str(json.loads(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["jti"])


def _credential(event: JSON) -> str:
    return str(event["user"].get("extra", {}).get("authentication.kubernetes.io/credential-id"))
