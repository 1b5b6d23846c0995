"""The programs that are compared; each serves reviews in a process of its own.

    python -m bench.arms ARM PORT DIRECTORY     DIRECTORY holds tls.crt and tls.key

All answer the same review with the same patch. `bare` stands for the least that a webhook
in Python can cost, `kopf` for what an operator gets from its framework.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

import sidecarpolicy.webhook.app  # noqa: F401 - for the memory that the whole process takes
from bench.samples import OWN_USER, memory, response
from sidecarpolicy.webhook.review import Reviewed, review
from sidecarpolicy.webhook.server import PATH, admission_server
from sidecarpolicy.webhook.tls import ServingContext

JSON = dict[str, Any]
Serve = Callable[[int, Path], Coroutine[Any, Any, None]]


async def bare(port: int, directory: Path) -> None:
    """Nothing but aiohttp and a constant patch; only the uid is read."""
    constant = await response()

    async def handle(request: web.Request) -> web.Response:
        uid = json.loads(await request.read())["request"]["uid"]
        answer = {**constant, "response": {**constant["response"], "uid": uid}}
        return web.json_response(answer)

    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_post(PATH, handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    tls = _tls(directory).context
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls, backlog=1024).start()
    await asyncio.Event().wait()


async def ours(port: int, directory: Path, *, policies: int) -> None:
    """Our endpoint and our decision. There is no API server that it could ask."""
    look = partial(review, view=memory(policies), own_user=OWN_USER)
    tls = _tls(directory).context
    async with admission_server(f"127.0.0.1:{port}", tls, review=look, observe=_ignore):
        await asyncio.Event().wait()


async def with_kopf(port: int, directory: Path) -> None:
    """`kopf.on.mutate` in Kopf's own server; only this process is to carry Kopf."""
    from bench.kopf_arm import serve  # noqa: PLC0415

    await serve(port, directory, await response())


ARMS: Mapping[str, Serve] = {
    "bare": bare,
    "ours": partial(ours, policies=1),
    "ours-200": partial(ours, policies=200),
    "kopf": with_kopf,
}


def _tls(directory: Path) -> ServingContext:
    serving = ServingContext()
    chain, key = ((directory / name).read_bytes() for name in ("tls.crt", "tls.key"))
    if fault := serving.present(chain, key):
        raise ValueError(fault)
    return serving


def _ignore(_: Reviewed | None, __: float) -> None:
    """Nothing is observed from inside."""


if __name__ == "__main__":
    uvloop.run(ARMS[sys.argv[1]](int(sys.argv[2]), Path(sys.argv[3])))
