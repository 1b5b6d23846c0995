"""Argo CD's half of a health check: it runs a Lua script on the object (Lua 5.1, as gopher-lua)."""

from typing import Any

from lupa import lua51

JSON = dict[str, Any]


def health(script: str, obj: JSON) -> JSON:
    """What Argo CD makes of the object: `status` and `message`."""
    lua = lua51.LuaRuntime(unpack_returned_tuples=True)
    lua.globals().obj = lua.table_from(obj, recursive=True)
    return dict(lua.execute(script))
