"""Origin: what the rollout that a workload is in brought, compared with what worked before.

A workload keeps its former templates: a Deployment as ReplicaSets, a StatefulSet and a
DaemonSet as ControllerRevisions. The newest against the last that worked shows whose change
is being rolled out: a policy's, its owner's, or both.

Where one rollout brought both, the policy is blamed: taking its parts out again costs a
sidecar for a while, and the owner's content stays as it is; leaving them in could leave the
workload broken by us, and let the same revision go on to others. An owner's change that had
failed already when ours joined it is the owner's alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.core.carried import revisions_of
from sidecarpolicy.core.inject import Action, Verdict, inject
from sidecarpolicy.core.marker import with_markers
from sidecarpolicy.core.ownership import NodeRuleSite
from sidecarpolicy.core.record import Record, read_record
from sidecarpolicy.core.times import seconds

RawObject = Mapping[str, Any]

_NUMBER = "deployment.kubernetes.io/revision"
_HASH = "pod-template-hash"


@dataclass(frozen=True)
class Origin:
    """Since when a workload is in its rollout, and what that brought.

    `began` is in seconds since 1970. `policies` are the keys of those whose revision it
    brought, `mixed` says that the owner's own content changed with it, `first` that no
    earlier template is known.
    """

    began: float
    policies: frozenset[str] = frozenset()
    mixed: bool = False
    first: bool = False
    cause: str = ""
    """What is wrong with its Pods, as far as that was seen."""
    cleared: frozenset[str] = frozenset()
    """Keys of those whose revision came with the same rollout, while another's sidecar failed."""

    def blaming(self, seen: frozenset[str]) -> "Origin":
        """Of several policies that it brought only those whose sidecars were seen to fail; all of
        them, if none was.
        """
        guilty = self.policies & seen
        return replace(self, policies=guilty, cleared=self.policies - guilty) if guilty else self


@dataclass(frozen=True)
class Stage:
    """One template that a workload had; `number` orders them, `works` as far as that shows."""

    name: str
    number: int
    began: float
    template: RawObject
    works: bool = False


def stage(obj: RawObject, *, owner: str, proven: str = "") -> Stage | None:
    """What a ReplicaSet or ControllerRevision says; None if it is not of this owner, by uid.

    A template that comes back is the same object with a new number, so its age says nothing:
    the last write that was not of its status does.
    """
    meta = obj["metadata"]
    owners = meta.get("ownerReferences") or ()
    if not any(each.get("controller") and each["uid"] == owner for each in owners):
        return None
    if "data" in obj:
        template = {k: v for k, v in obj["data"]["spec"]["template"].items() if k != "$patch"}
        works = meta["name"] == proven
        return Stage(meta["name"], obj["revision"], _began(meta), template, works)
    number = int((meta.get("annotations") or {}).get(_NUMBER, "0"))
    works = (obj.get("status") or {}).get("availableReplicas", 0) > 0
    return Stage(meta["name"], number, _began(meta), obj["spec"]["template"], works)


def _began(meta: RawObject) -> float:
    managed = meta.get("managedFields") or ()
    writes = (each.get("time") for each in managed if not each.get("subresource"))
    return max(map(seconds, (meta.get("creationTimestamp"), *writes)))


def origin(stages: Iterable[Stage], *, kind: str) -> Origin | None:
    """Where the newest stage comes from; None if there is none yet."""
    ordered = sorted(stages, key=lambda each: each.number)
    if not ordered:
        return None
    *earlier, newest = ordered
    if not earlier:
        return Origin(newest.began, first=True)
    worked = next((each for each in reversed(earlier) if each.works), earlier[-1])
    mixed = owned(newest.template, kind=kind) != owned(worked.template, kind=kind)
    if mixed and _failed_before(earlier[-1], worked, newest, kind):
        return Origin(newest.began, mixed=True)
    before = revisions_of(kind, worked.template)
    after = revisions_of(kind, newest.template)
    brought = frozenset(key for key in after if after[key] != before.get(key))
    return Origin(newest.began, brought, mixed)


def _failed_before(previous: Stage, worked: Stage, newest: Stage, kind: str) -> bool:
    """Whether the owner's content of now was there already in a rollout that did not work."""
    same = owned(previous.template, kind=kind) == owned(newest.template, kind=kind)
    return previous is not worked and same


def owned(template: RawObject, *, kind: str) -> RawObject:
    """A template without what policies added, and without the hash of its ReplicaSet."""
    bare = with_markers(template, {})
    record = read_record(bare)
    if kind != TargetKind.DAEMON_SET and isinstance(record, Record):
        verdicts = [Verdict(key, Action.REMOVE) for key in record.policies]
        bare = inject(bare, verdicts, site=NodeRuleSite.AFFINITY).template
    metadata = dict(bare.get("metadata") or {})
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != _HASH}
    metadata |= {"labels": labels, "annotations": metadata.get("annotations") or {}}
    return {**bare, "metadata": metadata}
