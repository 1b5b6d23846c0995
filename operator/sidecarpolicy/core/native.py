"""What makes an init container a native sidecar (KEP-753), and which of a Pod are."""

from collections.abc import Iterator, Mapping
from typing import Any


def is_native(container: Mapping[str, Any]) -> bool:
    """Whether an init container is a native sidecar; an ordinary container never is one."""
    return container.get("restartPolicy") == "Always"


def native_sidecars(template: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The native sidecars of a Pod or Pod template, in their order."""
    found = (template.get("spec") or {}).get("initContainers") or ()
    return (each for each in found if is_native(each))


def native_names(template: Mapping[str, Any]) -> frozenset[str]:
    """Names of the native sidecars of a Pod or Pod template."""
    return frozenset(each["name"] for each in native_sidecars(template))
