"""What sidecars cost: QoS classes, what a Pod requests more, and the findings about it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.overhead import overhead
from sidecarpolicy.core.qos import QosClass, qos_class
from sidecarpolicy.core.resources import canonical, pod_resources
from tests.unit.core.test_resources import (
    MIGRATE,
    PROXY,
    SIDECAR,
    container,
    limited,
    native,
    pod,
)

JSON = dict[str, Any]

EQUAL = limited(cpu="1", memory="1Gi")
EQUAL_SIDECAR = native(limited("shipper", cpu="50m", memory="64Mi"))


def half(name: str = "app") -> JSON:
    """A container that requests half of its memory limit."""
    amounts = {"requests": {"memory": "64Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}}
    return {"name": name, "resources": amounts}


def whole(*containers: JSON, init: list[JSON] | None = None, **resources: JSON) -> JSON:
    """A Pod with resources as a whole."""
    return pod(*containers, init=init, resources=resources)


BOTH: JSON = {"cpu": "2", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param(pod(container()), "BestEffort", id="nothing"),
        pytest.param(pod(container(cpu="0", memory="0")), "BestEffort", id="zeros"),
        pytest.param(
            pod(container(**{"ephemeral-storage": "1Gi", "example.com/gpu": "1"})),
            "BestEffort",
            id="neither cpu nor memory",
        ),
        pytest.param(pod(container(cpu="1")), "Burstable", id="a request"),
        pytest.param(pod(EQUAL), "Guaranteed", id="limits only"),
        pytest.param(pod(limited(cpu="1")), "Burstable", id="a limit for cpu only"),
        pytest.param(pod(limited(cpu="1", memory="0")), "Burstable", id="a limit of zero"),
        pytest.param(pod(half()), "Burstable", id="a request below its limit"),
        pytest.param(pod(EQUAL, container("b")), "Burstable", id="one container without limits"),
        pytest.param(pod(EQUAL, init=[EQUAL_SIDECAR]), "Guaranteed", id="a sidecar with limits"),
        pytest.param(pod(EQUAL, init=[SIDECAR]), "Burstable", id="a sidecar with requests"),
        pytest.param(pod(EQUAL, init=[MIGRATE]), "Burstable", id="an init container counts, too"),
        pytest.param(pod(container(), init=[PROXY]), "Burstable", id="only a sidecar requests"),
        pytest.param(whole(EQUAL), "BestEffort", id="empty resources of the Pod hide all others"),
        pytest.param(whole(container(), limits=BOTH), "Guaranteed", id="limits of the Pod"),
        pytest.param(
            whole(container("a", cpu="1"), limits=BOTH),
            "Burstable",
            id="limits of the Pod, and a container that requests less",
        ),
        pytest.param(
            whole(container("a", cpu="1"), requests=BOTH, limits=BOTH),
            "Guaranteed",
            id="equal requests and limits of the Pod",
        ),
        pytest.param(whole(EQUAL, requests=BOTH), "Burstable", id="requests of the Pod"),
        pytest.param(
            whole(EQUAL, requests=BOTH, limits={"cpu": "2"}), "Burstable", id="one limit of the Pod"
        ),
    ],
)
def test_the_qos_class_is_that_of_the_api_server_for(template: JSON, expected: str) -> None:
    assert qos_class(pod_resources(template)) == expected


@pytest.mark.parametrize(
    ("before", "after", "more"),
    [
        pytest.param(
            pod(container(cpu="1")),
            pod(container(cpu="1"), init=[SIDECAR]),
            {"cpu": "50m", "memory": "64Mi"},
            id="its request",
        ),
        pytest.param(
            pod(container(cpu="1"), init=[MIGRATE]),
            pod(container(cpu="1"), init=[MIGRATE, SIDECAR]),
            {},
            id="nothing after a big init container",
        ),
        pytest.param(
            pod(container(cpu="1"), init=[MIGRATE]),
            pod(container(cpu="1"), init=[SIDECAR, MIGRATE]),
            {"cpu": "50m", "memory": "64Mi"},
            id="its request before a big init container",
        ),
        pytest.param(
            pod(container(cpu="1980m"), init=[MIGRATE]),
            pod(container(cpu="1980m"), init=[MIGRATE, SIDECAR]),
            {"cpu": "30m"},
            id="what exceeds the init container",
        ),
        pytest.param(
            whole(container(cpu="1"), requests=BOTH),
            whole(container(cpu="1"), init=[SIDECAR], requests=BOTH),
            {},
            id="nothing where the Pod requests as a whole",
        ),
        pytest.param(
            pod(container()), pod(container(), init=[native({"name": "s"})]), {}, id="no request"
        ),
        pytest.param(
            whole(container(), limits=BOTH),
            whole(container(), init=[SIDECAR], limits=BOTH),
            {"cpu": "-1950m", "memory": "-960Mi"},
            id="less than nothing where the Pod's limit was its request",
        ),
    ],
)
def test_a_sidecar_costs(before: JSON, after: JSON, more: dict[str, str]) -> None:
    assert canonical(overhead(before, after).requests) == more


def findings(before: JSON, after: JSON) -> list[tuple[Reason, str]]:
    return [(each.reason, each.message) for each in overhead(before, after).findings]


def test_a_sidecar_with_requests_leads_to_no_finding() -> None:
    assert findings(pod(container(cpu="1")), pod(container(cpu="1"), init=[SIDECAR])) == []


def test_a_sidecar_without_requests_is_found_and_the_users_own_containers_are_not() -> None:
    hand_written = native(container("proxy"))
    before = pod(container(), init=[hand_written])
    after = pod(container(), init=[native(container("shipper")), hand_written])
    assert findings(before, after) == [
        (
            Reason.NO_RESOURCE_REQUEST,
            "sidecar 'shipper' requests no cpu and no memory: nodes keep none free for it, and a "
            "HorizontalPodAutoscaler on cpu or memory utilization stops scaling; set its "
            "resources.requests in the policy",
        )
    ]


@pytest.mark.parametrize(
    ("after", "missing"),
    [
        pytest.param(pod(container(), init=[PROXY]), ["no memory:"], id="a request for cpu only"),
        pytest.param(
            pod(container(), init=[native(limited("s", cpu=1, memory=1))]), [], id="limits"
        ),
        pytest.param(
            pod(container(), init=[native(container("s", cpu=0, memory=0))]), [], id="zeros"
        ),
        pytest.param(pod(container(), init=[container("s")]), [], id="an ordinary init container"),
        pytest.param(
            whole(container(), init=[native(container("s"))], requests={"cpu": "1"}),
            ["no memory:"],
            id="requests of the Pod for cpu only",
        ),
        pytest.param(
            whole(container(), init=[native(container("s"))], limits=BOTH),
            [],
            id="limits of the Pod that are its requests",
        ),
        pytest.param(
            whole(container(cpu="1"), init=[native(container("s"))], limits=BOTH),
            ["no cpu:"],
            id="limits of the Pod that are not all its requests",
        ),
        pytest.param(
            whole(container(), init=[native(container("s"))]),
            ["no cpu and no memory:"],
            id="empty resources of the Pod",
        ),
    ],
)
def test_what_a_sidecar_requests_is_judged_with_what_its_pod_does(
    after: JSON, missing: list[str]
) -> None:
    before = {"spec": {**after["spec"], "initContainers": []}}
    found = [text for reason, text in findings(before, after) if reason == "NoResourceRequest"]
    assert [each.partition("requests ")[2].partition(" nodes")[0] for each in found] == missing


def test_the_end_of_the_class_guaranteed_is_found_with_its_cause_and_the_way_back() -> None:
    before = pod(EQUAL)
    after = pod(EQUAL, init=[native(half("shipper")), SIDECAR])
    result = overhead(before, after)
    assert (result.qos_before, result.qos_after) == (QosClass.GUARANTEED, QosClass.BURSTABLE)
    assert [(each.reason, each.message) for each in result.findings] == [
        (
            Reason.QOS_CLASS_CHANGED,
            "the Pod's QoS class changes from Guaranteed to Burstable, because sidecar 'shipper' "
            "has a memory request of 64Mi with a limit of 128Mi, and sidecar 'shipper' has no cpu "
            "limit and no memory limit; set cpu and memory limits on it in the policy, and no "
            "other requests than those",
        )
    ]


def test_a_pod_whose_limits_were_its_requests_loses_both_to_a_sidecar_with_a_request() -> None:
    before = whole(container(), limits=BOTH)
    after = whole(container(), init=[native(container("s", cpu="50m", memory="1Gi"))], limits=BOTH)
    assert findings(before, after) == [
        (
            Reason.POD_REQUEST_LOWERED,
            "the Pod requests cpu 50m instead of 2, because its own resources limit cpu without a "
            "request, and then its containers' requests count; set spec.resources.requests.cpu in "
            "the Pod template",
        ),
        (
            Reason.QOS_CLASS_CHANGED,
            "the Pod's QoS class changes from Guaranteed to Burstable, because the Pod as a whole "
            "has a cpu request of 50m with a limit of 2; set spec.resources.requests in the Pod "
            "template to the limits there",
        ),
    ]


def test_a_better_class_is_a_fact_and_no_finding() -> None:
    result = overhead(pod(container()), pod(container(), init=[SIDECAR]))
    assert (result.qos_before, result.qos_after) == (QosClass.BEST_EFFORT, QosClass.BURSTABLE)
    assert result.findings == ()


_amounts = st.sampled_from(["100m", "1", "2"])


@given(_amounts, _amounts, st.booleans())
def test_a_sidecar_whose_requests_are_its_limits_keeps_the_class_guaranteed(
    cpu: str, memory: str, written: bool
) -> None:
    sidecar = native(limited("s", cpu=cpu, memory=memory))
    if written:
        sidecar["resources"]["requests"] = dict(sidecar["resources"]["limits"])
    result = overhead(pod(EQUAL), pod(EQUAL, init=[sidecar]))
    assert (result.qos_after, result.findings) == (QosClass.GUARANTEED, ())
