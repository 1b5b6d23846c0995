"""The SidecarPolicy resource as pydantic models: the one source of crds/ and of parsing.

What we own is modelled; Kubernetes' own objects (containers, volumes) stay raw
JSON so that fields newer than this program survive. The API server enforces the
schema made from these models (see schema.py), so parsing here is lenient: a field
that a newer CRD added is ignored, not refused.
"""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel

from sidecarpolicy.api.shapes import known_by, universal_fault, well_formed

Container = Annotated[dict[str, Any], AfterValidator(well_formed)]
"""A raw core/v1 Container."""
Volume = Annotated[dict[str, Any], AfterValidator(known_by("name"))]
"""A raw core/v1 Volume."""

VolumeMount = Annotated[dict[str, Any], AfterValidator(known_by("mountPath"))]
"""A raw core/v1 VolumeMount."""
EnvVar = Annotated[dict[str, Any], AfterValidator(known_by("name"))]
"""A raw core/v1 EnvVar."""

NumberOrPercent = Annotated[int | str, WithJsonSchema({"x-kubernetes-int-or-string": True})]

ContainerName = Annotated[
    str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
]
ObjectName = Annotated[str, Field(min_length=1, max_length=253)]
LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
LabelValue = Annotated[str, Field(max_length=63)]


class Model(BaseModel):
    """Base of all models: camelCase outside, snake_case inside, immutable."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True
    )


class Mode(StrEnum):
    """How a sidecar is injected."""

    NATIVE = "Native"
    UNIVERSAL = "Universal"


class NodeRule(StrEnum):
    """Which nodes an injected Pod may run on."""

    REQUIRE = "Require"
    AVOID = "Avoid"
    NONE = "None"


class InjectAt(StrEnum):
    """When Pods of workloads with a template get their sidecars."""

    AUTO = "Auto"
    POD = "Pod"


class Placement(StrEnum):
    """Where sidecars go among a Pod's init containers."""

    FIRST = "First"
    LAST = "Last"


class TargetKind(StrEnum):
    """Kinds of workload that a policy can change."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"
    CRON_JOB = "CronJob"
    JOB = "Job"
    POD = "Pod"


class Operator(StrEnum):
    """Operators of a label selector requirement."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class Requirement(Model):
    """One requirement of a label selector."""

    key: LabelKey = Field(description="The label key that the requirement applies to.")
    operator: Operator = Field(description="How the label's value relates to `values`.")
    values: Annotated[tuple[LabelValue, ...], Field(max_length=64)] = Field(
        default=(), description="Required for In and NotIn; empty for Exists and DoesNotExist."
    )


class LabelSelector(Model):
    """A metav1.LabelSelector; all parts are ANDed, an empty selector matches everything."""

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=64)] = Field(
        default={}, description="Labels that must be present with exactly these values."
    )
    match_expressions: Annotated[tuple[Requirement, ...], Field(max_length=32)] = Field(
        default=(), description="Requirements that must all hold."
    )


class Target(Model):
    """A kind of workload, or one workload by name."""

    kind: TargetKind = Field(description="The kind of workload.")
    name: ObjectName | None = Field(
        default=None, description="Exact name; absent: every workload of the kind."
    )


class Order(Model):
    """Where one sidecar stands relative to other init containers."""

    sidecar: ContainerName = Field(
        description="Name of a sidecar of this policy, or of a container that it adopts."
    )
    before: Annotated[tuple[ContainerName, ...], Field(max_length=16)] = Field(
        default=(), description="Init containers that start after it; absent ones do not count."
    )
    after: Annotated[tuple[ContainerName, ...], Field(max_length=16)] = Field(
        default=(), description="Init containers that start before it; absent ones do not count."
    )


class AppContainers(Model):
    """What application containers get so that they can use the sidecars."""

    names: Annotated[tuple[ContainerName, ...], Field(max_length=32)] = Field(
        default=(), description="Regular containers; absent: all but those that this policy adopts."
    )
    volume_mounts: Annotated[tuple[VolumeMount, ...], Field(max_length=32)] = Field(
        default=(), description="Mounts to add, as in a container's volumeMounts."
    )
    env: Annotated[tuple[EnvVar, ...], Field(max_length=64)] = Field(
        default=(), description="Variables to add, as in a container's env."
    )


class ImagePullSecret(Model):
    """A reference to a Secret in the workload's own namespace."""

    name: ObjectName = Field(description="Name of the Secret.")


class OnFailure(StrEnum):
    """What becomes of a workload whose rollout failed because of a policy."""

    REVERT = "Revert"
    PAUSE = "Pause"


class ExistingWorkloads(StrEnum):
    """When changes reach workloads that exist."""

    PROGRESSIVE = "Progressive"
    ON_NEXT_UPDATE = "OnNextUpdate"


class Rollout(Model):
    """How changes reach existing workloads."""

    existing: ExistingWorkloads = Field(
        default=ExistingWorkloads.PROGRESSIVE,
        description="Progressive: a few workloads at a time. OnNextUpdate: nothing that exists is "
        "touched; its owner's next change of a Pod template brings the sidecars in, in the same "
        "rollout.",
    )
    max_concurrent: NumberOrPercent = Field(
        default="10%",
        description="How many workloads may roll at one time because of the policy: a number, or "
        "a percentage of those that it selects; at least 1.",
    )
    max_failed: Annotated[int, Field(ge=1, le=10000)] = Field(
        default=1, description="The rollout stops after this many workloads failed theirs."
    )
    on_failure: OnFailure = Field(
        default=OnFailure.REVERT,
        description="Revert: what the policy added is taken out of a workload whose rollout "
        "failed, and this revision stays out of it. Pause: such a workload is left as it is.",
    )
    progress_deadline_seconds: Annotated[int, Field(ge=1, le=86400)] = Field(
        default=600,
        description="A workload's rollout has failed after this many seconds without progress, or "
        "earlier, by a Deployment's own progressDeadlineSeconds. For StatefulSets and DaemonSets, "
        "which report no progress, the whole rollout may take that long.",
    )


class ExistingJobs(StrEnum):
    """What becomes of Jobs that are older than a policy."""

    SKIP = "Skip"
    NEW_PODS = "NewPods"


class Jobs(Model):
    """What to do about Jobs, whose templates cannot be changed."""

    existing: ExistingJobs = Field(
        default=ExistingJobs.SKIP,
        description="Skip: Jobs that exist run on without sidecars. NewPods: the Pods that they "
        "create from now on get them.",
    )


class Universal(Model):
    """How `mode: Universal` is done."""

    image: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        default="busybox:1.37.0-musl",
        description="Image with a static busybox at /bin/busybox, which each Pod copies.",
    )


class Adoption(Model):
    """An ordinary container of the workload's own that becomes a native sidecar."""

    container: ContainerName = Field(
        description="Name of the container; Pods without it are left as they are."
    )
    startup_from_readiness: bool | None = Field(
        default=None,
        description="Whether its readiness probe is also its startup probe, so that nothing that "
        "comes after it starts before it is ready.",
    )


class SidecarPolicySpec(Model):
    """What to add, to which workloads, and on which nodes the result may run."""

    selector: LabelSelector = Field(
        description="Selects workloads by the labels of their Pod template, as Service and "
        "PodDisruptionBudget do. Required; {} selects every workload of the namespace."
    )
    targets: Annotated[tuple[Target, ...], Field(min_length=1, max_length=64)] = Field(
        default=tuple(Target(kind=kind) for kind in TargetKind if kind is not TargetKind.POD),
        description="Kinds of workload, optionally by name; absent: all but Pod.",
    )
    mode: Mode = Field(
        default=Mode.NATIVE,
        description="Native: an init container with restartPolicy Always (KEP-753). Universal: the "
        "same, and an ordinary container that takes its place where nodes or API server ignore "
        "that field; both are in each Pod, and one of them runs.",
    )
    universal: Universal = Field(
        default=Universal(), description="How mode Universal is done; nothing to other modes."
    )
    sidecars: Annotated[tuple[Container, ...], Field(max_length=32)] = Field(
        default=(),
        description="Containers to add, as in a Pod's initContainers; any field is kept as it "
        "is. restartPolicy may be absent or Always.",
    )
    placement: Placement = Field(
        default=Placement.FIRST,
        description="First: before all init containers. Last: after them.",
    )
    order: Annotated[tuple[Order, ...], Field(max_length=32)] = Field(
        default=(), description="Finer places of single sidecars; wins over `placement`."
    )
    adopt: Annotated[tuple[Adoption, ...], Field(max_length=16)] = Field(
        default=(),
        description="Ordinary containers that the workload has for sidecars; each becomes a native "
        "one when a Pod, or a Job, is created. Templates stay as they are.",
    )
    volumes: Annotated[tuple[Volume, ...], Field(max_length=64)] = Field(
        default=(), description="Volumes to add to the Pod, as in a Pod's volumes."
    )
    image_pull_secrets: Annotated[tuple[ImagePullSecret, ...], Field(max_length=16)] = Field(
        default=(), description="Secrets to add to the Pod's imagePullSecrets."
    )
    app_containers: AppContainers | None = Field(
        default=None,
        description="What the application containers get so that they can use the sidecars.",
    )
    min_termination_grace_period_seconds: Annotated[int, Field(ge=1, le=86400)] | None = Field(
        default=None,
        description="Raises the Pod's grace period, in seconds, never lowers it: sidecars end "
        "after the application, within the same period.",
    )
    node_rule: NodeRule = Field(
        default=NodeRule.REQUIRE,
        description="Require: only nodes known to run native sidecars. Avoid: any node but those "
        "known not to. None: no rule.",
    )
    inject_at: InjectAt = Field(
        default=InjectAt.AUTO,
        description="Auto: templates carry the sidecars, where they can. Pod: templates carry only "
        "an annotation, and the webhook adds the sidecars to each Pod at its creation.",
    )
    rollout: Rollout = Field(default=Rollout(), description="How changes reach existing workloads.")
    jobs: Jobs = Field(
        default=Jobs(), description="What to do about Jobs, whose templates cannot be changed."
    )
    paused: bool = Field(
        default=False, description="Freezes existing workloads as they are; nothing is taken back."
    )

    @model_validator(mode="after")
    def _fits_its_mode(self) -> Self:
        if self.mode is Mode.UNIVERSAL:
            for each in self.sidecars:
                if fault := universal_fault(each):
                    raise ValueError(
                        f"sidecar {each['name']} {fault}, because its mode is Universal"
                    )
            if self.adopt:
                raise ValueError("mode Universal adopts no containers; use another policy for them")
        return self


class ClusterSidecarPolicySpec(SidecarPolicySpec):
    """The same for many namespaces."""

    namespace_selector: LabelSelector = Field(
        description="Selects namespaces by their labels. Required; {} selects every namespace but "
        "the system's own."
    )
