"""Removal: all that the operator left on an object, and the guarded patch that takes it off.

Templates go through the same plan as a deleted policy's workloads do, so what users changed
meanwhile survives. Labels and annotations under our prefix go with it, but for those that
only people set. Decides about one object as it was read; when it is done is cli.uninstall's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.api.names import GROUP, INJECT_ANNOTATION, OVERRIDE_ANNOTATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core import daemonset
from sidecarpolicy.core.facts import RawObject, Ref, WorkloadFacts, template_steps, workload_facts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.jsonpatch import Patch, guard
from sidecarpolicy.core.marker import read_markers
from sidecarpolicy.core.plan import plan
from sidecarpolicy.core.record import Record, read_record
from sidecarpolicy.core.snapshot import Snapshot

PREFIX = f"{GROUP}/"
OF_USERS = frozenset({INJECT_ANNOTATION, OVERRIDE_ANNOTATION})
"""What people write for the operator to read; it is theirs to remove."""


@dataclass(frozen=True)
class Removal:
    """What is to be taken off one workload; nothing if `patch` is empty.

    `policies` are the keys whose parts go; `leftovers` stay because somebody changed them,
    and `stuck` says why the template cannot be freed at all.
    """

    facts: WorkloadFacts
    patch: Patch
    policies: frozenset[str] = frozenset()
    leftovers: tuple[Finding, ...] = ()
    stuck: Finding | None = None

    @property
    def ref(self) -> Ref:
        """The workload."""
        return self.facts.ref


def removal(obj: RawObject, *, kind: str) -> Removal:
    """What is to be taken off a raw workload. A Job's template never changes, so it stays."""
    facts, meta = workload_facts(obj, kind=kind), obj["metadata"]
    template = template_of(obj, kind=kind)
    keys = _policies(template, kind=kind)
    here = Snapshot(facts.ref.namespace, workloads=(facts,), gone=keys)
    change = next(iter(plan(here).changes), None) if kind != TargetKind.JOB else None
    patch = [*(change.difference if change else ()), *_bared(meta)]
    left = change.leftovers.values() if change else ()
    after = change.template if change else template
    return Removal(
        facts,
        [*guard(uid=facts.uid, generation=facts.generation), *patch] if patch else [],
        policies=change.policies if change else frozenset(),
        leftovers=tuple(finding for findings in left for finding in findings),
        stuck=_stuck(after) if kind != TargetKind.JOB else None,
    )


def template_of(obj: RawObject, *, kind: str) -> Mapping[str, Any]:
    """The Pod template of a raw workload, itself for a Pod."""
    found: Any = obj
    for step in template_steps(kind):
        found = found[step]
    template: Mapping[str, Any] = found
    return template


def ours(meta: RawObject | None) -> tuple[list[str], list[str]]:
    """The labels and the annotations of the operator's in raw metadata."""
    labels, annotations = ((meta or {}).get(each) or {} for each in ("labels", "annotations"))
    return list(_ours(labels)), list(_ours(annotations))


def of_users(meta: RawObject | None) -> list[str]:
    """What people wrote into raw metadata for the operator to read."""
    return sorted(OF_USERS & ((meta or {}).get("annotations") or {}).keys())


def bare_patch(meta: RawObject) -> dict[str, Any] | None:
    """A merge patch, guarded by the uid, that takes our labels and annotations off; None if it
    has none.
    """
    labels, annotations = ours(meta)
    if not labels and not annotations:
        return None
    off = {"labels": dict.fromkeys(labels), "annotations": dict.fromkeys(annotations)}
    return {"metadata": {"uid": meta["uid"], **{key: value for key, value in off.items() if value}}}


def marked(obj: RawObject, *, kind: str) -> bool:
    """Whether an object, or the Pod template in it, carries a label or annotation of ours."""
    return any(map(any, (ours(obj["metadata"]), ours(template_of(obj, kind=kind).get("metadata")))))


def waits_for_owner(obj: RawObject) -> str:
    """Why a workload does not roll before somebody else acts; empty if it rolls by itself.

    See "updateStrategy" and "paused" in the API reference of apps/v1.
    """
    spec = obj["spec"]
    if spec.get("paused"):
        return "it is paused"
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return "its update strategy is OnDelete"
    if (strategy.get("rollingUpdate") or {}).get("partition"):
        return "its update strategy has a partition"
    return ""


def _ours(keys: Iterable[str]) -> Iterable[str]:
    return (key for key in keys if key.startswith(PREFIX) and key not in OF_USERS)


def _policies(template: Mapping[str, Any], *, kind: str) -> frozenset[str]:
    """Keys of all policies that added anything."""
    if kind == TargetKind.DAEMON_SET:
        return frozenset(daemonset.revisions(template))
    record = read_record(template)
    recorded = record.policies if isinstance(record, Record) else {}
    return frozenset((*recorded, *read_markers(template)))


def _bared(meta: RawObject) -> Patch:
    """Takes our labels and annotations off the object itself."""
    return [
        {"op": "remove", "path": f"/metadata/{field}/{key.replace('~', '~0').replace('/', '~1')}"}
        for field, keys in zip(("labels", "annotations"), ours(meta), strict=True)
        for key in keys
    ]


def _stuck(template: Mapping[str, Any]) -> Finding | None:
    """That something of ours would still be in the template, which nobody can read."""
    left = [key for keys in ours(template.get("metadata")) for key in keys]
    if not left:
        return None
    return Finding(
        Reason.RECORD_UNREADABLE,
        f"its Pod template keeps {', '.join(sorted(set(left)))}, which is not as the operator "
        "writes it; undo the edit, or remove it together with what was injected",
    )
