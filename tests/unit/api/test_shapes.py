"""Containers whose fields have wrong types are refused by name, before any Pod carries them."""

import json
from typing import Any

import pytest

from sidecarpolicy.core.facts import policy_facts
from tests.support.builders import policy_object, sidecar


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ({"ports": 8080}, "ports must be a list of objects"),
        ({"ports": [{"containerPort": "80"}]}, "ports: containerPort must be a number"),
        ({"command": 7}, "command must be a list of strings"),
        ({"args": ["-n", 7]}, "args must be a list of strings"),
        ({"env": [{"name": "A", "value": 1}]}, "env: value must be a string; put it in quotes"),
        ({"resources": []}, "resources must be an object"),
        ({"startupProbe": "x"}, "startupProbe must be an object"),
        ({"readinessProbe": {"exec": "up"}}, "readinessProbe.exec must be an object"),
        (
            {"livenessProbe": {"exec": {"command": "up"}}},
            "livenessProbe.exec.command must be a list of strings",
        ),
        (
            {"readinessProbe": {"httpGet": {"port": {}}}},
            "readinessProbe.httpGet.port must be a number or a name",
        ),
        ({"lifecycle": {"preStop": "x"}}, "lifecycle.preStop must be an object"),
        ({"lifecycle": {"preStop": {"sleep": 5}}}, "lifecycle.preStop.sleep must be an object"),
    ],
    ids=str,
)
@pytest.mark.parametrize("mode", ["Native", "Universal"])
def test_a_field_of_a_wrong_type_makes_its_policy_invalid(mode: str, field: Any, why: str) -> None:
    asked = sidecar(**{"command": ["ship"], **field})
    found = policy_facts(policy_object(mode=mode, sidecars=[asked]))
    assert found.spec is None
    assert f"container 'shipper': {why}" in found.invalid


def test_fields_that_nobody_knows_yet_are_kept_as_they_are() -> None:
    made = sidecar(xFuture=[7], command=None, env=[{"name": "A", "valueFrom": {"x": 1}}])
    found = policy_facts(policy_object(sidecars=[made]))
    assert found.spec is not None
    assert found.spec.sidecars == (made,)


def test_a_field_that_no_program_would_read_to_its_end_makes_its_policy_invalid() -> None:
    deep = json.loads("[" * 600 + "]" * 600)
    found = policy_facts(
        policy_object(mode="Universal", sidecars=[sidecar(command=["ship"], xFuture=deep)])
    )
    assert found.spec is None
    assert "xFuture has too many levels" in found.invalid


@pytest.mark.parametrize("path", ["/sidecarpolicy", "/sidecarpolicy/", "/sidecarpolicy/state"])
def test_what_would_hide_the_volume_of_mode_universal_makes_its_policy_invalid(path: str) -> None:
    mounts = [{"name": "own", "mountPath": path}]
    made = sidecar(command=["ship"], volumeMounts=mounts)
    universal = policy_facts(policy_object(mode="Universal", sidecars=[made]))
    assert "may mount nothing at /sidecarpolicy" in universal.invalid
    assert policy_facts(policy_object(sidecars=[made])).spec is not None


def test_mode_universal_has_nothing_against_other_mounts() -> None:
    mounts = [{"name": "own", "mountPath": "/sidecarpolicy-data"}]
    made = sidecar(command=["ship"], volumeMounts=mounts)
    assert policy_facts(policy_object(mode="Universal", sidecars=[made])).spec is not None
