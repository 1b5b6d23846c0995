"""Effective requests and limits of a Pod, by the rules of KEP-753 and KEP-2837."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecarpolicy.core.quantity import parse_quantity
from sidecarpolicy.core.resources import (
    ResourceList,
    add,
    canonical,
    pod_resources,
    subtract,
    times,
)
from tests.unit.core.test_quantity import texts

JSON = dict[str, Any]


def container(name: str = "app", **requests: Any) -> JSON:
    return {"name": name, "resources": {"requests": requests}}


def limited(name: str = "app", **limits: Any) -> JSON:
    return {"name": name, "resources": {"limits": limits}}


def native(made: JSON) -> JSON:
    return {**made, "restartPolicy": "Always"}


def pod(*containers: JSON, init: list[JSON] | None = None, **spec: Any) -> JSON:
    return {"spec": {"containers": list(containers), "initContainers": init or [], **spec}}


def level(**resources: JSON) -> JSON:
    """Pod-level resources beside an application container that requests 100m."""
    return pod(container(cpu="100m"), resources=resources)


def requests(template: JSON) -> dict[str, str]:
    return canonical(pod_resources(template).requests)


def limits(template: JSON) -> dict[str, str]:
    return canonical(pod_resources(template).limits)


SIDECAR = native(container("shipper", cpu="50m", memory="64Mi"))
PROXY = native(container("proxy", cpu="100m"))
MIGRATE = container("migrate", cpu="2", memory="1Gi")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param(pod(container()), {}, id="nothing"),
        pytest.param(
            pod(container("a", cpu="100m", memory="1Gi"), container("b", cpu="1")),
            {"cpu": "1100m", "memory": "1Gi"},
            id="application containers together",
        ),
        pytest.param(
            pod(container(cpu="100m"), init=[SIDECAR]),
            {"cpu": "150m", "memory": "64Mi"},
            id="a native sidecar on top",
        ),
        pytest.param(
            pod(container(cpu="100m"), init=[SIDECAR, MIGRATE]),
            {"cpu": "2050m", "memory": "1088Mi"},
            id="a big init container together with the sidecar before it",
        ),
        pytest.param(
            pod(container(cpu="100m"), init=[MIGRATE, SIDECAR]),
            {"cpu": "2", "memory": "1Gi"},
            id="a big init container without the sidecar after it",
        ),
        pytest.param(
            pod(container(cpu="100m"), init=[SIDECAR, MIGRATE, PROXY]),
            {"cpu": "2050m", "memory": "1088Mi"},
            id="an init container between two sidecars",
        ),
        pytest.param(
            pod(container(cpu="3"), init=[SIDECAR, MIGRATE, PROXY]),
            {"cpu": "3150m", "memory": "1088Mi"},
            id="each resource has its own peak",
        ),
        pytest.param(
            pod(container(), init=[container("one", cpu="1"), container("two", cpu="2")]),
            {"cpu": "2"},
            id="init containers one after the other",
        ),
        pytest.param(
            pod(container(), init=[{**MIGRATE, "restartPolicy": "OnFailure"}, SIDECAR]),
            {"cpu": "2", "memory": "1Gi"},
            id="only restartPolicy Always makes a sidecar",
        ),
        pytest.param(
            pod({**container(cpu="1"), "restartPolicy": "Always"}),
            {"cpu": "1"},
            id="an application container with a restart policy",
        ),
        pytest.param(
            pod(limited(cpu="1", memory="1Gi"), init=[native(limited("s", cpu="500m"))]),
            {"cpu": "1500m", "memory": "1Gi"},
            id="a limit is the request where there is none",
        ),
        pytest.param(
            pod({"name": "a", "resources": {"requests": {"cpu": "0"}, "limits": {"cpu": "1"}}}),
            {"cpu": "0"},
            id="a request of zero is a request",
        ),
        pytest.param(
            pod(container(cpu="100m"), overhead={"cpu": "250m", "memory": "120Mi"}),
            {"cpu": "350m", "memory": "120Mi"},
            id="the overhead of a RuntimeClass",
        ),
        pytest.param(
            pod(
                container(**{"example.com/gpu": "1", "ephemeral-storage": "1Gi"}),
                init=[native(container("s", **{"example.com/gpu": "1", "hugepages-2Mi": "4Mi"}))],
            ),
            {"ephemeral-storage": "1Gi", "example.com/gpu": "2", "hugepages-2Mi": "4Mi"},
            id="resources of every name",
        ),
        pytest.param(
            pod(container("a", cpu="100u"), container("b", cpu="100u")),
            {"cpu": "2m"},
            id="each rounded up to thousandths",
        ),
        pytest.param(
            level(requests={"cpu": "2", "memory": "1Gi"}),
            {"cpu": "2", "memory": "1Gi"},
            id="requests of the Pod as a whole",
        ),
        pytest.param(
            level(requests={"memory": "1Gi"}),
            {"cpu": "100m", "memory": "1Gi"},
            id="requests of the Pod as a whole for one resource",
        ),
        pytest.param(
            level(limits={"cpu": "2", "memory": "1Gi"}),
            {"cpu": "100m", "memory": "1Gi"},
            id="limits of the Pod are requests where no container has one",
        ),
        pytest.param(
            level(requests={"cpu": "2", "example.com/gpu": "1"}),
            {"cpu": "2"},
            id="a resource that Pods cannot have as a whole",
        ),
        pytest.param(level(), {"cpu": "100m"}, id="empty resources of the Pod"),
        pytest.param(
            pod(
                {"name": "a", "resources": {"limits": {"hugepages-2Mi": "4Mi", "memory": "1Mi"}}},
                resources={"requests": {"cpu": "1"}},
            ),
            {"cpu": "1", "memory": "1Mi", "hugepages-2Mi": "4Mi"},
            id="huge pages of containers in a Pod with requests as a whole",
        ),
        pytest.param(
            pod(
                container(cpu="100m"),
                resources={"requests": {"cpu": "1"}},
                overhead={"cpu": "250m"},
            ),
            {"cpu": "1250m"},
            id="overhead on top of the requests of the Pod as a whole",
        ),
    ],
)
def test_a_pod_requests(template: JSON, expected: dict[str, str]) -> None:
    assert requests(template) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param(pod(container(cpu="1")), {}, id="nothing without limits"),
        pytest.param(
            pod(limited(cpu="1"), init=[native(limited("s", cpu="200m")), limited("m", cpu="3")]),
            {"cpu": "3200m"},
            id="init containers with the sidecars before them",
        ),
        pytest.param(
            pod(limited(cpu="1", memory="0"), overhead={"cpu": "250m", "memory": "1Mi"}),
            {"cpu": "1250m", "memory": "0"},
            id="overhead only where there is a limit",
        ),
        pytest.param(
            pod(limited(cpu="1", memory="1Gi"), resources={"limits": {"cpu": "2"}}),
            {"cpu": "2", "memory": "1Gi"},
            id="a limit of the Pod as a whole",
        ),
        pytest.param(
            pod(
                limited(**{"cpu": "1", "hugepages-2Mi": "4Mi"}),
                init=[native(limited("s", **{"hugepages-2Mi": "2Mi"}))],
                resources={"requests": {"cpu": "1"}},
            ),
            {"cpu": "1", "hugepages-2Mi": "6Mi"},
            id="huge pages of all containers",
        ),
    ],
)
def test_a_pod_is_limited_to(template: JSON, expected: dict[str, str]) -> None:
    assert limits(template) == expected


@pytest.mark.parametrize(
    "template",
    [
        pytest.param({}, id="no spec"),
        pytest.param({"spec": None}, id="a null spec"),
        pytest.param({"spec": {"containers": None, "initContainers": "x"}}, id="no lists"),
        pytest.param(pod({"name": "a", "resources": None}), id="null resources"),
        pytest.param(pod({"name": "a", "resources": {"requests": ["cpu"]}}), id="a list"),
        pytest.param(pod(container(cpu="lots", memory=None)), id="no quantities"),
        pytest.param(pod(container(cpu="-1")), id="a negative quantity"),
        pytest.param(pod(container(cpu=True, memory={"a": 1})), id="other JSON"),
        pytest.param(pod(container(), resources="x", overhead="y"), id="odd Pod-level fields"),
        pytest.param({"spec": {"containers": ["app", None, 7]}}, id="containers of other JSON"),
    ],
)
def test_what_cannot_be_read_counts_as_absent(template: JSON) -> None:
    assert (requests(template), limits(template)) == ({}, {})


def test_an_unreadable_request_is_an_absent_one_and_becomes_the_limit() -> None:
    odd = {"name": "a", "resources": {"requests": {"cpu": "lots"}, "limits": {"cpu": "1"}}}
    assert requests(pod(odd)) == {"cpu": "1"}


def test_amounts_add_up_over_pods() -> None:
    one = pod_resources(pod(container(cpu="50m", memory="64Mi"))).requests
    assert canonical(times(one, 30)) == {"cpu": "1500m", "memory": "1920Mi"}
    assert canonical(add(one, one)) == {"cpu": "100m", "memory": "128Mi"}
    assert canonical(subtract(one, one)) == {}


# Laws

_names = st.sampled_from(["cpu", "memory", "ephemeral-storage", "example.com/gpu"])
_lists = st.dictionaries(_names, texts, max_size=3)
_resources = st.fixed_dictionaries({}, optional={"requests": _lists, "limits": _lists})
_containers = st.builds(lambda found: {"name": "c", "resources": found}, _resources)
_natives = st.builds(native, _containers)
_init = st.lists(_containers | _natives, max_size=4)
_pods = st.builds(
    lambda containers, init, overhead: pod(*containers, init=init, overhead=overhead),
    st.lists(_containers, min_size=1, max_size=3),
    _init,
    _lists,
)
_pods_with_requests = st.builds(
    lambda template, found: {"spec": {**template["spec"], "resources": {"requests": found}}},
    _pods,
    _lists,
)


def with_init(template: JSON, init: list[JSON]) -> JSON:
    return {"spec": {**template["spec"], "initContainers": init}}


def fits_into(small: ResourceList, big: ResourceList) -> bool:
    return all(name in big and amount <= big[name] for name, amount in small.items())


@given(_pods | _pods_with_requests, _natives, st.integers(0, 4))
def test_adding_a_sidecar_never_lowers_requests_or_limits(
    template: JSON, sidecar: JSON, index: int
) -> None:
    init = template["spec"]["initContainers"]
    after = with_init(template, [*init[:index], sidecar, *init[index:]])
    one, other = pod_resources(template), pod_resources(after)
    assert fits_into(one.requests, other.requests)
    assert fits_into(one.limits, other.limits)


@given(_pods, _natives)
def test_a_sidecar_before_all_init_containers_costs_exactly_its_request(
    template: JSON, sidecar: JSON
) -> None:
    after = with_init(template, [sidecar, *template["spec"]["initContainers"]])
    more = subtract(pod_resources(after).requests, pod_resources(template).requests)
    assert more == subtract(pod_resources(pod(sidecar)).requests, {})


@given(_pods, _natives, st.integers(0, 4))
def test_a_sidecar_never_costs_more_further_back(template: JSON, sidecar: JSON, index: int) -> None:
    init = template["spec"]["initContainers"]
    early = with_init(template, [*init[:index], sidecar, *init[index:]])
    late = with_init(template, [*init[: index + 1], sidecar, *init[index + 1 :]])
    assert fits_into(pod_resources(late).requests, pod_resources(early).requests)


@given(_pods | _pods_with_requests, st.randoms(use_true_random=False))
def test_the_order_of_application_containers_does_not_matter(
    template: JSON, chance: random.Random
) -> None:
    containers = list(template["spec"]["containers"])
    chance.shuffle(containers)
    after = {"spec": {**template["spec"], "containers": containers}}
    one, other = pod_resources(template), pod_resources(after)
    assert (one.requests, one.limits) == (other.requests, other.limits)


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_names, inner, max_size=2),
    max_leaves=4,
)


def _with(*fields: str) -> st.SearchStrategy[Any]:
    """Objects whose known fields hold anything."""
    inner = _with(*fields[1:]) if fields[1:] else _json
    known = {fields[0]: st.lists(inner, max_size=2) | inner}
    return st.fixed_dictionaries({}, optional=known) | _json


@given(
    _with("containers", "resources", "requests")
    | _with("initContainers", "resources", "limits")
    | _with("resources", "limits")
    | _with("overhead")
)
def test_a_template_may_be_as_odd_as_it_likes(spec: Any) -> None:
    found = pod_resources({"spec": spec})
    for amounts in (found.requests, found.limits):
        assert {name: parse_quantity(text) for name, text in canonical(amounts).items()} == amounts
