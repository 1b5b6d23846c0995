"""Mode Universal where the API server drops the field, until it keeps it."""

from collections.abc import Iterator

import pytest

from lab import Lab
from tests.integration.test_universal import COPIES, NONE, copies, template_of, universal
from tests.support.admission import created, job, pod, running
from tests.support.cluster import JSON, Namespace, conditions, cron_job, deployment, problems
from tests.support.labs import lab_for
from tests.support.processes import Controller, Webhook
from tests.support.waiting import eventually, stays

GATE_OFF = "--feature-gates=SidecarContainers=false"
DROPPED = ("False", "ApiServerDropsField")
Processes = tuple[Controller, Webhook]


@pytest.fixture(scope="module")
def dropping() -> Iterator[Lab]:
    """An API server 1.31 whose gate for native sidecars is off."""
    lab = lab_for("dropping")
    lab.down()
    lab.up(version="1.31.0", api_server_flags=(GATE_OFF,))
    try:
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="module")
def both(dropping: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Controller and webhook, each with the rights of its own ServiceAccount."""
    with running(dropping, tmp_path_factory.mktemp("dropping")) as processes:
        yield processes


def space_in(lab: Lab, name: str) -> Namespace:
    lab.kubectl("create", "namespace", name)
    return Namespace(lab, name)


def native_copy(obj: JSON) -> JSON:
    """The sidecar's own init container."""
    found: JSON = template_of(obj)["spec"]["initContainers"][1]
    return found


def generation(space: Namespace, name: str = "web") -> int:
    number: int = space.get("deployment", name)["metadata"]["generation"]
    return number


def test_no_request_of_an_owner_fails_before_it_is_known_what_the_server_does(
    dropping: Lab, both: Processes
) -> None:
    controller, _ = both
    space = space_in(dropping, "early")
    controller.stop()
    try:
        space.apply(universal())

        def warned() -> bool:
            obj, said = created(space, pod("probe"))
            space.delete("pod", "probe")
            return copies(obj) == NONE and "not applied: Preflight" in said

        eventually(warned)
        space.apply(deployment())
        assert copies(space.get("deployment", "web")) == NONE
    finally:
        controller.start("--log-format", "json")
    space.wait_status("log-shipper", current=1)
    assert copies(space.get("deployment", "web")) == COPIES


def test_without_the_field_the_sidecars_are_ordinary_containers_until_the_server_keeps_it(
    dropping: Lab, both: Processes
) -> None:
    controller, _ = both
    space = space_in(dropping, "shop")
    space.apply(deployment(), cron_job(), universal())
    found = space.wait_status("log-shipper", current=2, seconds=60)
    assert conditions(found)["ClusterCapable"] == DROPPED
    assert conditions(found)["Ready"] == ("True", "Ready")
    assert {"Stalled", "Reconciling"}.isdisjoint(conditions(found))
    assert found["blockedNamespaces"] == []
    assert [(e["kind"], e["reason"]) for e in problems(found)] == [("CronJob", "JobStaysOpen")]
    web = space.get("deployment", "web")
    assert copies(web) == COPIES
    assert {"restartPolicy", "startupProbe", "livenessProbe"}.isdisjoint(native_copy(web))
    assert "affinity" not in template_of(web)["spec"]
    # The webhook goes by the same status.
    for made in (deployment("new"), job(), pod()):
        copy = native_copy(created(space, made)[0])
        assert copy["command"] == native_copy(web)["command"]
        assert {"restartPolicy", "startupProbe"}.isdisjoint(copy)
    space.wait_status("log-shipper", current=4, seconds=60)
    assert generation(space, "new") == 1
    controller.kill()
    controller.start("--log-format", "json")
    assert stays(lambda: (generation(space), generation(space, "new")), seconds=4) == (2, 1)
    dropping.restart_api_server(flags=())
    healed = eventually(
        lambda: space.status("log-shipper"),
        until=lambda now: conditions(now).get("ClusterCapable") == ("True", "Capable"),
        seconds=120,
    )
    assert healed["revision"] != found["revision"]
    eventually(
        lambda: native_copy(space.get("deployment", "web")).get("restartPolicy") == "Always",
        seconds=60,
    )
    after = space.wait_status("log-shipper", current=3, seconds=60)  # the Job stays what it is
    assert conditions(after)["Ready"] == ("True", "Ready")
    assert "NotIn" in str(template_of(space.get("deployment", "web"))["spec"]["affinity"])
    assert generation(space) == 3
    assert problems(after) == [] or {e["kind"] for e in problems(after)} == {"Job"}
