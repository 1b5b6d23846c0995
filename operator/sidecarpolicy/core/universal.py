"""Mode Universal: a sidecar that runs wherever a Pod does, with native sidecars or without.

It is in the Pod twice, as a native sidecar and as an ordinary container, and universal.sh decides
at run time which of the two serves: the init container X-prepare lays out a volume with the
script and a busybox that runs it; the native copy X ends once, and serves if it is started again;
the copy X-ordinary serves if X never was. Makes these containers of what a user wrote; adds
nothing to a template (see core.inject).

Sources: KEP-753; the kubelet's prober/worker.go.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from sidecarpolicy.api.shapes import UNIVERSAL_DIRECTORY

JSON = dict[str, Any]
Container = Mapping[str, Any]

PREPARE: Final = "-prepare"
ORDINARY: Final = "-ordinary"
VOLUME: Final = "-universal"
"""How the names end of what is added beside a sidecar."""
ORDINARY_PART: Final = "regularContainer/"
"""How the part key of an ordinary copy begins (see core.parts): nothing else has such a key."""


def _bare(text: str) -> str:
    """The script without comments, which every Pod would carry."""
    lines = (line for line in text.splitlines() if line and not line.lstrip().startswith("#"))
    return "\n".join(lines)


SCRIPT: Final = _bare(files("sidecarpolicy.core").joinpath("universal.sh").read_text("utf-8"))
"""What runs in the containers; part of what is injected, so a change of it is a new revision."""

_BUSYBOX: Final = f"{UNIVERSAL_DIRECTORY}/busybox"
_PATH: Final = f"{UNIVERSAL_DIRECTORY}/universal.sh"
_IMAGE_BUSYBOX: Final = "/bin/busybox"
_NOBODY: Final = 65532
_PROBES: Final = ("startupProbe", "livenessProbe", "readinessProbe")
_OF_NATIVE: Final = (*_PROBES, "lifecycle", "resizePolicy", "restartPolicy")
"""Fields that the API server refuses in an init container whose restartPolicy it dropped."""


@dataclass(frozen=True)
class Copies:
    """All that one sidecar is in a Pod."""

    prepare: JSON
    native: JSON
    ordinary: JSON
    volume: JSON


def copies(
    sidecar: Container, image: str, restart_policy: str, *, field_dropped: bool = False
) -> Copies:
    """What a sidecar becomes in Pods of a restart policy.

    `image` has the busybox. `field_dropped`: the API server drops the restartPolicy of init
    containers, so that the native copy is an ordinary init container, and ends.
    """
    name = str(sidecar["name"])
    mount = {"name": f"{name}{VOLUME}", "mountPath": UNIVERSAL_DIRECTORY}
    native = _native(sidecar, mount, restart_policy, field_dropped=field_dropped)
    # Copied, because what YAML finds twice in one object becomes an anchor.
    return Copies(
        prepare=deepcopy(_prepare(sidecar, image, mount)),
        native=deepcopy(native),
        ordinary=deepcopy(_ordinary(sidecar, mount, restart_policy)),
        volume={"name": f"{name}{VOLUME}", "emptyDir": {}},
    )


def _prepare(sidecar: Container, image: str, mount: JSON) -> JSON:
    """The init container that sets the volume up, with every new sandbox of the Pod.

    The sidecar's own resources cost nothing more, because both never run at one time, and keep
    the Pod's QoS class.
    """
    own = {"resources": sidecar["resources"]} if sidecar.get("resources") else {}
    return {
        "name": f"{sidecar['name']}{PREPARE}",
        "image": image,
        "command": [
            *(_IMAGE_BUSYBOX, "sh", "-c", 'eval "$2"', _PATH),
            *("prepare", SCRIPT, _IMAGE_BUSYBOX),
        ],
        **own,
        "securityContext": _security(sidecar),
        "volumeMounts": [mount],
    }


def _security(sidecar: Container) -> JSON:
    """What the restricted Pod Security Standard asks for, as the sidecar's user if it has one."""
    own = sidecar.get("securityContext") or {}
    labels = {"seLinuxOptions": own["seLinuxOptions"]} if own.get("seLinuxOptions") else {}
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": own.get("runAsUser") or _NOBODY,
        "seccompProfile": {"type": "RuntimeDefault"},
        **labels,
    }


def _native(sidecar: Container, mount: JSON, restart_policy: str, *, field_dropped: bool) -> JSON:
    """The copy among the init containers. Ports are declared once, by the ordinary copy."""
    made = _copy(sidecar, mount, "native")
    made.pop("ports", None)
    if field_dropped:
        return {key: value for key, value in made.items() if key not in _OF_NATIVE}
    made |= {probe: _numbered(made[probe], sidecar) for probe in _PROBES if made.get(probe)}
    if restart_policy == "Never":
        made["lifecycle"] = {**(made.get("lifecycle") or {}), "postStart": _SERVES}
    elif not made.get("startupProbe"):
        made["startupProbe"] = _STARTED
    return {**made, "restartPolicy": "Always"}


def _ordinary(sidecar: Container, mount: JSON, restart_policy: str) -> JSON:
    """The copy among the regular containers; where Pods end, it ends if it is not needed."""
    after = "sleep" if restart_policy == "Always" else "end"
    made = _copy(sidecar, mount, "ordinary", after)
    made["name"] = f"{sidecar['name']}{ORDINARY}"
    return {
        key: value
        for key, value in made.items()
        if key not in ("restartPolicy", "restartPolicyRules")
    }


def _copy(sidecar: Container, mount: JSON, role: str, *options: str) -> JSON:
    """The sidecar with all that it runs going by the script; its `args` follow its command."""
    made = {
        **sidecar,
        "command": _by_script(role, *options, *(sidecar.get("command") or ())),
        "volumeMounts": [*(sidecar.get("volumeMounts") or ()), mount],
    }
    for probe in _PROBES:
        if (made.get(probe) or {}).get("exec"):
            made[probe] = _wrapped(made[probe], "probe", role)
    hook = (made.get("lifecycle") or {}).get("preStop") or {}
    if hook:
        made["lifecycle"] = {**made["lifecycle"], "preStop": _hook(hook, role)}
    return made


def _by_script(*arguments: str) -> list[str]:
    return [_BUSYBOX, "sh", _PATH, *arguments]


_STARTED: Final = {
    "exec": {"command": _by_script("probe", "native", _BUSYBOX, "true")},
    "periodSeconds": 1,
    "timeoutSeconds": 10,
    "failureThreshold": 60,
}
"""Holds back what comes after the native copy until that serves: its first run ends at once."""

_SERVES: Final = {"exec": {"command": _by_script("wait")}}
"""The same where Pods never restart, and kubelets may give up a startup probe (kubernetes#132826).

A kubelet looks at nothing else of the Pod while the hook lasts. It fails with the first run, which
ends meanwhile; so no kubelet ever sees that run, and goes on because of it.
"""


def _wrapped(handler: Mapping[str, Any], kind: str, role: str) -> JSON:
    command = handler["exec"].get("command") or ()
    return {**handler, "exec": {**handler["exec"], "command": _by_script(kind, role, *command)}}


def _hook(hook: Mapping[str, Any], role: str) -> JSON:
    """A hook that acts only in the copy that serves. What is no command cannot be held back."""
    if hook.get("exec"):
        return _wrapped(hook, "hook", role)
    if hook.get("sleep"):
        seconds = str(hook["sleep"].get("seconds", 0))
        return {"exec": {"command": _by_script("hook", role, _BUSYBOX, "sleep", seconds)}}
    return dict(hook)


def _numbered(probe: Mapping[str, Any], sidecar: Container) -> JSON:
    """The probe with the numbers of named ports, which another container declares."""
    ports = {
        each["name"]: each["containerPort"]
        for each in sidecar.get("ports") or ()
        if each.get("name") and "containerPort" in each
    }
    numbered = {
        kind: {**probe[kind], "port": ports[probe[kind]["port"]]}
        for kind in ("httpGet", "tcpSocket")
        if (probe.get(kind) or {}).get("port") in ports
    }
    return {**probe, **numbered}


def sidecars_of(parts: Iterable[str]) -> Mapping[str, str]:
    """The sidecar that each container among a policy's part keys belongs to, by its name."""
    names = {noun: set[str]() for noun in ("container", "regularContainer")}
    for part in parts:
        noun, _, name = part.partition("/")
        names.get(noun, set()).add(name)
    universal = {each.removesuffix(ORDINARY) for each in names["regularContainer"]}
    beside = {name + end: name for name in universal for end in (PREPARE, ORDINARY)}
    return {name: beside.get(name, name) for found in names.values() for name in found}
