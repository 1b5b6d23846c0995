"""Names of sidecars, volumes and variables that an owner takes: by merging into what is there."""

import copy
from typing import Any

import jsonpatch
import pytest

from sidecarpolicy.core.admission import admit
from sidecarpolicy.core.facts import policy_facts
from tests.support.builders import policy_object, sidecar
from tests.support.cluster import deployment
from tests.support.reviews import admitted, memory, request

JSON = dict[str, Any]
FULL: JSON = {
    "volumes": [{"name": "logs", "emptyDir": {}}],
    "imagePullSecrets": [{"name": "regcred"}],
    "appContainers": {
        "env": [{"name": "A", "value": "1"}],
        "volumeMounts": [{"name": "logs", "mountPath": "/logs"}],
    },
    "minTerminationGracePeriodSeconds": 45,
}


def policy(**fields: Any) -> JSON:
    return policy_object(**fields)


def template(obj: JSON) -> JSON:
    found: JSON = obj["spec"]["template"]
    return found


@pytest.mark.parametrize("paused", [True, False])
@pytest.mark.parametrize("revision", ["shipper", "newer"])
def test_what_a_gitops_tool_merges_in_under_the_name_of_ours_takes_ours_out(
    paused: bool, revision: str
) -> None:
    view = memory(policy(**FULL))
    old = admitted(deployment(), view, kind="Deployment")
    now = policy(**FULL, paused=paused, sidecars=[sidecar(image=revision)])
    view.policies.store(policy_facts(now))
    merged = copy.deepcopy(old)
    mine = {"name": "shipper", "image": "mine"}
    template(merged)["spec"]["containers"].append(mine)
    wanted = deployment()
    template(wanted)["spec"]["containers"].append(mine)
    answer = admit(request(merged, kind="Deployment", old=old), view)
    assert jsonpatch.apply_patch(merged, answer.patch) == wanted
    assert ("NameConflict" in str(answer.warnings)) is not paused


def test_what_a_gitops_tool_merges_into_a_volume_or_variable_of_ours_is_the_owners() -> None:
    """Each has one source: two would be refused, and with them the owner's change."""
    view = memory(policy(**FULL))
    old = admitted(deployment(), view, kind="Deployment")
    merged = copy.deepcopy(old)
    spec = template(merged)["spec"]
    spec["volumes"][0]["configMap"] = {"name": "logs"}
    source = {"fieldRef": {"fieldPath": "metadata.name"}}
    spec["containers"][0]["env"][0]["valueFrom"] = source
    answer = admit(request(merged, kind="Deployment", old=old), view)
    stored = template(jsonpatch.apply_patch(merged, answer.patch))["spec"]
    assert stored["volumes"] == [{"name": "logs", "configMap": {"name": "logs"}}]
    assert stored["containers"][0]["env"] == [{"name": "A", "valueFrom": source}]
    assert "PartChanged" in str(answer.warnings)
