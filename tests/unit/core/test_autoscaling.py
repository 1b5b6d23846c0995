"""Which sidecars would stop a HorizontalPodAutoscaler."""

from typing import Any

import pytest

from sidecarpolicy.core.autoscaling import autoscaler, hindrance, stopped
from sidecarpolicy.core.desired import desired
from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.inject import Action, Verdict, inject
from sidecarpolicy.core.ownership import NodeRuleSite
from tests.support.builders import sidecar, spec, template

JSON = dict[str, Any]
WEB = {"name": "web", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
UTILIZATION = {"type": "Utilization", "averageUtilization": 80}


def resource(name: str, target: JSON = UTILIZATION) -> JSON:
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def hpa(*metrics: JSON, target: str = "web") -> JSON:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    return {
        "metadata": {"name": "web-hpa"},
        "spec": {"scaleTargetRef": reference, "metrics": list(metrics)},
    }


def native(**resources: JSON) -> JSON:
    return sidecar(restartPolicy="Always", resources=resources)


@pytest.mark.parametrize("dropped", [False, True], ids=["kept", "dropped"])
@pytest.mark.parametrize(("cpu", "stops"), [({}, True), ({"cpu": "1m"}, False)], ids=["no", "yes"])
def test_the_copies_of_mode_universal_are_the_policys_own(
    dropped: bool, cpu: JSON, stops: bool
) -> None:
    own = sidecar(command=["ship"], resources={"requests": cpu})
    made = desired("SidecarPolicy/p", spec(mode="Universal", sidecars=[own]), field_dropped=dropped)
    verdicts = [Verdict(made.key, Action.APPLY, made)]
    pods = inject(template(containers=[WEB]), verdicts, site=NodeRuleSite.AFFINITY).template
    found = autoscaler(hpa(resource("cpu")))
    assert found is not None
    ref = Ref("Deployment", "shop", "web")
    assert (hindrance([found], ref, pods, added=made.running) is not None) is stops


def said(hpa_object: JSON, *sidecars: JSON, web: JSON = WEB) -> str | None:
    found = autoscaler(hpa_object)
    would = stopped(
        [found] if found else [],
        Ref("Deployment", "shop", "web"),
        before=template(containers=[web]),
        after=template(containers=[web], initContainers=list(sidecars)),
    )
    assert would is None or would.container == "shipper"
    return would.message if would else None


def test_a_sidecar_without_a_request_stops_scaling_by_utilization() -> None:
    assert said(hpa(resource("memory"), resource("cpu")), native(requests={"memory": "1Mi"})) == (
        "HorizontalPodAutoscaler web-hpa scales it by the utilization of cpu, which container "
        "shipper does not request, so that it would stop scaling; give the sidecar a request of cpu"
    )


@pytest.mark.parametrize(
    ("web", "target", "expected"),
    [
        pytest.param(WEB, "web", "shipper", id="only the sidecar lacks a request"),
        pytest.param({"name": "web"}, "web", None, id="the workload's own container lacks it, too"),
        pytest.param(WEB, "db", None, id="it scales another workload"),
    ],
)
def test_an_autoscaler_that_cannot_scale_because_of_us_is_named(
    web: JSON, target: str, expected: str | None
) -> None:
    known = autoscaler(hpa(resource("cpu"), target=target))
    assert known is not None
    pods = template(containers=[web], initContainers=[native()])
    found = hindrance([known], Ref("Deployment", "shop", "web"), pods, added=["shipper"])
    assert (found.container if found else None) == expected


CONTAINER = {"name": "cpu", "container": "web", "target": UTILIZATION}


@pytest.mark.parametrize(
    ("hpa_object", "sidecars"),
    [
        pytest.param(hpa(resource("cpu")), [native(requests={"cpu": "10m"})], id="it requests it"),
        pytest.param(
            hpa(resource("cpu")), [native(limits={"cpu": "10m"})], id="a limit is a request"
        ),
        pytest.param(hpa(resource("cpu")), [sidecar()], id="an init container that ends"),
        pytest.param(
            hpa(resource("cpu", {"type": "AverageValue", "averageValue": "1"})),
            [native()],
            id="it scales by a value",
        ),
        pytest.param(
            hpa({"type": "ContainerResource", "containerResource": CONTAINER}),
            [native()],
            id="it looks at one container only",
        ),
        pytest.param(hpa(resource("cpu"), target="api"), [native()], id="it scales something else"),
        pytest.param(hpa(), [native()], id="it has no metrics"),
    ],
)
def test_scaling_goes_on(hpa_object: JSON, sidecars: list[JSON]) -> None:
    assert said(hpa_object, *sidecars) is None


def test_scaling_that_is_stopped_already_is_not_our_doing() -> None:
    assert said(hpa(resource("cpu")), native(), web={"name": "web"}) is None
