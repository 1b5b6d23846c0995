"""The API server's version, for those who judge nodes by it: asked at the start, then rarely."""

import asyncio
import logging
import random
from collections.abc import Callable

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.outcome import Result

log = logging.getLogger(__name__)

AGAIN_SECONDS = 300.0
_RETRY_SECONDS = 3.0


class ServerVersion:
    """Follows the version of an API server that may be upgraded meanwhile."""

    def __init__(self, api: Api, tell: Callable[[str], None]) -> None:
        """`tell` gets the version ("v1.36.3") whenever it is another one."""
        self._api = api
        self._tell = tell
        self._last = ""
        self.known = asyncio.Event()
        """Set once it was told, or once it is clear that nobody tells us."""

    async def run(self) -> None:
        """Works for ever."""
        while True:
            answer = await self._api.server_version()
            version = str(answer.body.get("gitVersion", ""))
            if version and version != self._last:
                log.info("The API server is %s", version)
                self._last = version
                self._tell(version)
            if answer.done or answer.result is Result.FORBIDDEN:
                self.known.set()
            if not answer.done:
                log.warning("cannot read the API server's version: %s", answer.message)
            seconds = AGAIN_SECONDS if answer.done else _RETRY_SECONDS
            await asyncio.sleep(max(seconds, answer.retry_after) * random.uniform(1.0, 1.25))
