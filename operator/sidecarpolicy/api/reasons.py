"""Reasons: the CamelCase words of conditions, problems and logs, each defined once.

Kubernetes asks for machine-readable reasons (API conventions, "Typical status
properties"); users alert on them, so a reason is never renamed lightly.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why something is as it is."""

    # Conditions of a policy.
    READY = "Ready"
    ACCEPTED = "Accepted"
    INVALID = "Invalid"
    NAMESPACE_EXCLUDED = "NamespaceExcluded"
    CAPABLE = "Capable"
    NO_NODES = "NoNodes"
    WEBHOOK_NOT_REGISTERED = "WebhookNotRegistered"
    NO_CAPABLE_NODES = "NoCapableNodes"
    API_SERVER_DROPS_FIELD = "ApiServerDropsField"
    STRIPPED_BY_WEBHOOK = "StrippedByWebhook"
    COMPLETE = "Complete"
    IN_PROGRESS = "InProgress"
    WORKLOADS_FAILED = "WorkloadsFailed"
    WORKLOADS_CONFLICTED = "WorkloadsConflicted"

    # What dry runs of Pods say; with Refused and Invalid.
    PREFLIGHT = "Preflight"
    QUOTA_EXCEEDED = "QuotaExceeded"

    # One workload under a policy.
    PAUSED = "Paused"
    OPTED_OUT = "OptedOut"
    NAME_CONFLICT = "NameConflict"
    PORT_CONFLICT = "PortConflict"
    VOLUME_MISSING = "VolumeMissing"
    ORDER_IMPOSSIBLE = "OrderImpossible"
    NOTHING_TO_ADOPT = "NothingToAdopt"
    LAST_CONTAINER = "LastContainer"
    BACKOFF_LIMIT_TOO_LOW = "BackoffLimitTooLow"
    IMMUTABLE_TEMPLATE = "ImmutableTemplate"
    MISSED_ADMISSION = "MissedAdmission"
    PART_CHANGED = "PartChanged"
    RECORD_UNREADABLE = "RecordUnreadable"
    MARKER_TOO_LARGE = "MarkerTooLarge"
    OWNED_BY_CONTROLLER = "OwnedByController"
    NODE_RULE_OWNED_BY_GITOPS = "NodeRuleOwnedByGitOps"
    NODE_RULE_CONTRADICTION = "NodeRuleContradiction"
    NOT_SETTLED = "NotSettled"
    WAITING_FOR_OWNER = "WaitingForOwner"
    ON_NEXT_UPDATE = "OnNextUpdate"
    NO_FEASIBLE_NODE = "NoFeasibleNode"
    WOULD_BREAK_AUTOSCALING = "WouldBreakAutoscaling"
    STOPS_AUTOSCALING = "StopsAutoscaling"
    JOB_STAYS_OPEN = "JobStaysOpen"
    FIGHT = "Fight"
    ROLLOUT_STOPPED = "RolloutStopped"
    ROLLOUT_FAILED = "RolloutFailed"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"

    # What a node does with a native sidecar.
    OVERRIDDEN = "Overridden"
    GENERALLY_AVAILABLE = "GenerallyAvailable"
    FEATURE_GATE_ON = "FeatureGateOn"
    FEATURE_GATE_OFF = "FeatureGateOff"
    ON_BY_DEFAULT = "OnByDefault"
    OFF_BY_DEFAULT = "OffByDefault"
    KUBELET_TOO_OLD = "KubeletTooOld"
    API_SERVER_SKEW = "ApiServerSkew"
    VERSION_UNREADABLE = "VersionUnreadable"
    UNDECIDED = "Undecided"

    # One Pod with native sidecars (see core.diagnosis).
    NODE_REJECTS_SIDECARS = "NodeRejectsSidecars"
    RESTART_POLICY_STRIPPED = "RestartPolicyStripped"
    SIDECAR_KILLED_AT_SHUTDOWN = "SidecarKilledAtShutdown"
    KNOWN_KUBELET_BUG = "KnownKubeletBug"
    NO_MATCHING_NODE = "NoMatchingNode"
    NODE_IGNORES_SIDECARS = "NodeIgnoresSidecars"
    IMAGE_PULL_FAILING = "ImagePullFailing"
    SIDECAR_NOT_CREATED = "SidecarNotCreated"
    POD_NOT_CREATED = "PodNotCreated"
    POD_NOT_STARTED = "PodNotStarted"
    STARTUP_PROBE_FAILING = "StartupProbeFailing"
    CRASH_LOOPING = "CrashLooping"
    INIT_CONTAINER_BLOCKED = "InitContainerBlocked"
    JOB_KEPT_OPEN = "JobKeptOpen"

    # What sidecars cost.
    NO_RESOURCE_REQUEST = "NoResourceRequest"
    POD_REQUEST_LOWERED = "PodRequestLowered"
    QOS_CLASS_CHANGED = "QosClassChanged"

    # Events: what happened to a workload; with RolloutStopped.
    INJECTED = "Injected"
    UPDATED = "Updated"
    REVERTED = "Reverted"
    SKIPPED = "Skipped"
    CONFLICTED = "Conflicted"

    # Outcomes of a write.
    REFUSED = "Refused"
    FORBIDDEN = "Forbidden"
    OBJECT_CHANGED = "ObjectChanged"
    API_UNAVAILABLE = "ApiUnavailable"
