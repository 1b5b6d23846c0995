"""JSON Patch (RFC 6902) from two versions of a value, and the guard that makes it safe.

Objects are compared member by member, lists of the same length item by item; a list that
became longer or shorter is replaced as a whole. That takes no ownership of unchanged
items: the API server computes managed fields from the difference of the objects, not from
the patch. Indexes hold because nothing else can have changed the list (see `guard`).
"""

from collections.abc import Iterator
from typing import Any

JSON = dict[str, Any]
Patch = list[JSON]


def difference(old: Any, new: Any, *, path: str) -> Patch:
    """The operations that turn `old`, found at `path`, into `new`."""
    return list(_operations(old, new, path))


def guard(*, uid: str, generation: int) -> Patch:
    """Tests that fail if the object was re-created or its spec has changed since.

    Status writes do not disturb them. The API server answers a failed test with 422,
    not with 409.
    """
    return [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": "/metadata/generation", "value": generation},
    ]


def _operations(old: Any, new: Any, path: str) -> Iterator[dict[str, Any]]:
    if old is new:  # a draft shares most of them
        return
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _members(old, new, path)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for at, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _operations(before, after, f"{path}/{at}")
    elif old != new:
        yield {"op": "replace", "path": path, "value": new}


def _members(old: JSON, new: JSON, path: str) -> Iterator[dict[str, Any]]:
    for key in old:
        if key not in new:
            yield {"op": "remove", "path": f"{path}/{escape(key)}"}
    for key, value in new.items():
        if key not in old:
            yield {"op": "add", "path": f"{path}/{escape(key)}", "value": value}
        else:
            yield from _operations(old[key], value, f"{path}/{escape(key)}")


def escape(key: str) -> str:
    """A member's name as a JSON pointer has it (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")
