"""When does a live object say the same as what we wrote?

The API server adds defaults, drops empty values and rewrites quantities
("1000m" → "1"), and other writers add fields of their own. Comparing for equality
would patch for ever, so a live part is *current* when it covers what we want.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sidecarpolicy.core.quantity import parse_quantity

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def covers(live: Any, wanted: Any) -> bool:
    """Whether `live` says at least what `wanted` says.

    Objects may have more keys, lists of objects more items; lists of plain values
    (command, args) must be equal. An empty wanted value is satisfied by absence,
    because the API server drops empty values.
    """
    if isinstance(wanted, Mapping):
        have = live if isinstance(live, Mapping) else {}
        return all(_covers_member(key, have.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return _covers_list(live or [], wanted)
    return bool(live == wanted) or (live is None and _is_empty(wanted))


def _covers_member(key: str, live: Any, wanted: Any) -> bool:
    if key in ("requests", "limits") and isinstance(wanted, Mapping):
        have = live if isinstance(live, Mapping) else {}
        return all(_same_request(have.get(name), amount) for name, amount in wanted.items())
    if key == "sizeLimit":
        return _same_quantity(live, wanted)
    return covers(live, wanted)


def _same_request(live: Any, wanted: Any) -> bool:
    """The API server rounds requests and limits up to thousandths, but no other quantity."""
    found, amount = parse_quantity(live), parse_quantity(wanted)
    if found is None or amount is None:
        return bool(live == wanted)
    return found.in_milli == amount.in_milli


def _same_quantity(live: Any, wanted: Any) -> bool:
    amount = parse_quantity(wanted)
    return bool(live == wanted) or (amount is not None and parse_quantity(live) == amount)


def _covers_list(live: Sequence[Any], wanted: Sequence[Any]) -> bool:
    if all(isinstance(item, Mapping) for item in wanted):
        return all(any(covers(have, item) for have in live) for item in wanted)
    return list(live) == list(wanted)


def _is_empty(value: Any) -> bool:
    """Whether the API server may leave the value out: omitempty in its Go types."""
    if isinstance(value, Mapping):
        return all(_is_empty(item) for item in value.values())
    return value is None or value is False or value in ("", 0, [])


def fingerprint(value: Any, *, length: int = 8) -> str:
    """A short hash (`length` hexadecimal digits) of a JSON value; key order is ignored."""
    return hashlib.sha256(_canonical(value).encode()).hexdigest()[:length]


def _container_identity(container: Mapping[str, Any]) -> Any:
    """Without restartPolicy: a sidecar that lost it to an old client is still ours to mend."""
    return {key: container.get(key) or None for key in ("name", "image", "command", "args")}


def _volume_identity(volume: Mapping[str, Any]) -> Any:
    """Name, source, and the source's own reference; everything else may be defaulted."""
    source = next((key for key in sorted(volume) if key != "name"), "emptyDir")
    content = volume.get(source)
    body = content if isinstance(content, Mapping) else {}
    references = (
        "secretName",
        "name",
        "path",
        "claimName",
        "driver",
        "server",
        "volumeID",
        "image",
        "reference",
    )
    return {
        "name": volume.get("name"),
        "source": source,
        **{key: body[key] for key in references if key in body},
    }


def container_digest(container: Mapping[str, Any]) -> str:
    """What identifies a container as ours, unchanged by the API server's defaulting."""
    return fingerprint(_container_identity(container))


def env_digest(variable: Mapping[str, Any]) -> str:
    """What identifies a variable as ours: its value, or what kind of source it has."""
    source = variable.get("valueFrom")
    kinds = sorted(source) if isinstance(source, Mapping) else []
    return fingerprint([variable.get("name"), variable.get("value") or None, kinds])


def mount_digest(mount: Mapping[str, Any]) -> str:
    """What identifies a mount as ours."""
    return fingerprint([mount.get(key) or None for key in ("name", "mountPath", "subPath")])


def volume_digest(volume: Mapping[str, Any]) -> str:
    """What identifies a volume as ours, unchanged by the API server's defaulting."""
    return fingerprint(_volume_identity(volume))
