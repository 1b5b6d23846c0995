"""Pod facts: what a diagnosis needs of one Pod, as a compact value; never the object itself.

    Pod (raw) → pod_facts → core.diagnosis → core.podtally → status, Event, metric

Times are seconds since 1970, so that the clock is a plain number wherever it is passed in.
"""

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidecarpolicy.api.names import CAPABILITY_LABEL
from sidecarpolicy.core.facts import RawObject, Ref, controlling_owner, version
from sidecarpolicy.core.former import adopted_names
from sidecarpolicy.core.native import is_native, native_sidecars
from sidecarpolicy.core.record import Record, read_record
from sidecarpolicy.core.times import seconds
from sidecarpolicy.core.universal import ORDINARY, ORDINARY_PART, PREPARE, sidecars_of

_DEFAULT_GRACE: Final = 30
_REVISION: Final = "controller-revision-hash"
_GENERATION: Final = "pod-template-generation"
_DAEMON_GENERATION: Final = "deprecated.daemonset.template.generation"
"""What a DaemonSet still gives to each Pod as the label, for its own use."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How one run of a container ended."""

    code: int
    reason: str = ""
    started: float = 0.0
    finished: float = 0.0

    @property
    def lasted(self) -> float:
        """Seconds that the run took; timestamps are whole seconds."""
        return self.finished - self.started


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """One container: whether it is a native sidecar, and what the kubelet last said of it."""

    name: str
    image: str = ""
    native: bool = False
    startup_seconds: float | None = None
    """How long its startup probe fails before the kubelet restarts it; None without a probe."""
    waiting: str = ""
    """Reason of the waiting state; the kubelet gives one for each."""
    detail: str = ""
    """The kubelet's words about the waiting state."""
    running_since: float | None = None
    started: bool = False
    """That it passed its startup probe, or has none: kubelets since 1.28 say so of sidecars."""
    ended: Ended | None = None
    last: Ended | None = None
    """How the run before this one ended."""
    restarts: int = 0

    @property
    def serves(self) -> bool:
        """Whether a native sidecar was observed running."""
        return self.native and self.running_since is not None and self.started

    @property
    def began(self) -> bool:
        """Whether it ran, or runs."""
        return any(e is not None for e in (self.running_since, self.ended, self.last))

    @property
    def done(self) -> bool:
        """Whether the init containers after this one may start."""
        return self.serves if self.native else self.ended is not None and self.ended.code == 0


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose Pod it is: `ref` for people, and the object that Events can be about."""

    ref: Ref
    direct: Ref
    uid: str
    api_version: str


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One Pod, as far as its native sidecars are concerned."""

    ref: Ref
    uid: str
    version: int
    owner: Owner
    sidecars: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """By policy key, the names of the sidecars that its record names, adopted ones included."""
    universal: frozenset[str] = frozenset()
    """Names of those in mode Universal, which have a copy among the regular containers."""
    created: float = 0.0
    deleting: bool = False
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    node: str = ""
    restart_policy: str = "Always"
    grace_seconds: int = _DEFAULT_GRACE
    ruled: bool = False
    """Whether a node rule on our label stands in it."""
    unschedulable_since: float | None = None
    unschedulable: str = ""
    """The scheduler's words."""
    unprepared_since: float | None = None
    """Since when its volumes and network are not ready, so that no container can start
    (condition PodReadyToStartContainers, KEP-3085); kubelets before 1.29 do not say.
    """
    init: tuple[ContainerFacts, ...] = ()
    apps: tuple[ContainerFacts, ...] = ()

    @property
    def native(self) -> tuple[ContainerFacts, ...]:
        """Its native sidecars."""
        return tuple(each for each in self.init if each.native)

    @property
    def copies(self) -> tuple[ContainerFacts, ...]:
        """Its sidecars among the init containers. In mode Universal they are none of Kubernetes'
        own where the API server drops the field.
        """
        return tuple(each for each in self.init if each.native or each.name in self.universal)

    @property
    def ordinary_copies(self) -> tuple[ContainerFacts, ...]:
        """The copies of mode Universal among the regular containers."""
        wanted = {f"{name}{ORDINARY}" for name in self.universal}
        return tuple(each for each in self.apps if each.name in wanted)

    @property
    def preparing(self) -> tuple[ContainerFacts, ...]:
        """What makes the volumes of mode Universal ready."""
        wanted = {f"{name}{PREPARE}" for name in self.universal}
        return tuple(each for each in self.init if each.name in wanted)

    def serving(self, sidecar: ContainerFacts) -> ContainerFacts | None:
        """The container that was observed to serve as one of `copies`, or None: itself, or in mode
        Universal the ordinary copy, if that started after this one had ended well. Where nodes run
        native sidecars, it ends well before that, too, but is started again at once.
        """
        if sidecar.serves:
            return sidecar
        end, name = sidecar.ended, f"{sidecar.name}{ORDINARY}"
        copy = next((each for each in self.ordinary_copies if each.name == name), None)
        since = copy.running_since if copy is not None else None
        gave_way = end is not None and end.code == 0 and since is not None and end.finished <= since
        return copy if gave_way and sidecar.name in self.universal else None

    def sidecar_of(self, container: str) -> str:
        """The sidecar that a container is for: in mode Universal, three are for one."""
        names = (container.removesuffix(suffix) for suffix in (PREPARE, ORDINARY))
        return next((name for name in names if name in self.universal), container)

    @property
    def recorded(self) -> frozenset[str]:
        """Names of all sidecars that policies added."""
        return frozenset(name for _, names in self.sidecars for name in names)

    @property
    def over(self) -> bool:
        """Whether it has ended, and nothing of it will run again."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def blocker(self) -> ContainerFacts | None:
        """The init container that the others wait for; None once the application may start."""
        found = (each for index, each in enumerate(self.init) if not self._passed(index))
        return next(found, None)

    def _passed(self, index: int) -> bool:
        """Whether the containers after an init container may start. In mode Universal a copy that
        ended well either is started again or not, by the node: what came after it shows.
        """
        each, later = self.init[index], (*self.init[index + 1 :], *self.apps)
        ended = each.ended is not None and each.ended.code == 0
        if each.done or not ended or each.name not in self.universal:
            return each.done
        return any(after.began for after in later)


def concerns_us(pod: RawObject) -> bool:
    """Whether a raw Pod has native sidecars, or is meant to have some by its record."""
    return any(native_sidecars(pod)) or bool(_recorded(_parts(pod)))


def pod_facts(pod: RawObject) -> PodFacts:
    """Facts of a raw Pod."""
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    parts = _parts(pod)
    ref = Ref("Pod", sys.intern(meta["namespace"]), meta["name"])
    waits = _condition(status, "PodScheduled", reason="Unschedulable")
    unprepared = _condition(status, "PodReadyToStartContainers")
    return PodFacts(
        ref=ref,
        uid=meta["uid"],
        version=version(meta),
        owner=_owner(pod, ref),
        sidecars=_recorded(parts),
        universal=frozenset(_universal(parts)),
        created=seconds(meta.get("creationTimestamp")),
        deleting="deletionTimestamp" in meta,
        phase=sys.intern(status.get("phase") or "Pending"),
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        node=sys.intern(spec.get("nodeName") or ""),
        restart_policy=sys.intern(spec.get("restartPolicy") or "Always"),
        grace_seconds=meta.get(
            "deletionGracePeriodSeconds", spec.get("terminationGracePeriodSeconds", _DEFAULT_GRACE)
        ),
        ruled=_ruled(spec),
        unschedulable_since=seconds(waits.get("lastTransitionTime")) if waits else None,
        unschedulable=waits.get("message") or "",
        unprepared_since=seconds(unprepared.get("lastTransitionTime")) if unprepared else None,
        init=_containers(spec.get("initContainers"), status.get("initContainerStatuses")),
        apps=_containers(spec.get("containers"), status.get("containerStatuses")),
    )


def made_from(pod: RawObject, owner: RawObject) -> bool:
    """Whether a raw Pod was made from its raw owner's template as that is now.

    Templates of StatefulSets and DaemonSets change while older Pods stay (OnDelete, partition);
    those of ReplicaSets and Jobs do not. What does not say is taken for made from it.
    """
    labels, meta = pod["metadata"].get("labels") or {}, owner["metadata"]
    pairs = (
        (labels.get(_REVISION), (owner.get("status") or {}).get("updateRevision")),
        (labels.get(_GENERATION), (meta.get("annotations") or {}).get(_DAEMON_GENERATION)),
    )
    return all(mine == theirs for mine, theirs in pairs if mine and theirs)


def owner_of(meta: RawObject, kind: str, *, uid: str, api_version: str) -> Owner:
    """The workload that people know an object by: a ReplicaSet is its Deployment's."""
    direct = Ref(sys.intern(kind), sys.intern(meta["namespace"]), sys.intern(meta["name"]))
    name, _, suffix = direct.name.rpartition("-")
    hashed = (meta.get("labels") or {}).get("pod-template-hash") == suffix
    top = kind == "ReplicaSet" and name and hashed
    shown = Ref("Deployment", direct.namespace, sys.intern(name)) if top else direct
    return Owner(shown, direct, uid, api_version)


def _owner(pod: RawObject, ref: Ref) -> Owner:
    meta = pod["metadata"]
    found = controlling_owner(meta)
    if found is None:
        return Owner(ref, ref, meta["uid"], "v1")
    reference = next(each for each in meta["ownerReferences"] if each.get("controller"))
    named = {**meta, "name": found[1]}
    api = sys.intern(reference.get("apiVersion") or "")
    return owner_of(named, reference["kind"], uid=reference.get("uid") or "", api_version=api)


def _parts(pod: RawObject) -> Mapping[str, Collection[str]]:
    """Keys of the parts that a Pod's record has, by policy key."""
    record = read_record(pod)
    policies = record.policies if isinstance(record, Record) else {}
    return {sys.intern(key): each.parts.keys() for key, each in sorted(policies.items())}


def _recorded(parts: Mapping[str, Collection[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found = ((key, _sidecar_names(each)) for key, each in parts.items())
    return tuple((key, names) for key, names in found if names)


def _sidecar_names(parts: Iterable[str]) -> tuple[str, ...]:
    names = {*sidecars_of(parts).values(), *adopted_names(parts)}
    return tuple(map(sys.intern, sorted(names)))


def _universal(parts: Mapping[str, Collection[str]]) -> Iterator[str]:
    for each in parts.values():
        for name in _sidecar_names(each):
            if f"{ORDINARY_PART}{name}{ORDINARY}" in each:
                yield sys.intern(name)


def _ruled(spec: RawObject) -> bool:
    """Whether our label is asked for, as a selector entry or in a required term."""
    if CAPABILITY_LABEL in (spec.get("nodeSelector") or {}):
        return True
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    return any(
        expression.get("key") == CAPABILITY_LABEL
        for term in required.get("nodeSelectorTerms") or ()
        for expression in term.get("matchExpressions") or ()
    )


def _condition(status: RawObject, type_: str, *, reason: str = "") -> Mapping[str, Any]:
    """A condition that is False, for this reason if one is given; empty if it is not so."""
    for each in status.get("conditions") or ():
        about = (each.get("type"), each.get("status"))
        if about == (type_, "False") and reason in ("", each.get("reason")):
            found: Mapping[str, Any] = each
            return found
    return {}


def _containers(
    specs: Iterable[RawObject] | None, statuses: Iterable[RawObject] | None
) -> tuple[ContainerFacts, ...]:
    by_name = {each["name"]: each for each in statuses or ()}
    return tuple(_container(each, by_name.get(each["name"], {})) for each in specs or ())


def _container(spec: RawObject, status: RawObject) -> ContainerFacts:
    state, before = status.get("state") or {}, status.get("lastState") or {}
    waiting, running = state.get("waiting") or {}, state.get("running")
    return ContainerFacts(
        name=sys.intern(spec["name"]),
        image=sys.intern(spec.get("image") or ""),
        native=is_native(spec),
        startup_seconds=_startup_seconds(spec.get("startupProbe")),
        waiting=sys.intern(waiting.get("reason") or ""),
        detail=waiting.get("message") or "",
        running_since=seconds(running.get("startedAt")) if running is not None else None,
        started=bool(status.get("started")),
        ended=_ended(state.get("terminated")),
        last=_ended(before.get("terminated")),
        restarts=status.get("restartCount") or 0,
    )


def _startup_seconds(probe: RawObject | None) -> float | None:
    """From the start of a container to the last of the failures that the probe allows."""
    if probe is None:
        return None
    period = probe.get("periodSeconds") or 10
    allowed = probe.get("failureThreshold") or 3
    return float((probe.get("initialDelaySeconds") or 0) + (allowed - 1) * period)


def _ended(terminated: RawObject | None) -> Ended | None:
    if terminated is None:
        return None
    return Ended(
        code=terminated.get("exitCode") or 0,
        reason=terminated.get("reason") or "",
        started=seconds(terminated.get("startedAt")),
        finished=seconds(terminated.get("finishedAt")),
    )
