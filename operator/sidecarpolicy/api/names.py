"""Names that clusters, users and tests see: groups, labels, annotations, managers.

Each is part of the public contract: changing one orphans what was written under
the old name.
"""

from typing import Final

GROUP: Final = "sidecarpolicy.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
PLURAL: Final = "sidecarpolicies"
KIND: Final = "SidecarPolicy"
CLUSTER_PLURAL: Final = "clustersidecarpolicies"
CLUSTER_KIND: Final = "ClusterSidecarPolicy"
CATEGORY: Final = "sidecars"
"""Not `sidecarpolicy`: kubectl cannot tell a category from a kind of the same name."""

FIELD_MANAGER: Final = "sidecarpolicy-operator"
"""The manager of all our writes. Must start with neither `kubectl` nor
`before-first-apply`: Flux takes such managers over."""

INJECTED_ANNOTATION: Final = f"{GROUP}/injected"
"""On a Pod template: the record of what was added, as JSON (see core.record)."""

ROLLOUT_ANNOTATION: Final = f"{GROUP}/rollout"
"""On a Pod template: what its Pods get at their creation (see core.marker); on a DaemonSet's:
whose revision made its Pods anew (see core.daemonset)."""

INJECTED_LABEL: Final = f"{GROUP}/injected"
"""On a Pod template, always "true": lets our Pods be watched by a selector."""

HELD_ANNOTATION: Final = f"{GROUP}/held"
"""On a workload's own metadata: which revisions of policies stay out of it (see core.held)."""

INJECT_ANNOTATION: Final = f"{GROUP}/inject"
"""On a Pod template or namespace: "false" opts out."""

CAPABILITY_LABEL: Final = f"{GROUP}/native-sidecars"
"""On a Node: "true", "false" or "rejects" (see core.capability)."""

EVIDENCE_ANNOTATION: Final = f"{GROUP}/evidence"
"""On a Node: one sentence that says why the label has its value."""

OVERRIDE_ANNOTATION: Final = f"{GROUP}/native-sidecars-override"
"""On a Node, set by people: "true", "false" or "rejects", whatever its kubelet is."""

GATE_ANNOTATION: Final = f"{GROUP}/feature-gate"
"""On a Node: what its kubelet's metrics said of the gate, as JSON (see core.featuregate)."""

CERTIFICATES_ANNOTATION: Final = f"{GROUP}/certificates"
"""On the webhook's Secret: "generated" says that its content is ours to replace."""

WEBHOOK_CONFIGURATION: Final = "sidecarpolicy"
"""The MutatingWebhookConfiguration by which the API server knows our webhook."""

NAMESPACE_NAME_LABEL: Final = "kubernetes.io/metadata.name"
"""On every namespace: its name. The API server sets it (KEP-2161)."""

SYSTEM_NAMESPACE: Final = "sidecarpolicy-system"
"""Where the operator runs, unless it is told otherwise; nothing is ever selected there."""

SYSTEM_NAMESPACES: Final = frozenset({"kube-system", "kube-public", "kube-node-lease"})
"""Never selected, whatever a policy says."""
