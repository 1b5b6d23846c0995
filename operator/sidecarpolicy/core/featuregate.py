"""The kubelet's feature gate `SidecarContainers`: what its metrics say of it, and how a node keeps
what was read.

Kubelets from 1.28 to 1.36 export `kubernetes_feature_enabled{name="SidecarContainers",stage="…"}`
with 1 or 0 (KEP-753). From 1.37 on the gate is gone, so that no line is never a "no".
"""

import json
import re
from dataclasses import asdict, dataclass
from enum import StrEnum

GATE = "SidecarContainers"
FAMILY = b"kubernetes_feature_enabled"
"""The metric; a line that does not start with it says nothing of any gate."""

MAX_RECORD = 1024
"""Characters of a record that is read at all; ours have about 120."""

_LINE = re.compile(rb"kubernetes_feature_enabled\{([^}]*)\}\s+([0-9.eE+-]{1,24})\s*(?:[0-9]+\s*)?")
_NAME = re.compile(rb'(?:^|,)\s*name="SidecarContainers"\s*(?:,|$)')


class Gate(StrEnum):
    """What a kubelet's metrics say of the gate."""

    ON = "on"
    OFF = "off"
    ABSENT = "absent"
    """They are there, and do not name it."""


def gate_in(line: bytes) -> Gate | None:
    """The gate's value, if this line of Prometheus' text format gives it; None for any other."""
    found = _LINE.fullmatch(line.strip())
    if found is None or not _NAME.search(found[1]):
        return None
    try:
        return {1.0: Gate.ON, 0.0: Gate.OFF}.get(float(found[2]))
    except ValueError:
        return None


@dataclass(frozen=True)
class Reading:
    """What was read, and of which kubelet: another version, or another boot, may differ."""

    kubelet: str
    boot: str
    gate: Gate

    def text(self) -> str:
        """As an annotation of the Node keeps it."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))


def recorded(text: str | None) -> Reading | None:
    """The reading that an annotation keeps; None for none, and for what is not ours."""
    if text is None or len(text) > MAX_RECORD:
        return None
    try:
        kept = json.loads(text)
        reading = Reading(kept["kubelet"], kept["boot"], Gate(kept["gate"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return reading if isinstance(reading.kubelet, str) and isinstance(reading.boot, str) else None
