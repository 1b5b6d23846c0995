"""`explain`: which policies select a workload, what each adds, in which order, and why not."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.cli import offline
from sidecarpolicy.cli.manifests import Manifest, UnusableInputError
from sidecarpolicy.core.explanation import Effect, Explanation, explain

_SHORT_NAMES = {
    "deploy": TargetKind.DEPLOYMENT,
    "sts": TargetKind.STATEFUL_SET,
    "cj": TargetKind.CRON_JOB,
}
_PIPE_WIDTH = 1000
"""Columns where the output is no terminal: rows are for programs then, and never wrap."""


def explanations(
    policies: Sequence[Manifest], manifests: Sequence[Manifest], *, wanted: str = ""
) -> list[Explanation]:
    """Explains all workloads, or those that are `wanted`, such as "deploy/web"."""
    acting = offline.policies(policies)
    chosen = _parsed(wanted) if wanted else None
    explained = []
    for manifest in manifests:
        workload = offline.workload(manifest)
        if workload is None or chosen not in (None, (workload.ref.kind, workload.ref.name)):
            continue
        with offline.understood(manifest):
            explained.append(explain(workload, offline.snapshot(workload, acting, manifests)))
    if not explained:
        raise UnusableInputError(f"no workload {wanted} among the manifests".replace("  ", " "))
    return explained


def _parsed(wanted: str) -> tuple[str, str]:
    """Kind and name of "deploy/web", with the names that kubectl takes for a kind."""
    given, _, name = wanted.partition("/")
    for kind in TargetKind:
        if name and given.lower() in (kind.lower(), f"{kind.lower()}s"):
            return kind, name
    if name and given.lower() in _SHORT_NAMES:
        return _SHORT_NAMES[given.lower()], name
    raise UnusableInputError(f"{wanted!r} is no workload; write it as deploy/web, sts/db or cj/job")


def has_findings(explained: Sequence[Explanation]) -> bool:
    """Whether anything stands in the way of a policy."""
    return any(effect.finding for each in explained for effect in each.effects)


def as_data(explained: Sequence[Explanation]) -> list[dict[str, Any]]:
    """For programs: one object a workload."""
    return [
        {
            "kind": each.ref.kind,
            "namespace": each.ref.namespace,
            "name": each.ref.name,
            "policies": [_effect_data(effect) for effect in each.effects],
            "initContainers": [
                {"name": name, "addedBy": key or None} for name, key in each.init_containers
            ],
        }
        for each in explained
    ]


def _effect_data(effect: Effect) -> dict[str, Any]:
    found = effect.finding
    return {
        "policy": effect.policy,
        "selected": effect.selected,
        "adds": list(effect.adds),
        "atPods": list(effect.at_pods),
        "reason": found.reason.value if found else None,
        "message": found.message if found else effect.unselected or None,
        "remarks": [remark.message for remark in effect.remarks],
    }


def show(explained: Sequence[Explanation]) -> None:
    """For people: a table a workload, and the order in which its containers start."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    for each in explained:
        console.print(str(each.ref), style="bold")
        table = Table("POLICY", "SELECTS", "ADDS", "WHY NOT", box=None, pad_edge=False)
        for effect in each.effects:
            table.add_row(*_row(effect))
        console.print(table)
        for effect in each.effects:
            for remark in effect.remarks:
                console.print(f"Note: {effect.policy}: {remark.message}")
        starts = [f"{name} ({key})" if key else name for name, key in each.init_containers]
        console.print("Starts:", " → ".join([*starts, "the application"]), end="\n\n")


def _row(effect: Effect) -> tuple[str, str, str, str]:
    found = effect.finding
    why_not = f"{found.reason}: {found.message}" if found else effect.unselected
    selects = "yes" if effect.selected else "no"
    adds = [f"{each} (in Pods)" if each in effect.at_pods else each for each in effect.adds]
    return effect.policy, selects, ", ".join(adds) or "nothing", why_not
