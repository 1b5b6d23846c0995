"""How `doctor` reports: for people, one paragraph a finding; for programs, JSON."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console

from sidecarpolicy.cli import hanging_view
from sidecarpolicy.cli.doctor import Examination, Report
from sidecarpolicy.core.advice import Diagnosis
from sidecarpolicy.core.podfacts import ContainerFacts, PodFacts
from sidecarpolicy.core.refused import Refusal


def show(report: Report) -> None:
    """Prints a report."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for line in lines(report):
        console.print(line)


def lines(report: Report) -> Iterator[str]:
    """A report in lines."""
    alone = len(report.pods) == 1
    yield from troubles(report, detailed=alone)
    if not alone:
        yield _sum(report)


def troubles(report: Report, *, detailed: bool = False) -> Iterator[str]:
    """What is wrong, and what could not be read; `detailed` shows every Pod, and more of each."""
    for refusal in report.refused:
        yield from _refused(refusal)
    for each in report.pods:
        if each.diagnosis is not None or detailed:
            yield from _pod(each, detailed=detailed)
    yield from hanging_view.lines(report.hanging)
    yield from (f"Could not read {what}" for what in report.unread)


def as_data(report: Report) -> dict[str, Any]:
    """A report for programs."""
    return {
        "pods": [_pod_data(each) for each in report.pods],
        "refused": [
            {
                "kind": each.owner.ref.kind,
                "namespace": each.owner.ref.namespace,
                "name": each.owner.ref.name,
                **_found_data(each.diagnosis),
            }
            for each in report.refused
        ],
        **hanging_view.as_data(report.hanging),
        "unread": list(report.unread),
    }


def _pod(examined: Examination, *, detailed: bool) -> Iterator[str]:
    pod, found = examined.pod, examined.diagnosis
    yield f"{pod.ref}: {found.reason if found is not None else _fine(examined)}"
    if found is not None:
        yield from _found(found, pod.ref.name)
    if detailed:
        yield f"  Node:  {_node(examined)}"
        for each in (*pod.init, *pod.apps):
            yield f"  {_role(each, pod)} {each.name}: {_state(each)}"
        for text in examined.events:
            yield f"  Event: {text}"


def _refused(refusal: Refusal) -> Iterator[str]:
    yield f"{refusal.owner.ref}: {refusal.diagnosis.reason}"
    yield from _found(refusal.diagnosis, "POD")


def _found(found: Diagnosis, name: str) -> Iterator[str]:
    yield f"  What:  {found.message}."
    yield f"  Next:  {found.next_step.replace('POD', name)}."
    if found.seen:
        yield f"  Seen:  {found.seen}"


def _fine(examined: Examination) -> str:
    if not examined.concerned:
        return "has no native sidecars"
    if examined.pod.blocker is not None and not examined.pod.over:
        return "nothing wrong so far; it is starting"
    return "nothing wrong with its native sidecars"


def _node(examined: Examination) -> str:
    if not examined.pod.node:
        return "none yet"
    evidence = f" ({examined.node.capability.evidence})" if examined.node is not None else ""
    return examined.pod.node + evidence


def _role(container: ContainerFacts, pod: PodFacts) -> str:
    if container.native:
        return "Native sidecar"
    return "Init container" if container in pod.init else "Container"


def _state(container: ContainerFacts) -> str:
    again = f", restarted {container.restarts} times" if container.restarts else ""
    if container.running_since is not None:
        probing = container.native and not container.started
        return f"running{', not started yet' if probing else ''}{again}"
    if container.ended is not None:
        return f"ended with exit code {container.ended.code}{again}"
    return f"waiting{': ' if container.waiting else ''}{container.waiting}{again}"


def _sum(report: Report) -> str:
    ill = sum(each.diagnosis is not None for each in report.pods)
    wrong = f"something is wrong with {ill}" if ill else "nothing is wrong with them"
    return f"{report.counted}; {wrong}"


def _pod_data(examined: Examination) -> dict[str, Any]:
    pod = examined.pod
    return {
        "namespace": pod.ref.namespace,
        "name": pod.ref.name,
        "node": pod.node or None,
        "owner": {"kind": pod.owner.ref.kind, "name": pod.owner.ref.name},
        "policies": [key for key, _ in pod.sidecars],
        "sidecars": [
            {"name": each.name, "running": pod.serving(each) is not None} for each in pod.copies
        ],
        **_found_data(examined.diagnosis),
        "events": list(examined.events),
    }


def _found_data(found: Diagnosis | None) -> dict[str, Any]:
    if found is None:
        return {"reason": None}
    return {
        "reason": found.reason.value,
        "container": found.container or None,
        "message": found.message,
        "nextStep": found.next_step,
        "stuck": found.stuck,
        "seen": found.seen or None,
    }
