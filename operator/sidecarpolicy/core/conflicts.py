"""Conflicts: why the parts of a policy cannot stand in a Pod together, or beside what is there."""

from collections import Counter
from collections.abc import Iterable, Iterator

from sidecarpolicy.api.models import Mode
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.desired import Desired
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.kubeletbugs import PROBE_GIVEN_UP
from sidecarpolicy.core.parts import Part


def name_conflict(part: Part, owner: str) -> Finding:
    """That something else has a part's name already; `owner` says whose it is."""
    noun, _, name = part.key.partition("/")
    title = "container" if noun == "regularContainer" else noun
    return Finding(
        Reason.NAME_CONFLICT,
        f"{title} {name!r} is already in the Pod template ({owner}); rename it in the policy",
    )


def within(wish: Desired, wished: Iterable[Part], restart_policy: str) -> Iterator[Finding]:
    """What is wrong with a policy's parts by themselves, in Pods of a restart policy."""
    if wish.mode is not Mode.UNIVERSAL:
        return
    for (_, name), count in Counter(map(_identity, wished)).items():
        if count > 1:
            yield Finding(
                Reason.NAME_CONFLICT,
                f"{name!r} would be added twice, because mode {wish.mode} makes names of those of "
                "the sidecars; rename it in the policy",
            )
    if restart_policy == "Never" and not wish.field_dropped:
        yield from _unprobed(wish)


def _identity(part: Part) -> tuple[str, str]:
    """What is unique in a Pod: containers of both kinds share their names."""
    noun, _, name = part.key.partition("/")
    return ("container" if part.place.twin else noun), name


def _unprobed(wish: Desired) -> Iterator[Finding]:
    """Startup probes that kubelets give up where Pods never restart (see core.kubeletbugs): the
    first run of a universal sidecar always ends before its probe can pass.
    """
    for sidecar in wish.sidecars:
        if sidecar.get("startupProbe"):
            yield Finding(
                Reason.KNOWN_KUBELET_BUG,
                f"sidecar {sidecar['name']!r} has a startup probe, and kubelets before "
                f"{PROBE_GIVEN_UP.cure} give it up in Pods with restartPolicy Never "
                f"({PROBE_GIVEN_UP.issue}), which would never start; set restartPolicy OnFailure "
                "in the workload, or leave the probe out of the policy",
            )
