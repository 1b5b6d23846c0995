"""Trouble: what many Pods' diagnoses come to, in bounded space: numbers, and a line for each
owner and reason.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from sidecarpolicy.core.advice import ALL, Diagnosis
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.podfacts import ContainerFacts, Owner, PodFacts

MAX_TROUBLES: Final = 20
STEADY_SECONDS: Final = 4.0
"""A kubelet tells whole seconds, and looks at its containers once in a second."""

REASONS: Final = tuple(dict.fromkeys(each.reason for each in ALL))
"""All that a diagnosis can come to, the worst first."""


@dataclass(frozen=True, slots=True)
class PodRecord:
    """What is kept of a Pod: whose it is, what counts, and the verdict."""

    name: str
    node: str
    owner: Owner
    created: float
    policies: tuple[str, ...]
    """Keys of the policies whose sidecars it is to have."""
    running: tuple[str, ...]
    """Keys of those whose sidecars were all observed running."""
    counts: bool
    """Whether it is to run: it has not ended and is not being deleted, or a node refused it."""
    leaving: bool = False
    diagnosis: Diagnosis | None = None
    blamed: tuple[str, ...] = ()
    """Keys of the policies that the diagnosis is about."""
    steady: float = 0.0
    """When its sidecars will have run for long enough to tell that they stay, since 1970."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong with some Pods of one owner; none of them exist at `pods` = 0."""

    owner: Owner
    diagnosis: Diagnosis
    pods: int = 1

    @property
    def finding(self) -> Finding:
        """In one line, for a status."""
        found = self.diagnosis.finding
        return (
            Finding(found.reason, f"{self.pods} Pods: {found.message}") if self.pods > 1 else found
        )


@dataclass(frozen=True, slots=True)
class PodTally:
    """A policy's Pods: how many are to run, run with its sidecars, and are stuck."""

    total: int = 0
    running: int = 0
    stuck: int = 0
    troubles: tuple[Trouble, ...] = ()
    """The worst first, at most MAX_TROUBLES."""


NO_PODS: Final = PodTally()


def pod_record(pod: PodFacts, diagnosis: Diagnosis | None) -> PodRecord:
    """What is kept of a Pod with this diagnosis."""
    servers = {each.name: pod.serving(each) for each in pod.copies}
    serving = {name for name, server in servers.items() if server is not None}
    keys = tuple(key for key, _ in pod.sidecars)
    running = tuple(key for key, names in pod.sidecars if serving.issuperset(names))
    leaving = pod.deleting
    refused = diagnosis is not None and diagnosis.stuck
    return PodRecord(
        name=pod.ref.name,
        node=pod.node,
        owner=pod.owner,
        created=pod.created,
        policies=keys,
        running=keys if running == keys else running,
        counts=not leaving and (not pod.over or refused),
        leaving=leaving,
        diagnosis=diagnosis,
        blamed=_blamed(pod, diagnosis) if diagnosis is not None else (),
        steady=max((_steady(servers[e.name] or e) for e in pod.copies), default=0.0),
    )


def _steady(sidecar: ContainerFacts) -> float:
    """When a sidecar will have run for long enough: what ends at once does so within moments."""
    since = sidecar.running_since
    return since + STEADY_SECONDS if since is not None else 0.0


def _blamed(pod: PodFacts, diagnosis: Diagnosis) -> tuple[str, ...]:
    """The policies that added the container at fault; all, if it is nobody's or everybody's."""
    at_fault = pod.sidecar_of(diagnosis.container)
    own = tuple(key for key, names in pod.sidecars if at_fault in names)
    return own or tuple(key for key, _ in pod.sidecars)


def troubles(records: Iterable[PodRecord]) -> tuple[Trouble, ...]:
    """One for each owner and reason, the worst first; Pods that leave are past help."""
    ill = [(each, each.diagnosis) for each in records if each.diagnosis and not each.leaving]
    ill.sort(key=lambda pair: (_badness(pair[1]), pair[0].owner.ref, pair[0].name))
    found = []
    for _, group in groupby(ill, key=lambda pair: (_badness(pair[1]), pair[0].owner.ref)):
        (first, diagnosis), *others = group
        found.append(Trouble(first.owner, diagnosis, 1 + len(others)))
    return tuple(found)


def worst(found: Iterable[Trouble]) -> tuple[Trouble, ...]:
    """The worst of troubles from several sources."""
    ordered = sorted(found, key=lambda each: (_badness(each.diagnosis), each.owner.ref))
    return tuple(ordered[:MAX_TROUBLES])


def _badness(diagnosis: Diagnosis) -> int:
    return REASONS.index(diagnosis.reason)
