"""Certificates that somebody else manages: read from a directory and exchanged while serving.

The directory is a mounted Secret with tls.crt and tls.key, as cert-manager makes them; its
ca-injector fills the caBundle. Neither Secret nor configuration is touched from here.
"""

import asyncio
import logging
from pathlib import Path
from ssl import SSLContext
from typing import NoReturn

from sidecarpolicy.webhook.tls import ServingContext

log = logging.getLogger(__name__)


class Files:
    """Serves what the directory holds; the kubelet brings changes within about a minute."""

    def __init__(self, directory: Path, *, every: float = 10.0) -> None:
        self._directory = directory
        self._every = every
        self._serving = ServingContext()
        self._fault = ""

    async def prepare(self) -> SSLContext:
        """The context to serve with, once there are usable files; logs what that waits for."""
        self.refresh()
        while not self._serving.loaded:
            await asyncio.sleep(self._every)
            self.refresh()
        return self._serving.context

    async def run(self) -> NoReturn:
        """Follows the files; what cannot be used is logged, and the former goes on."""
        while True:
            await asyncio.sleep(self._every)
            self.refresh()

    def refresh(self) -> str:
        """Reads the files once; what is wrong with them, or nothing."""
        fault = self._present()
        if fault != self._fault:
            message = f"{self._directory}: {fault}" if fault else "The files are in order again"
            log.log(logging.WARNING if fault else logging.INFO, message)
        self._fault = fault
        return fault

    def _present(self) -> str:
        try:
            chain = (self._directory / "tls.crt").read_bytes()
            key = (self._directory / "tls.key").read_bytes()
        except OSError as error:
            return f"{Path(error.filename).name}: {error.strerror}"
        return self._serving.present(chain, key)
