"""Known bugs of Kubernetes that stop Pods with native sidecars, by version.

Only bugs whose fixed releases are written down in Kubernetes' own changelogs. A vendor's build
counts as the release whose number it carries.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_VERSION: Final = re.compile(r"v?1\.(\d+)\.(\d+)")


@dataclass(frozen=True)
class Bug:
    """One bug: in every release from 1.`since`.0 on, until it was fixed.

    `fixed` has, by minor version, the patch release that first had the fix; a minor version
    between `since` and `gone` that is not in there was never fixed. `gone` never had it.
    """

    issue: str
    since: int
    fixed: Mapping[int, int]
    gone: int

    def affects(self, version: str) -> bool:
        """Whether this release has the bug; not for a version that is unreadable."""
        found = _VERSION.match(version)
        if found is None:
            return False
        minor, patch = int(found[1]), int(found[2])
        return self.since <= minor < self.gone and patch < self.fixed.get(minor, patch + 1)

    @property
    def cure(self) -> str:
        """The releases that have the fix, for people."""
        patches = [f"1.{minor}.{patch}" for minor, patch in sorted(self.fixed.items())]
        return " or ".join((", ".join((*patches, f"1.{self.gone}.0"))).rsplit(", ", 1))


PROBE_GIVEN_UP: Final = Bug("kubernetes#132826", since=29, fixed={33: 6, 34: 2}, gone=35)
"""Where a Pod never restarts, a sidecar that ended before its startup probe passed is not probed
any more, if another container has a startup probe too.

Fixed by #133072 (1.35.0), #134800 (1.34.2) and #134801 (1.33.6); the pick for 1.32, #134802, was
closed.
"""

NO_SIGTERM: Final = Bug("kubernetes#125880", since=29, fixed={29: 8, 30: 4}, gone=31)
"""A sidecar gets no SIGTERM as long as one after it has not been started.

Fixed by #125935 (1.31.0), #126331 (1.30.4) and #126332 (1.29.8).
"""

STATUS_FROZEN: Final = Bug("kubernetes#122902", since=28, fixed={28: 8, 29: 3}, gone=30)
"""The API server, not the kubelet, refuses the status of a sidecar that runs again, where the Pod
does not always restart.

Fixed by #123323 (1.30.0), #123709 (1.29.3) and #123710 (1.28.8).
"""
