"""Which nodes can run native sidecars? Decides from what a Node reports of itself.

Sources: KEP-753 and its feature gate `SidecarContainers` (alpha and off in 1.28,
beta and on in 1.29, GA and locked in 1.33). Measured on real kubelets: 1.26 runs
the sidecar as an ordinary init container, so the Pod stays in `Init` for ever
without an event; 1.28 refuses the Pod (`InitContainerRestartPolicyForbidden`).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a node does with a native sidecar; the value is the node label's value."""

    CAPABLE = "true"
    IGNORES = "false"
    REJECTS = "rejects"


@dataclass(frozen=True)
class Capability:
    """A verdict about one node with the sentence that proves it."""

    verdict: Verdict
    evidence: str

    @property
    def capable(self) -> bool:
        """Whether a native sidecar runs there."""
        return self.verdict is Verdict.CAPABLE


_MAJOR_MINOR = re.compile(r"v?(\d+)\.(\d+)(?!\d)")


def minor_version(version: str) -> int | None:
    """The minor version of Kubernetes 1.x; None if the text is no such version.

    Reads major and minor only: vendor suffixes ("v1.29.0-gke.1", "+k3s1") are no
    valid Python versions, and semver orders them before the release they carry.
    """
    found = _MAJOR_MINOR.match(version)
    return int(found[2]) if found and found[1] == "1" else None


def capability(kubelet_version: str) -> Capability:
    """What a kubelet of this version does with a native sidecar."""
    minor = minor_version(kubelet_version)
    if minor is None:
        return Capability(
            Verdict.IGNORES, f"kubelet version {kubelet_version!r} is unreadable, so taken as unfit"
        )
    kubelet = f"kubelet {kubelet_version}"
    if minor >= 33:
        return Capability(Verdict.CAPABLE, f"{kubelet}: native sidecars are GA since 1.33")
    if minor >= 29:
        return Capability(
            Verdict.CAPABLE, f"{kubelet}: native sidecars are on by default since 1.29"
        )
    if minor == 28:
        return Capability(
            Verdict.REJECTS, f"{kubelet}: feature gate SidecarContainers is off by default in 1.28"
        )
    return Capability(
        Verdict.IGNORES, f"{kubelet} ignores restartPolicy of init containers: Pods hang in Init"
    )


@dataclass(frozen=True)
class NodeTally:
    """How many nodes there are, and how many are capable."""

    capable: int = 0
    total: int = 0


def tally(capabilities: Iterable[Capability]) -> NodeTally:
    """Counts nodes by capability."""
    flags = [each.capable for each in capabilities]
    return NodeTally(capable=sum(flags), total=len(flags))
