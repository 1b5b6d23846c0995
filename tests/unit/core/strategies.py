"""Hypothesis strategies: Pod templates with fields that no library knows, and policies."""

from typing import Any

from hypothesis import strategies as st

from sidecarpolicy.api.models import SidecarPolicySpec
from sidecarpolicy.api.names import CAPABILITY_LABEL
from sidecarpolicy.core.desired import Desired, desired

JSON = dict[str, Any]

_names = st.sampled_from(["a", "b", "c", "d", "e", "f"])
_taken_names = st.sampled_from(["a", "b", "c", "d", "e", "f", "p-ordinary", "p-prepare"])
_json = st.sampled_from([None, True, 7, "text", [], {}, [1, {"deep": ["x"]}], {"a": {"b": None}}])
_env = st.lists(
    st.builds(
        lambda name, value: {"name": name, "value": value},
        st.sampled_from(["A", "B"]),
        st.sampled_from(["1", "2"]),
    ),
    max_size=2,
    unique_by=lambda each: each["name"],
)


def _mounts(*volumes: str) -> st.SearchStrategy[list[JSON]]:
    mount = st.builds(
        lambda path, name: {"mountPath": path, "name": name},
        st.sampled_from(["/a", "/b"]),
        st.sampled_from(volumes),
    )
    return st.lists(mount, max_size=2, unique_by=lambda each: each["mountPath"])


_probes = st.sampled_from([None, {"exec": {"command": ["true"]}, "failureThreshold": 60}])
_ports = st.just([{"containerPort": 80}])
_unknown = st.fixed_dictionaries(
    {},
    optional={
        "xFuture": _json,
        "resources": st.just({"requests": {"cpu": "100m"}}),
        "env": _env,
        "volumeMounts": _mounts("own"),  # no user mounts a volume that only a policy brings
        "ports": _ports,
        "readinessProbe": _probes,
        "startupProbe": _probes,
    },
)


def _items(names: st.SearchStrategy[str]) -> st.SearchStrategy[list[JSON]]:
    item = st.builds(
        lambda name, image, extra: {"name": name, "image": image, **extra},
        names,
        st.sampled_from(["i:1", "i:2"]),
        _unknown,
    )
    return st.lists(item, max_size=3, unique_by=lambda each: each["name"])


_expressions = st.sampled_from(
    [
        {"key": "zone", "operator": "In", "values": ["eu"]},
        {"key": "gpu", "operator": "Exists"},
        {"key": CAPABILITY_LABEL, "operator": "In", "values": ["true"]},
    ]
)
_terms = st.fixed_dictionaries(
    {},
    optional={
        "matchExpressions": st.lists(_expressions, min_size=1, max_size=2, unique_by=str),
        "matchFields": st.just([{"key": "metadata.name", "operator": "In", "values": ["n1"]}]),
    },
)
_node_affinity = st.fixed_dictionaries(
    {},
    optional={
        "requiredDuringSchedulingIgnoredDuringExecution": st.fixed_dictionaries(
            {"nodeSelectorTerms": st.lists(_terms, max_size=3)}
        ),
        "preferredDuringSchedulingIgnoredDuringExecution": st.just(
            [{"weight": 1, "preference": {}}]
        ),
    },
)
_affinity = st.fixed_dictionaries(
    {}, optional={"nodeAffinity": _node_affinity, "podAffinity": st.just({}), "xFuture": _json}
)


@st.composite
def templates(draw: st.DrawFn) -> JSON:
    """A Pod template as users write it, or as newer versions of Kubernetes may."""
    with_empty_list: bool = draw(st.booleans())
    with_empty_metadata: bool = draw(st.booleans())
    init = draw(_items(_taken_names))
    taken = {each["name"] for each in init}
    spec = draw(
        st.fixed_dictionaries(
            {"containers": _items(_taken_names.filter(lambda name: name not in taken))},
            optional={
                "volumes": _items(_names),
                "imagePullSecrets": st.lists(
                    st.builds(lambda name: {"name": name}, _names), max_size=2, unique_by=str
                ),
                "affinity": _affinity,
                "nodeSelector": st.sampled_from([{}, {"disk": "ssd"}]),
                "xFuture": _json,
                "terminationGracePeriodSeconds": st.sampled_from([5, 30, 60]),
                "restartPolicy": st.sampled_from(["Always", "OnFailure", "Never"]),
            },
        )
    )
    if init or with_empty_list:
        spec["initContainers"] = init
    metadata = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "labels": st.sampled_from([{}, {"app": "web"}]),
                "annotations": st.sampled_from([{}, {"note": "mine"}]),
                "creationTimestamp": st.none(),
            },
        )
    )
    return (
        {"metadata": metadata, "spec": spec} if metadata or with_empty_metadata else {"spec": spec}
    )


_adoptions = st.lists(
    st.fixed_dictionaries({"container": _names}, optional={"startupFromReadiness": st.booleans()}),
    max_size=2,
    unique_by=lambda each: each["container"],
)


def _orders(sidecars: list[str]) -> st.SearchStrategy[JSON]:
    others = st.lists(_names, max_size=1)
    return st.fixed_dictionaries(
        {"sidecar": st.sampled_from(sidecars)}, optional={"before": others, "after": others}
    )


_app_containers = st.fixed_dictionaries(
    {},
    optional={
        "names": st.lists(_names, max_size=2),
        "env": _env,
        "volumeMounts": _mounts("own", "p"),
    },
)


_universal = st.fixed_dictionaries(
    {"command": st.sampled_from([["run"], ["/bin/run", "$(A)"]])},
    optional={
        "startupProbe": st.just({"httpGet": {"port": "x"}}),
        "livenessProbe": st.just({"exec": {"command": ["live"]}}),
        "lifecycle": st.just({"preStop": {"sleep": {"seconds": 3}}}),
        "restartPolicy": st.just("Always"),
    },
)
"""What a sidecar has in mode Universal, where it needs a command."""


@st.composite
def policy_specs(draw: st.DrawFn, name: str) -> JSON:
    """The spec of a policy for all Pods; its names may clash with a template's."""
    names = st.sampled_from([name, f"{name}-2", "a", "a-ordinary"])
    volumes = [
        {"name": each, "emptyDir": {}} for each in draw(st.lists(names, max_size=2, unique=True))
    ]
    secrets = [{"name": each} for each in draw(st.lists(names, max_size=2, unique=True))]
    mode = draw(st.sampled_from(["Native", "Universal"]))
    adopt = draw(_adoptions) if mode == "Native" else []
    extra = draw(_universal) if mode == "Universal" else {}
    found = draw(_items(names).filter(lambda found: bool(found or adopt)))
    sidecars = [{**each, **extra} for each in found]
    own = [each["name"] for each in sidecars]
    adopt = [each for each in adopt if each["container"] not in own]
    ordered = [*own, *(each["container"] for each in adopt)]
    return {
        "selector": {},
        "mode": mode,
        "sidecars": sidecars,
        "adopt": adopt,
        "volumes": volumes,
        "imagePullSecrets": secrets,
        "nodeRule": draw(st.sampled_from(["Require", "Avoid", "None"])),
        "injectAt": draw(st.sampled_from(["Auto", "Pod"])),
        "placement": draw(st.sampled_from(["First", "Last"])),
        "order": draw(st.lists(_orders(ordered), max_size=2)),
        "appContainers": draw(st.none() | _app_containers),
        "minTerminationGracePeriodSeconds": draw(st.sampled_from([None, 20, 45, 90])),
    }


def wishes(name: str) -> st.SearchStrategy[Desired]:
    """What such a policy wants, on API servers of all kinds."""
    return st.builds(
        lambda spec, dropped: desired(
            f"SidecarPolicy/{name}", SidecarPolicySpec.model_validate(spec), field_dropped=dropped
        ),
        policy_specs(name),
        st.booleans(),
    )
