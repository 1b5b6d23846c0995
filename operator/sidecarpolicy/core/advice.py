"""Advice: the words for everything that can be wrong with a Pod's native sidecars.

Messages keep to what stays the same while the trouble lasts (no times, no counts, no scheduler's
statistics), so that they are written once. docs/troubleshooting.md explains each; a test
holds the two together.
"""

from dataclasses import dataclass, field
from typing import Final

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.finding import Finding


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong with a Pod, and what to do about it.

    `stuck`: it does not run as it should; otherwise it has run, and something went wrong. `seen` is
    what Kubernetes itself said, which may change from minute to minute.
    """

    reason: Reason
    message: str
    next_step: str
    container: str = ""
    """The init container that is at fault; empty where the Pod as a whole is concerned."""
    stuck: bool = True
    seen: str = field(default="", compare=False)

    @property
    def finding(self) -> Finding:
        """For statuses and Events."""
        return Finding(self.reason, f"{self.message}. {self.next_step}.")


@dataclass(frozen=True)
class Advice:
    """A message with places in braces, and the next step."""

    reason: Reason
    message: str
    next_step: str
    stuck: bool = True

    def on(self, container: str = "", *, seen: str = "", **places: object) -> Diagnosis:
        """The diagnosis for one Pod; `seen` is what Kubernetes itself said."""
        places["container"] = container
        return Diagnosis(
            self.reason,
            self.message.format_map(places),
            self.next_step.format_map(places),
            container,
            self.stuck,
            seen,
        )


_READ_LOG = "Read its log with kubectl logs POD -c {container} --previous"

NODE_REJECTS: Final = Advice(
    Reason.NODE_REJECTS_SIDECARS,
    "node {node} refused the Pod because of its native sidecars ({evidence})",
    "Keep such Pods on capable nodes with nodeRule: Require or Avoid and without nodeName, or "
    "upgrade the kubelet to 1.29 or later, with its feature gate SidecarContainers on",
)
CAPABLE_REJECTS: Final = Advice(
    Reason.NODE_REJECTS_SIDECARS,
    "node {node} refused the Pod because of its native sidecars, although it counts as capable "
    "({evidence}): its feature gate SidecarContainers is off, or was then",
    "Turn that gate on or upgrade the kubelet to 1.33 or later; until then keep Pods off the node "
    "with its annotation sidecarpolicy.dev/native-sidecars-override=rejects, or have the operator "
    "read the gate with --node-metrics",
)
NODE_IGNORES: Final = Advice(
    Reason.NODE_IGNORES_SIDECARS,
    "node {node} takes sidecar {container} for an ordinary init container and waits for its end "
    "for ever ({evidence})",
    "Keep such Pods on capable nodes with nodeRule: Require or Avoid and without nodeName, or "
    "upgrade the kubelet to 1.29 or later",
)
NODE_LOST: Final = Advice(
    Reason.NODE_IGNORES_SIDECARS,
    "the Pod runs on node {node}, which cannot run native sidecars any more ({evidence}): a "
    "sidecar that ends is not started again, and a new start of the Pod would hang in Init",
    "Delete the Pod, so that its owner has it created on a capable node, or upgrade the kubelet "
    "again; drain a node before its kubelet is replaced by an older one",
    stuck=False,
)
COPY_LOST: Final = Advice(
    Reason.NODE_IGNORES_SIDECARS,
    "the Pod began on node {node} with native sidecars, which that cannot run any more "
    "({evidence}): a sidecar that ends is not started again, and its ordinary copy sleeps",
    "Delete the Pod: in a new one the ordinary copies serve; drain a node before its kubelet is "
    "replaced by an older one",
    stuck=False,
)
STRIPPED: Final = Advice(
    Reason.RESTART_POLICY_STRIPPED,
    "sidecar {container} lost its restartPolicy: Always when the Pod was created, so it is an "
    "ordinary init container, and the Pod hangs in Init",
    "A mutating webhook that was built against an old API, or an API server without the feature "
    "SidecarContainers, dropped the field: look through kubectl get mutatingwebhookconfigurations, "
    "update or exclude the one that rewrites Pods, then create the Pod anew",
)
CREATION_REFUSED: Final = Advice(
    Reason.RESTART_POLICY_STRIPPED,
    "no Pod can be created: a sidecar loses its restartPolicy: Always on the way, and the API "
    "server refuses what an ordinary init container must not have",
    "A mutating webhook that was built against an old API, or an API server without the feature "
    "SidecarContainers, dropped the field: look through kubectl get mutatingwebhookconfigurations, "
    "update or exclude the one that rewrites Pods",
)
KILLED: Final = Advice(
    Reason.SIDECAR_KILLED_AT_SHUTDOWN,
    "sidecar {container} was killed (exit code 137) after the application had ended: it had not "
    "ended by itself when the grace period of {grace} seconds was over",
    "Let it end on SIGTERM, which a shell as the first process ignores, or raise the grace period "
    "with minTerminationGracePeriodSeconds",
    stuck=False,
)
POD_NOT_CREATED: Final = Advice(
    Reason.POD_NOT_CREATED,
    "Pods cannot be created, because the API server refuses them: {words}",
    "Correct what it names: in the policy if that added it, else in the workload, or in what "
    "limits its namespace (ResourceQuota, Pod Security, admission policies)",
)
NO_NODE: Final = Advice(
    Reason.NO_MATCHING_NODE,
    "no node takes the Pod: its node rule allows only nodes that run native sidecars, and none of "
    "those fits",
    "See what the scheduler says with kubectl describe pod, and which nodes are capable with "
    "kubectl get nodes -L sidecarpolicy.dev/native-sidecars; upgrade kubelets or add nodes, or use "
    "nodeRule: Avoid where nodes are made on demand",
)
ALL_REJECT: Final = Advice(
    Reason.NO_MATCHING_NODE,
    "no node takes the Pod: its node rule keeps it off nodes that refuse native sidecars, which "
    "mode Universal has, too, and none of the others fits",
    "See what the scheduler says with kubectl describe pod, and which nodes refuse them with "
    "kubectl get nodes -L sidecarpolicy.dev/native-sidecars; upgrade kubelets or add nodes",
)
PREPARE_IMAGE: Final = Advice(
    Reason.IMAGE_PULL_FAILING,
    "image {image} of init container {container}, with which mode Universal begins, cannot be "
    "pulled",
    "Set spec.universal.image of the policy to an image that the node can pull, with a static "
    "busybox at /bin/busybox, and check the Pod's imagePullSecrets",
)
IMAGE: Final = Advice(
    Reason.IMAGE_PULL_FAILING,
    "image {image} of sidecar {container} cannot be pulled",
    "Check its name and tag, whether the node reaches the registry, and the Pod's imagePullSecrets",
)
NOT_CREATED: Final = Advice(
    Reason.SIDECAR_NOT_CREATED,
    "sidecar {container} cannot be created ({how})",
    "See what is missing with kubectl describe pod: most often a Secret or a ConfigMap that it "
    "refers to",
)
POD_NOT_STARTED: Final = Advice(
    Reason.POD_NOT_STARTED,
    "node {node} has started no container of the Pod yet, because a volume is not mounted or the "
    "Pod's network is not set up",
    "See which with kubectl describe pod: events FailedMount, FailedAttachVolume and "
    "FailedCreatePodSandBox; most often a Secret, ConfigMap or claim that does not exist",
)
STARTUP_PROBE: Final = Advice(
    Reason.STARTUP_PROBE_FAILING,
    "sidecar {container} does not pass its startup probe, and the containers after it wait",
    "See the probe's result with kubectl describe pod and the log with kubectl logs POD -c "
    "{container} --previous; correct the sidecar, or give its startupProbe more time",
)
CRASHES: Final = Advice(
    Reason.CRASH_LOOPING,
    "sidecar {container} ends again and again ({how})",
    _READ_LOG,
)
BLOCKED: Final = Advice(
    Reason.INIT_CONTAINER_BLOCKED,
    "init container {container}, which is no sidecar, holds the Pod up: {how}",
    "Read its log with kubectl logs POD -c {container}; if it needs a sidecar, let that one start "
    "before it, with placement: First or order",
)
PREPARE: Final = Advice(
    Reason.INIT_CONTAINER_BLOCKED,
    "init container {container}, with which mode Universal begins, holds the Pod up: {how}",
    "Read its log with kubectl logs POD -c {container}; spec.universal.image of the policy must "
    "have a static busybox at /bin/busybox that runs on the node",
)
PROBE_GIVEN_UP: Final = Advice(
    Reason.KNOWN_KUBELET_BUG,
    "kubelet {version} has the bug {issue}: it probes sidecar {container} no more since it "
    "restarted it, so the application is never started",
    "Delete the Pod; upgrade the kubelet to {cure}, or use restartPolicy: OnFailure",
)
NO_SIGTERM: Final = Advice(
    Reason.KNOWN_KUBELET_BUG,
    "kubelet {version} has the bug {issue}: sidecar {container} is not told to end, because the "
    "Pod was deleted before all of its sidecars had started",
    "Wait for the grace period of {grace} seconds; upgrade the kubelet to {cure}",
    stuck=False,
)
STATUS_FROZEN: Final = Advice(
    Reason.KNOWN_KUBELET_BUG,
    "API server {version} has the bug {issue}: the Pod's status shows for ever how sidecar "
    "{container} once ended, although it may run again",
    "Upgrade the API server to {cure}; until then look at the container itself with kubectl logs "
    "POD -c {container}",
)
KEPT_OPEN: Final = Advice(
    Reason.JOB_KEPT_OPEN,
    "the Job stays open, because of its Pod's containers {ended} ended and {container} did not",
    "Apply the policy below where the operator is installed: in Jobs that are created from then on "
    "{container} is native, and ends with the application. The template of this Job cannot change: "
    "delete it, or let {container} end. If that is no sidecar but still at work, wait for it",
)
COPY_KEEPS_OPEN: Final = Advice(
    Reason.JOB_KEPT_OPEN,
    "the Job stays open, because {ended} ended and {container} did not, which serves in mode "
    "Universal where the native copy of the sidecar does not",
    "Have the sidecar end by itself when the work is done, by a file as docs/universal.md shows, "
    "or keep the Job on capable nodes with a nodeSelector sidecarpolicy.dev/native-sidecars: true",
)

ALL: Final = (
    NODE_REJECTS, CAPABLE_REJECTS, STRIPPED, CREATION_REFUSED, KILLED, PROBE_GIVEN_UP, NO_SIGTERM,
    STATUS_FROZEN, POD_NOT_CREATED, NO_NODE, ALL_REJECT, NODE_IGNORES, NODE_LOST, COPY_LOST,
    POD_NOT_STARTED, IMAGE, PREPARE_IMAGE, NOT_CREATED, STARTUP_PROBE, CRASHES, BLOCKED, PREPARE,
)  # fmt: skip
"""The worst first."""

OF_JOBS: Final = (KEPT_OPEN, COPY_KEEPS_OPEN)
"""What only `doctor` says, of Jobs without native sidecars too."""
