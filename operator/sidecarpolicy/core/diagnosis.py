"""Diagnosis: what is wrong with a Pod that has native sidecars, and what to do next.

A chain of named checks over facts; the first that finds something answers. A Pod that is merely
starting is not stuck: what may take how long stands in `Patience`, and the clock is an argument.
Container states and conditions are enough for it: Events are lost and expire, so they
only decide where no Pod exists.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core import advice, kubeletbugs
from sidecarpolicy.core.advice import Diagnosis
from sidecarpolicy.core.capability import Verdict
from sidecarpolicy.core.facts import NodeFacts
from sidecarpolicy.core.podfacts import ContainerFacts, Ended, PodFacts


@dataclass(frozen=True)
class Patience:
    """How long, in seconds, something may last before it is called wrong."""

    scheduling: float = 30
    """Without a node: the scheduler, and most of all an autoscaler, need a moment."""
    mounting: float = 60
    """With a node, but without volumes or network: to attach a disk takes its time."""
    creating: float = 20
    """Since the Pod was created: a registry may be out of breath, a Secret come a moment later."""
    init: float = 300
    """An ordinary init container: migrations and downloads take their time."""
    hanging: float = 10
    """A sidecar that runs as an ordinary init container: it could still end by itself."""
    steady: float = 60
    """A container that ran for so long is not in a crash loop."""
    crashes: int = 2
    """Restarts before that: a first crash may only mean that something else was not there yet."""
    probing: float = 30
    """Between the last failure that a startup probe allows and the restart it leads to."""
    application: float = 45
    """Between the last sidecar's start and the application's, on a kubelet with a known bug."""
    frozen: float = 60
    """An ended sidecar beside a running application: the kubelet's own back-off shows at once."""


@dataclass(frozen=True)
class Case:
    """One Pod with all that a diagnosis may look at."""

    pod: PodFacts
    now: float
    node: NodeFacts | None = None
    """Its node, where it has one that is known."""
    server: str = ""
    """The API server's version, where that is known."""
    meant: frozenset[str] = frozenset()
    """Names of its native sidecars in the template of its owner, where that was read."""
    replaced: bool = False
    """Whether it has ended, and its owner has all the Pods that it wants without it."""
    patience: Patience = field(default_factory=Patience)


Check = Callable[[Case], Diagnosis | None]

_REFUSED: Final = "InitContainerRestartPolicyForbidden"
"""What kubelet 1.28, and later ones without the feature, make of a Pod with native sidecars."""

_NEEDS_RESTART_POLICY: Final = "may not be set for init containers without restartPolicy=Always"
"""How the API server refuses a probe or a hook of what is no native sidecar any more."""

_REFUSAL: Final = re.compile(r"(?: is invalid| is forbidden| denied the request): (.+)", re.DOTALL)
"""What the API server says before it comes to the point; the Pod's name differs each time."""
_ENDING: Final = "because it is being terminated"
_MAX_WORDS: Final = 400

_NO_IMAGE: Final = frozenset(
    {
        "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName",
        "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed",
    }
)  # fmt: skip
_NOT_CREATED: Final = frozenset(
    {
        "CreateContainerConfigError", "CreateContainerError", "PreCreateHookError",
        "PreStartHookError", "PostStartHookError", "RunContainerError",
    }
)  # fmt: skip
_BY_WORD: Final = frozenset({Reason.OVERRIDDEN})
"""What people say of a node, and its kubelet may not know of."""
_IGNORING: Final = frozenset({Verdict.IGNORES, Verdict.UNKNOWN})
"""Unknown is what a version is that cannot be read; a capable kubelet would say `started`."""

_BACK_OFF: Final = "CrashLoopBackOff"
_KILLED: Final = 137
_SIGNALS: Final = frozenset({137, 143})
_SHORT_PROBE: Final = 5.0
"""Seconds; within fewer, a container may as well have ended by itself."""


def rejected_by_node(case: Case) -> Diagnosis | None:
    """The kubelet refused the Pod; whoever owns it creates one after the other.

    They stay when the node is well again, until somebody deletes them.
    """
    pod = case.pod
    if (pod.phase, pod.reason) != ("Failed", _REFUSED) or case.replaced:
        return None
    said = case.node.capability.evidence if case.node is not None else "its version is not known"
    taken = case.node is not None and case.node.capability.capable
    found = advice.CAPABLE_REJECTS if taken else advice.NODE_REJECTS
    return found.on(node=pod.node, evidence=said, seen=pod.message)


def restart_policy_stripped(case: Case) -> Diagnosis | None:
    """A sidecar by its record, or by its owner's template, is none in the Pod."""
    # In mode Universal one without is meant so: it runs as well where the field is dropped.
    meant = (case.pod.recorded | case.meant) - case.pod.universal
    for each in case.pod.init:
        if each.name in meant and not each.native and case.pod.phase != "Succeeded":
            return advice.STRIPPED.on(each.name)
    return None


def killed_at_shutdown(case: Case) -> Diagnosis | None:
    """The application had ended, and the sidecar had to be killed."""
    pod = case.pod
    ends = [each.ended for each in pod.apps if each.ended is not None]
    if not (pod.over or pod.deleting) or len(ends) < len(pod.apps):
        return None
    last = max((each.finished for each in ends), default=0.0)
    for each in pod.native:
        end = each.ended
        killed = end is not None and end.code == _KILLED and end.reason != "OOMKilled"
        if end is not None and killed and end.finished >= last:
            return advice.KILLED.on(each.name, grace=pod.grace_seconds)
    return None


def probe_given_up(case: Case) -> Diagnosis | None:
    """A sidecar that was restarted counts as started, and the kubelet starts nothing after it.

    Without a probe at work, the status says `started`; the kubelet itself waits for the probe.
    """
    bug, pod = kubeletbugs.PROBE_GIVEN_UP, case.pod
    probed = [each for each in (*pod.init, *pod.apps) if each.startup_seconds is not None]
    waits = pod.phase == "Pending" and pod.blocker is None and not pod.deleting
    if pod.restart_policy != "Never" or not waits or not bug.affects(_kubelet(case)):
        return None
    for each in pod.native:
        since = each.running_since or 0.0
        late = case.now > since + case.patience.application
        if each in probed and len(probed) > 1 and each.restarts and late:
            return advice.PROBE_GIVEN_UP.on(
                each.name, version=_kubelet(case), issue=bug.issue, cure=bug.cure
            )
    return None


def no_sigterm(case: Case) -> Diagnosis | None:
    """The Pod is being deleted, and a sidecar runs while one after it never started."""
    bug, pod = kubeletbugs.NO_SIGTERM, case.pod
    if not pod.deleting or pod.over or not bug.affects(_kubelet(case)):
        return None
    idle = [index for index, each in enumerate(pod.init) if each.native and _never_ran(each)]
    for each in pod.init[: max(idle, default=0)]:
        if each.native and each.running_since is not None:
            return advice.NO_SIGTERM.on(
                each.name, version=_kubelet(case), issue=bug.issue, cure=bug.cure,
                grace=pod.grace_seconds,
            )  # fmt: skip
    return None


def status_frozen(case: Case) -> Diagnosis | None:
    """A sidecar ended while the application runs, and its status does not move on."""
    bug, pod = kubeletbugs.STATUS_FROZEN, case.pod
    if pod.restart_policy == "Always" or pod.phase != "Running" or pod.deleting:
        return None
    if not bug.affects(case.server) or not any(each.running_since for each in pod.apps):
        return None
    for each in pod.native:
        if pod.serving(each) is not None:
            continue
        if each.ended is not None and case.now > each.ended.finished + case.patience.frozen:
            return advice.STATUS_FROZEN.on(
                each.name, version=case.server, issue=bug.issue, cure=bug.cure
            )
    return None


def no_matching_node(case: Case) -> Diagnosis | None:
    """The scheduler finds no node, and our rule is one of the reasons."""
    since = case.pod.unschedulable_since
    if since is None or not case.pod.ruled or case.now < since + case.patience.scheduling:
        return None
    if "node affinity/selector" not in case.pod.unschedulable:
        return None
    native = case.pod.recorded - case.pod.universal or not case.pod.recorded
    found = advice.NO_NODE if native else advice.ALL_REJECT
    return found.on(seen=case.pod.unschedulable)


def ignored_by_node(case: Case) -> Diagnosis | None:
    """The kubelet waits for the sidecar to end, which it never does."""
    pod, node, blocker = case.pod, case.node, case.pod.blocker
    if node is None or node.capability.verdict not in _IGNORING or pod.over or not blocker:
        return None
    since, probed = blocker.running_since, blocker.startup_seconds is not None
    if not blocker.native or since is None or case.now < since + case.patience.hanging:
        return None
    unsure = node.capability.verdict is Verdict.UNKNOWN or node.capability.reason in _BY_WORD
    if unsure and probed:
        return None
    return advice.NODE_IGNORES.on(blocker.name, node=pod.node, evidence=node.capability.evidence)


def left_behind(case: Case) -> Diagnosis | None:
    """Its node lost the capability, as by an older kubelet, and what was started before runs on.

    Only where the node ignores the field: one that refuses Pods does so as soon as it restarts.
    """
    pod, node = case.pod, case.node
    if node is None or node.capability.verdict is not Verdict.IGNORES or pod.deleting:
        return None
    serving = {each.name for each in pod.native if each.serves}
    if pod.phase != "Running" or not serving:
        return None
    found = advice.NODE_LOST if serving - pod.universal else advice.COPY_LOST
    return found.on(node=pod.node, evidence=node.capability.evidence)


def pod_not_started(case: Case) -> Diagnosis | None:
    """Nothing can start: the kubelet mounts volumes and sets the network up before all else."""
    pod, since = case.pod, case.pod.unprepared_since
    if since is None or not pod.node or pod.phase != "Pending" or pod.deleting:
        return None
    late = case.now > since + case.patience.mounting
    return advice.POD_NOT_STARTED.on(node=pod.node) if late else None


def image_pull_failing(case: Case) -> Diagnosis | None:
    """A sidecar's image is not to be had, or that with which mode Universal begins."""
    for each in (*case.pod.copies, *case.pod.preparing):
        if _waits_in_vain(each, case, _NO_IMAGE):
            found = advice.IMAGE if each in case.pod.copies else advice.PREPARE_IMAGE
            return found.on(each.name, image=each.image, seen=each.detail)
    return None


def not_created(case: Case) -> Diagnosis | None:
    """The kubelet cannot make a container of a sidecar."""
    for each in (*case.pod.copies, *case.pod.ordinary_copies):
        if _waits_in_vain(each, case, _NOT_CREATED):
            return advice.NOT_CREATED.on(each.name, how=each.waiting, seen=each.detail)
    return None


def startup_probe_failing(case: Case) -> Diagnosis | None:
    """The kubelet restarted a sidecar because of its startup probe, which has not passed yet."""
    for each in case.pod.native:
        if not each.started and _ended_by_probe(each, case) and not case.pod.over:
            return advice.STARTUP_PROBE.on(each.name, seen=each.detail)
    return None


def crash_looping(case: Case) -> Diagnosis | None:
    """A sidecar ends again and again."""
    for each in (*case.pod.copies, *case.pod.ordinary_copies):
        if _crashes(each, case):
            return advice.CRASHES.on(each.name, how=_how_it_ended(each), seen=each.detail)
    return None


def init_container_blocked(case: Case) -> Diagnosis | None:
    """Not a sidecar but an ordinary init container is what the Pod waits for."""
    blocker = case.pod.blocker
    if blocker is None or blocker in case.pod.copies or case.pod.over:
        return None
    since = blocker.running_since
    how = ""
    if _waits_in_vain(blocker, case, _NO_IMAGE):
        how = f"its image {blocker.image} cannot be pulled"
    elif _waits_in_vain(blocker, case, _NOT_CREATED):
        how = f"it cannot be created ({blocker.waiting})"
    elif _crashes(blocker, case):
        how = f"it ends again and again ({_how_it_ended(blocker)})"
    elif since is not None and case.now > since + case.patience.init:
        how = f"it has been running for more than {case.patience.init / 60:.0f} minutes"
    found = advice.PREPARE if blocker in case.pod.preparing else advice.BLOCKED
    return found.on(blocker.name, how=how, seen=blocker.detail) if how else None


CHECKS: Final[tuple[Check, ...]] = (
    rejected_by_node,
    restart_policy_stripped,
    killed_at_shutdown,
    probe_given_up,
    no_sigterm,
    status_frozen,
    no_matching_node,
    ignored_by_node,
    pod_not_started,
    image_pull_failing,
    not_created,
    startup_probe_failing,
    crash_looping,
    init_container_blocked,
    left_behind,
)


def diagnose(case: Case) -> Diagnosis | None:
    """What is wrong with the Pod; None if nothing is, as far as can be told by now."""
    return next((found for check in CHECKS if (found := check(case)) is not None), None)


def creation_refused(message: str) -> Diagnosis | None:
    """Why a Pod with native sidecars cannot be created, by a FailedCreate event on its owner.

    None for what passes by itself, such as a namespace that is going.
    """
    if _NEEDS_RESTART_POLICY in message:
        return advice.CREATION_REFUSED.on(seen=message)
    said = _REFUSAL.search(message)
    if said is None or _ENDING in message:
        return None
    return advice.POD_NOT_CREATED.on(words=said[1][:_MAX_WORDS].rstrip("."), seen=message)


def settled(pod: PodFacts, now: float, *, patience: Patience = Patience()) -> bool:
    """Whether nothing can come to be wrong with the Pod before there is news of it."""
    if pod.over:
        return True
    if pod.deleting or pod.phase != "Running" or pod.blocker is not None:
        return False
    serving = [pod.serving(each) for each in pod.copies]
    return all(each is not None and _steady(each, now, patience) for each in serving)


def _steady(container: ContainerFacts, now: float, patience: Patience) -> bool:
    since = container.running_since or 0
    return container.restarts < patience.crashes or now >= since + patience.steady


def _kubelet(case: Case) -> str:
    return case.node.kubelet.version if case.node is not None else ""


def _never_ran(container: ContainerFacts) -> bool:
    return container.running_since is None and container.ended is None and container.last is None


def _waits_in_vain(container: ContainerFacts, case: Case, reasons: frozenset[str]) -> bool:
    """Between two tries the kubelet backs off, so several states count, and the Pod's age."""
    return container.waiting in reasons and case.now > case.pod.created + case.patience.creating


def _latest_end(container: ContainerFacts) -> Ended | None:
    return container.ended or container.last


def _ended_by_probe(container: ContainerFacts, case: Case) -> bool:
    """Whether the last run took as long as the startup probe has patience, and the kubelet needs
    to end it then. One that passed and ended much later was ended by something else.
    """
    end, allowed = _latest_end(container), container.startup_seconds
    if end is None or allowed is None or end.reason == "OOMKilled":
        return False
    longest = allowed + case.pod.grace_seconds + case.patience.probing
    in_time = allowed - 1 <= end.lasted <= longest
    return in_time and (end.code in _SIGNALS or allowed >= _SHORT_PROBE)


def _crashes(container: ContainerFacts, case: Case) -> bool:
    """A back-off of the kubelet's, or run after run that is short."""
    # In mode Universal the native copy ends once by itself, so that it is started again.
    twice = container.native and container.name in case.pod.universal
    crashes = container.restarts - int(twice)
    if case.pod.over or case.pod.deleting or crashes < case.patience.crashes:
        return False
    end, since = _latest_end(container), container.running_since
    if container.waiting == _BACK_OFF:
        return True
    meant = twice and end is not None and end.code == 0
    short = end is not None and end.lasted < case.patience.steady and not meant
    return short and (since is None or case.now < since + case.patience.steady)


def _how_it_ended(container: ContainerFacts) -> str:
    end = _latest_end(container)
    if end is None:
        return "it cannot be started"
    told = end.reason not in ("", "Error", "Completed")
    return f"exit code {end.code}, {end.reason}" if told else f"exit code {end.code}"
