"""Does the API server itself keep `restartPolicy` of init containers?

Sources: KEP-753 (feature gate `SidecarContainers`: unknown until 1.27, alpha in 1.28, beta and on
in 1.29, locked in 1.33) and the API server's own metric, which is gone from 1.37 on. Both were
measured on real API servers; an absent metric is never a "no".
"""

from enum import StrEnum
from typing import Final

from sidecarpolicy.core import featuregate
from sidecarpolicy.core.capability import minor_version
from sidecarpolicy.core.reading import Answer


class Gate(StrEnum):
    """State of the feature gate `SidecarContainers` of the API server."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


METRIC: Final = 'kubernetes_feature_enabled{name="SidecarContainers"'
"""How the line in /metrics starts."""
_READ: Final = {featuregate.Gate.ON: Gate.ON, featuregate.Gate.OFF: Gate.OFF}


def by_version(version: str) -> Gate:
    """What the version alone decides; 1.28 to 1.32 can be switched."""
    minor = minor_version(version)
    if minor is None or 28 <= minor < 33:
        return Gate.UNKNOWN
    return Gate.ON if minor >= 33 else Gate.OFF


def by_metric(line: str) -> Gate:
    """What the metric's line says; the empty text is no line."""
    read = featuregate.gate_in(line.encode())
    return _READ.get(read, Gate.UNKNOWN) if read is not None else Gate.UNKNOWN


def by_comparison(elsewhere: Answer, *, webhooks_there: bool) -> Gate:
    """What a Pod in another namespace says; there, too, a webhook may be what strips."""
    if elsewhere is Answer.PRESERVED:
        return Gate.ON
    return Gate.OFF if elsewhere is Answer.LOST and not webhooks_there else Gate.UNKNOWN
