"""The load: the same review again and again, over connections that stay open."""

import asyncio
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass

import aiohttp

from bench.processes import Arm
from sidecarpolicy.webhook.server import PATH


@dataclass(frozen=True)
class Answers:
    """What came of a number of reviews; `seconds` has the time that each one took."""

    seconds: tuple[float, ...]
    errors: int


async def feed(
    arm: Arm, body: bytes, *, reviews: int, concurrency: int, trust: ssl.SSLContext
) -> Answers:
    """Sends so many reviews, so many at one time. An answer without a patch is an error."""
    timeout = aiohttp.ClientTimeout(total=60)
    connector = aiohttp.TCPConnector(limit=concurrency, ssl=trust)
    turns = iter(range(reviews))
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        url = f"https://127.0.0.1:{arm.port}{PATH}"
        senders = [_send(session, url, body, turns) for _ in range(concurrency)]
        answered = [each for sent in await asyncio.gather(*senders) for each in sent]
    return Answers(
        seconds=tuple(seconds for seconds, _ in answered),
        errors=sum(not patched for _, patched in answered),
    )


async def _send(
    session: aiohttp.ClientSession, url: str, body: bytes, turns: Iterator[int]
) -> list[tuple[float, bool]]:
    """Takes turns with the other senders until there are none left."""
    answers = []
    headers = {"Content-Type": "application/json"}
    for _ in turns:
        start = time.perf_counter()
        try:
            async with session.post(url, data=body, headers=headers) as response:
                patched = response.status == 200 and b'"JSONPatch"' in await response.read()
        except (aiohttp.ClientError, TimeoutError):
            patched = False
        answers.append((time.perf_counter() - start, patched))
    return answers
