"""What an uninstallation must leave behind: nothing of ours, found by looking at everything."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from subprocess import CompletedProcess
from typing import Any

from lab import Lab
from tests.support.users import User

JSON = dict[str, Any]
OURS = "sidecarpolicy.dev"
THEIRS = ("sidecarpolicy.dev/inject", "sidecarpolicy.dev/native-sidecars-override")
"""What people wrote for the operator to read."""

_SPARED = ("Event", "PodMetrics", "NodeMetrics")


def uninstall(user: User, *flags: str) -> CompletedProcess[str]:
    """The command, whatever becomes of it."""
    env = {"KUBECONFIG": str(user.kubeconfig)}
    return user.lab.run(_argv(flags), check=False, env=env)


def uninstalling(user: User, *flags: str) -> subprocess.Popen[str]:
    """The command under way; whoever asked for it ends it."""
    return subprocess.Popen(
        user.lab.command(_argv(flags)),
        env=os.environ | user.lab.environment() | {"KUBECONFIG": str(user.kubeconfig)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def everything(lab: Lab) -> list[JSON]:
    """All objects of all kinds."""
    listed = lab.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    kinds = sorted({each for each in listed if not each.startswith("events")})
    items: list[JSON] = json.loads(lab.kubectl("get", ",".join(kinds), "-A", "-o", "json"))["items"]
    return items


def traces(objects: Sequence[JSON]) -> list[str]:
    """Where labels, annotations or finalizers of ours are, in objects and their Pod templates."""
    return sorted(
        f"{obj['kind']} {obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}: {key}"
        for obj in objects
        if obj["kind"] not in _SPARED
        for meta in _metadata(obj)
        for key in _keys(meta)
        if OURS in key and key not in THEIRS
    )


def of_the_operator(objects: Sequence[JSON]) -> list[str]:
    """Objects that the manifests install."""
    return sorted(
        f"{obj['kind']} {obj['metadata']['name']}"
        for obj in objects
        if "sidecarpolic" in obj["metadata"]["name"] or obj["kind"].endswith("SidecarPolicy")
    )


def _argv(flags: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "sidecarpolicy", "uninstall", *flags]


def _metadata(obj: JSON) -> Iterator[JSON]:
    """An object's own, and that of a workload's template; histories keep templates as they were."""
    yield obj["metadata"]
    spec = obj.get("spec") or {}
    if obj["kind"] in ("Deployment", "StatefulSet", "DaemonSet"):
        yield spec["template"].get("metadata") or {}
    if obj["kind"] == "CronJob":
        yield spec["jobTemplate"]["spec"]["template"].get("metadata") or {}


def _keys(meta: JSON) -> Iterator[str]:
    yield from meta.get("labels") or {}
    yield from meta.get("annotations") or {}
    yield from meta.get("finalizers") or ()
