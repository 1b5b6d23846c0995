"""Which nodes can run native sidecars? Decides from what is known of a node's kubelet.

A chain of checks, `CHAIN`, of which the first that has an answer wins. It never guesses
from what is missing: a metric that is absent is no "no", a version that cannot be read is
"unknown". Controller, webhook and command line judge by the same chain.

Sources: KEP-753 and its feature gate `SidecarContainers` (alpha and off in 1.28,
beta and on in 1.29, GA and locked in 1.33). Measured on real kubelets: 1.26 runs
the sidecar as an ordinary init container, so the Pod stays in `Init` for ever
without an event; 1.28, and a newer one with the gate off, refuses the Pod
(`InitContainerRestartPolicyForbidden`).
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from sidecarpolicy.api.names import OVERRIDE_ANNOTATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.featuregate import GATE, Gate


class Verdict(StrEnum):
    """What a node does with a native sidecar."""

    CAPABLE = "true"
    IGNORES = "false"
    REJECTS = "rejects"
    UNKNOWN = "unknown"

    @property
    def label(self) -> str:
        """The value of the node's label. What is unknown counts as unfit: a Pod could hang."""
        return Verdict.IGNORES.value if self is Verdict.UNKNOWN else self.value


class Strategy(StrEnum):
    """A source of answers that an administrator can switch on or off."""

    OVERRIDE = "override"
    VERSION = "version"
    METRICS = "metrics"
    APISERVER_SKEW = "apiserver-skew"


@dataclass(frozen=True)
class Kubelet:
    """What is known of one node's kubelet."""

    version: str
    override: str | None = None
    """What the override annotation of the Node says, valid or not."""
    gate: Gate | None = None
    """What was read of its feature gate; None if nothing was."""
    unread: str = ""
    """Why nothing could be read of it, where somebody tried."""

    @property
    def title(self) -> str:
        """For evidence; a version is what a node says of itself, so it may be any text."""
        return f"kubelet {self.version[:_MAX_QUOTED]}"


@dataclass(frozen=True)
class Rules:
    """How to judge: the strategies that are on, and the API server's version, if it matters."""

    strategies: frozenset[Strategy] = frozenset(
        {Strategy.OVERRIDE, Strategy.VERSION, Strategy.METRICS}
    )
    api_server: str = ""


RULES: Final = Rules()
"""Unless somebody chooses others."""


@dataclass(frozen=True)
class Capability:
    """A verdict about one node, why, and the sentence that proves it."""

    verdict: Verdict
    reason: Reason
    evidence: str

    @property
    def capable(self) -> bool:
        """Whether a native sidecar runs there."""
        return self.verdict is Verdict.CAPABLE


_MAJOR_MINOR = re.compile(r"v?([0-9]{1,9})\.([0-9]{1,9})(?![0-9])")
_SKEW = 3
"""How many minor versions a kubelet may be older than the API server (version skew policy)."""
_MAX_QUOTED = 80


def minor_version(version: str) -> int | None:
    """The minor version of Kubernetes 1.x; None if the text is no such version.

    Reads major and minor only: vendor suffixes ("v1.29.0-gke.1", "+k3s1") are no
    valid Python versions, and semver orders them before the release they carry.
    """
    found = _MAJOR_MINOR.match(version)
    return int(found[2]) if found and found[1] == "1" else None


Judge = Callable[[Kubelet, Rules], Capability | None]


def _overridden(kubelet: Kubelet, rules: Rules) -> Capability | None:
    if kubelet.override not in _OVERRIDES:
        return None
    evidence = f'the annotation {OVERRIDE_ANNOTATION} says "{kubelet.override}"'
    return Capability(Verdict(kubelet.override), Reason.OVERRIDDEN, evidence)


def _generally_available(kubelet: Kubelet, rules: Rules) -> Capability | None:
    if (minor_version(kubelet.version) or 0) < 33:
        return None
    evidence = f"{kubelet.title}: native sidecars are GA since 1.33"
    return Capability(Verdict.CAPABLE, Reason.GENERALLY_AVAILABLE, evidence)


def _by_gate(kubelet: Kubelet, rules: Rules) -> Capability | None:
    """Only where a kubelet knows the gate: an older one's metrics cannot tell of it."""
    if (minor_version(kubelet.version) or 0) < 28:
        return None
    said = f"{kubelet.title}: its metrics say that feature gate {GATE} is"
    if kubelet.gate is Gate.ON:
        return Capability(Verdict.CAPABLE, Reason.FEATURE_GATE_ON, f"{said} on")
    if kubelet.gate is Gate.OFF:
        return Capability(Verdict.REJECTS, Reason.FEATURE_GATE_OFF, f"{said} off")
    return None


def _on_by_default(kubelet: Kubelet, rules: Rules) -> Capability | None:
    if (minor_version(kubelet.version) or 0) < 29:
        return None
    evidence = f"{kubelet.title}: native sidecars are on by default since 1.29"
    return Capability(Verdict.CAPABLE, Reason.ON_BY_DEFAULT, evidence + _doubt(kubelet))


def _off_by_default(kubelet: Kubelet, rules: Rules) -> Capability | None:
    if minor_version(kubelet.version) != 28:
        return None
    evidence = f"{kubelet.title}: feature gate {GATE} is off by default in 1.28"
    return Capability(Verdict.REJECTS, Reason.OFF_BY_DEFAULT, evidence + _doubt(kubelet))


def _too_old(kubelet: Kubelet, rules: Rules) -> Capability | None:
    if minor_version(kubelet.version) is None:
        return None
    evidence = f"{kubelet.title} ignores restartPolicy of init containers: "
    return Capability(Verdict.IGNORES, Reason.KUBELET_TOO_OLD, f"{evidence}Pods hang in Init")


def _by_skew(kubelet: Kubelet, rules: Rules) -> Capability | None:
    """No kubelet may be more than three minor versions older than its API server."""
    oldest = (minor_version(rules.api_server) or 0) - _SKEW
    if minor_version(kubelet.version) is not None or oldest < 29:
        return None
    evidence = (
        f"kubelet version {_quoted(kubelet.version)} is unreadable, but API server "
        f"{rules.api_server} supports none older than 1.{oldest}"
    )
    return Capability(Verdict.CAPABLE, Reason.API_SERVER_SKEW, evidence)


@dataclass(frozen=True)
class Check:
    """One step of the chain: what it is called, what switches it, and how it judges."""

    name: str
    strategy: Strategy
    judge: Judge


CHAIN: Final = (
    Check("an annotation overrides", Strategy.OVERRIDE, _overridden),
    Check("kubelet 1.33 or newer", Strategy.VERSION, _generally_available),
    Check("its feature gate, where it was read", Strategy.METRICS, _by_gate),
    Check("kubelet 1.29 to 1.32", Strategy.VERSION, _on_by_default),
    Check("kubelet 1.28", Strategy.VERSION, _off_by_default),
    Check("an older kubelet", Strategy.VERSION, _too_old),
    Check("a version that the API server rules out", Strategy.APISERVER_SKEW, _by_skew),
)
"""The first check that has an answer wins; none of them means unknown."""

_OVERRIDES: Final = frozenset(
    each.value for each in (Verdict.CAPABLE, Verdict.IGNORES, Verdict.REJECTS)
)


def capability(kubelet: Kubelet, rules: Rules = RULES) -> Capability:
    """What a kubelet does with a native sidecar, by the first check that knows."""
    answers = (check.judge(kubelet, rules) for check in CHAIN if check.strategy in rules.strategies)
    found = next((each for each in answers if each is not None), _unknown(kubelet))
    remark = ignored_override(kubelet, rules)
    return replace(found, evidence=f"{found.evidence}; {remark}") if remark else found


def gate_decides(kubelet: Kubelet, rules: Rules) -> bool:
    """Whether the value of the feature gate could change the answer, so that it is worth asking.

    It does from 1.28, the first kubelet that knows it, to 1.32, the last that can have it off.
    """
    minor = minor_version(kubelet.version)
    if Strategy.METRICS not in rules.strategies or minor is None or not 28 <= minor <= 32:
        return False
    return Strategy.OVERRIDE not in rules.strategies or kubelet.override not in _OVERRIDES


def ignored_override(kubelet: Kubelet, rules: Rules) -> str:
    """What is wrong with an override that is none; empty if there is nothing to say."""
    if kubelet.override is None or kubelet.override in _OVERRIDES:
        return ""
    if Strategy.OVERRIDE not in rules.strategies:
        return ""
    said = f"{OVERRIDE_ANNOTATION} says {_quoted(kubelet.override)}"
    return f"the annotation {said}, which is none of true, false, rejects, and is ignored"


def _unknown(kubelet: Kubelet) -> Capability:
    if minor_version(kubelet.version) is None:
        evidence = f"kubelet version {_quoted(kubelet.version)} is unreadable, so taken as unfit"
        return Capability(Verdict.UNKNOWN, Reason.VERSION_UNREADABLE, evidence)
    evidence = f"{kubelet.title}: no strategy that is on has an answer, so taken as unfit"
    return Capability(Verdict.UNKNOWN, Reason.UNDECIDED, evidence)


def _doubt(kubelet: Kubelet) -> str:
    """What a verdict by default leaves open."""
    if kubelet.gate is Gate.ABSENT:
        return "; its metrics do not name the feature gate"
    if kubelet.unread:
        return f"; its feature gate could not be read: {kubelet.unread}"
    return "; its feature gate was not read"


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _MAX_QUOTED else text[:_MAX_QUOTED] + "…")


@dataclass(frozen=True)
class NodeTally:
    """How many nodes there are, how many are capable, and how many refuse what is meant for those.

    The others ignore the field, or nobody knows.
    """

    capable: int = 0
    total: int = 0
    rejecting: int = 0

    @property
    def ignoring(self) -> int:
        """How many take a native sidecar for an ordinary init container, or are not known."""
        return self.total - self.capable - self.rejecting

    @property
    def kinds(self) -> tuple[bool, bool, bool]:
        """Which kinds of nodes there are: on that depends what policies can do at all."""
        return self.capable > 0, self.ignoring > 0, self.rejecting > 0

    def changed(self, before: Capability | None, after: Capability | None) -> "NodeTally":
        """After a change of one node; None where it was not there yet, or is no more."""
        return NodeTally(
            capable=self.capable + _is(after, Verdict.CAPABLE) - _is(before, Verdict.CAPABLE),
            total=self.total + (after is not None) - (before is not None),
            rejecting=self.rejecting + _is(after, Verdict.REJECTS) - _is(before, Verdict.REJECTS),
        )


def _is(found: Capability | None, verdict: Verdict) -> int:
    return int(found is not None and found.verdict is verdict)


def tally(capabilities: Iterable[Capability]) -> NodeTally:
    """Counts nodes by capability."""
    counted = Counter(each.verdict for each in capabilities)
    return NodeTally(
        capable=counted[Verdict.CAPABLE],
        total=counted.total(),
        rejecting=counted[Verdict.REJECTS],
    )
