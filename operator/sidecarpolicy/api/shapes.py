"""The shapes of a container's fields, as far as a wrong one would do harm beyond its policy.

The CRD keeps containers as they are, with fields of any version of Kubernetes. A value of
the wrong JSON type (`command: 7`, an env value without quotes) is found by nobody until a
Pod carries it: at admission the API server then answers 500 to the owner of that Pod. And what
mode Universal wraps has to be what it takes it for, or reading the policy would fail.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

_TEXTS: Final = ("command", "args")
_OBJECTS: Final = ("ports", "env", "envFrom", "volumeMounts", "volumeDevices", "resizePolicy")
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_OBJECT: Final = ("resources", "securityContext", "lifecycle", *_PROBES)
_HOOKS: Final = ("postStart", "preStop")
_HANDLERS: Final = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_TEXT: Final = ("image", "workingDir", "imagePullPolicy", "terminationMessagePath")
_ITEM_TEXT: Final = ("name", "value", "mountPath", "subPath", "protocol", "prefix", "devicePath")

_MAX_DEPTH: Final = 64
"""Levels; no field of a container has nearly as many, and programs that read JSON have limits."""


def known_by(field: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A check, which raises ValueError, that items of a list are told apart by this field."""

    def checked(item: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(value := item.get(field), str) or not value:
            raise ValueError(f"{field} must be a string that is not empty")
        if too_deep(item):
            raise ValueError(f"{value!r} has too many levels")
        return item

    return checked


def well_formed(container: dict[str, Any]) -> dict[str, Any]:
    """The container; raises ValueError that names the first field of a wrong type."""
    for fault in _faults(container):
        raise ValueError(f"container {container.get('name')!r}: {fault}")
    return known_by("name")(container)


def _faults(container: Mapping[str, Any]) -> Iterator[str]:
    present = {key: value for key, value in container.items() if value is not None}
    yield from (f"{key} has too many levels" for key in present if too_deep(present[key]))
    for key, value in present.items():
        if key in _TEXT and not isinstance(value, str):
            yield f"{key} must be a string"
        elif key in _OBJECT and not isinstance(value, dict):
            yield f"{key} must be an object"
        elif key in _TEXTS and not _list_of(str, value):
            yield f"{key} must be a list of strings"
        elif key in _OBJECTS and not _list_of(dict, value):
            yield f"{key} must be a list of objects"
        elif key in _OBJECTS:
            yield from (f"{key}: {fault}" for item in value for fault in _item_faults(item))
        elif key in _PROBES:
            yield from (f"{key}.{fault}" for fault in _handler_faults(value))
        elif key == "lifecycle":
            yield from (f"{key}.{fault}" for fault in _hook_faults(value))


def _item_faults(item: Mapping[str, Any]) -> Iterator[str]:
    for key in _ITEM_TEXT:
        if not isinstance(item.get(key, ""), (str, type(None))):
            yield f"{key} must be a string; put it in quotes"
    port = item.get("containerPort", 0)
    if isinstance(port, bool) or not isinstance(port, int):
        yield "containerPort must be a number"


def _hook_faults(lifecycle: Mapping[str, Any]) -> Iterator[str]:
    for key in _HOOKS:
        hook = lifecycle.get(key) or {}
        if isinstance(hook, dict):
            yield from (f"{key}.{fault}" for fault in _handler_faults(hook))
        else:
            yield f"{key} must be an object"


def _handler_faults(handled: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with what a probe or a hook does."""
    for key in _HANDLERS:
        handler = handled.get(key)
        if handler is None:
            continue
        if not isinstance(handler, dict):
            yield f"{key} must be an object"
        elif not _list_of(str, handler.get("command") or []):
            yield f"{key}.command must be a list of strings"
        elif isinstance(handler.get("port"), (list, dict)):
            yield f"{key}.port must be a number or a name"


def too_deep(value: Any, *, levels: int = _MAX_DEPTH) -> bool:
    """Whether a JSON value has more levels of objects and lists than any that Kubernetes has."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(too_deep(each, levels=levels - 1) for each in inner)


def _list_of(kind: type, value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, kind) for each in value)


def universal_fault(sidecar: Mapping[str, Any]) -> str:
    """What keeps a container from being a sidecar in mode Universal; empty if it can be one.

    The CRD says the same, where there is an API server (see api.schema), but for the mounts.
    """
    lifecycle = sidecar.get("lifecycle") or {}
    hooks = {*(lifecycle.get("preStop") or {}), *({"postStart"} & lifecycle.keys())}
    if not sidecar.get("command"):
        return "needs a command"
    if len(str(sidecar.get("name"))) > MAX_UNIVERSAL_NAME:
        return f"needs a name of at most {MAX_UNIVERSAL_NAME} characters"
    if hooks & {"postStart", "httpGet", "tcpSocket"}:
        return "may have no other lifecycle hook than preStop with exec or sleep"
    mounts = (str(each.get("mountPath")) for each in sidecar.get("volumeMounts") or ())
    if any(f"{path}/".startswith(f"{UNIVERSAL_DIRECTORY}/") for path in mounts):
        return f"may mount nothing at {UNIVERSAL_DIRECTORY}, where the mode has its own volume"
    return ""


UNIVERSAL_DIRECTORY: Final = "/sidecarpolicy"
"""Where each copy of a sidecar in mode Universal mounts the volume by which they agree."""

MAX_UNIVERSAL_NAME: Final = 53
"""Characters of a sidecar's name, so that the names made of it are valid, too."""
