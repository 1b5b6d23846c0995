"""Cells of the fight matrix: a writer, a place for the sidecars, and what Git has beside them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from sidecarpolicy.api.names import CAPABILITY_LABEL
from tests.support.cluster import deployment, policy
from tests.support.writers import WRITERS

JSON = dict[str, Any]
SHIPPER, TAIL, LOGS = "shipper", "tail", "logs"
_IMAGE = "lab.local/busybox:1"


@dataclass(frozen=True)
class Shape:
    """What Git says of the Pods besides one container: from the start, and from the middle on."""

    pod: Mapping[str, Any]
    change: Callable[[JSON], object] | None = None


def _other_image(spec: JSON) -> None:
    spec["containers"][0]["image"] = "lab.local/busybox:2"


def _same_name(spec: JSON) -> None:
    spec["containers"].append({"name": SHIPPER, "image": _IMAGE})


def _same_name_init(spec: JSON) -> None:
    spec["initContainers"] = [{"name": SHIPPER, "image": "lab.local/busybox:2"}]


def _same_volume(spec: JSON) -> None:
    spec["volumes"] = [{"name": LOGS, "configMap": {"name": LOGS}}]


_LINUX = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
_TERMS = [{"matchExpressions": [_LINUX]}]
_AFFINITY = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": _TERMS}}

SHAPES = {
    "plain": Shape({}),
    "affinity": Shape({"affinity": {"nodeAffinity": _AFFINITY}}),
    "selector": Shape({"nodeSelector": {"type": "kwok"}}),
    "inits": Shape({"initContainers": [{"name": n, "image": _IMAGE} for n in ("migrate", "warm")]}),
    "image": Shape({}, _other_image),
    "same-name": Shape({}, _same_name),
    "same-init": Shape({}, _same_name_init),
    "same-volume": Shape({}, _same_volume),
}

_TAKEN = "NameConflict"
_MERGED = {"replace": _TAKEN}
"""What becomes of an init container or volume of Git's that has the name of one of ours in the
template already: who merges changes ours, who replaces the whole takes its place.
"""

PLACES = {"template": "Auto", "pod": "Pod"}


@dataclass(frozen=True)
class Cell:
    """One cell; its name is also that of its namespace and its Deployment."""

    writer: str
    place: str
    shape: str

    def __str__(self) -> str:
        return f"{self.writer}-{self.place}-{self.shape}"

    @property
    def of(self) -> Shape:
        return SHAPES[self.shape]

    @property
    def first(self) -> JSON:
        """What Git has at first."""
        pod = {"containers": [{"name": "web", "image": _IMAGE}], **self.of.pod}
        made = deployment(str(self), replicas=1, pod=pod)
        return {**made, "metadata": {"name": str(self), "namespace": str(self)}}

    @property
    def second(self) -> JSON | None:
        """What Git has from the middle on, if that is something else."""
        if self.of.change is None:
            return None
        made = self.first
        pod = made["spec"]["template"]["spec"]
        pod = {**pod, "containers": list(pod["containers"])}
        pod["containers"] = [dict(each) for each in pod["containers"]]
        self.of.change(pod)
        made["spec"]["template"]["spec"] = pod
        return made

    @property
    def last(self) -> JSON:
        """What Git has in the end."""
        return self.second or self.first

    def policy(self, *, revision: int) -> JSON:
        """Two sidecars: one before all init containers, one behind the first of them."""
        env = [{"name": "REVISION", "value": str(revision)}]
        sidecars = [{"name": each, "image": _IMAGE, "env": env} for each in (SHIPPER, TAIL)]
        order = [{"sidecar": TAIL, "after": ["migrate"], "before": ["warm"]}]
        volumes = [{"name": LOGS, "emptyDir": {}}]
        made = policy(sidecars=sidecars, order=order, volumes=volumes, injectAt=PLACES[self.place])
        return {**made, "metadata": {"name": "log-shipper", "namespace": str(self)}}

    @property
    def replica_sets(self) -> int:
        """At most: one before the policy, one for each of its revisions, one for Git's change."""
        return 3 + (self.of.change is not None)

    @property
    def problem(self) -> str:
        """What the policy's status says of the workload in the end."""
        if self.refused or not self.shape.startswith("same-"):
            return ""
        merged = self.place == "template" and self.shape != "same-name"
        return _MERGED.get(self.writer, "PartChanged") if merged else _TAKEN

    @property
    def refused(self) -> bool:
        """Whether the API server tells the writer that it is in conflict with us: `kubectl apply
        --server-side` forces nothing, and an image of ours stands where it wants its own.
        """
        where = (self.writer, self.place, self.shape)
        return where == ("server-side-apply", "template", "same-init")

    @property
    def order(self) -> list[str]:
        """Names of a Pod's init containers, in their order."""
        if self.problem == _TAKEN:
            return ["shipper"] if self.shape == "same-init" else []
        return [SHIPPER, "migrate", TAIL, "warm"] if self.shape == "inits" else [SHIPPER, TAIL]


_RULE = {"key": CAPABILITY_LABEL, "operator": "In", "values": ["true"]}


def every_cell() -> Iterator[Cell]:
    """The matrix."""
    return (Cell(*each) for each in product(WRITERS, PLACES, SHAPES))


def holds(live: Any, wanted: Any) -> bool:
    """Whether all that Git wants is there; lists of named things may have more, in between, and
    terms of a node affinity our expression.
    """
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(holds(live.get(k), v) for k, v in wanted.items())
    if isinstance(wanted, list) and wanted and isinstance(wanted[0], dict) and "name" in wanted[0]:
        names = [each["name"] for each in wanted]
        mine = [each for each in live or () if each["name"] in names]
        return len(mine) == len(wanted) and all(map(holds, mine, wanted))
    if isinstance(wanted, list):
        live = [each for each in live or () if each != _RULE]
        return len(live) == len(wanted) and all(map(holds, live, wanted))
    return bool(live == wanted)
