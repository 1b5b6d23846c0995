"""Jobs that hang, as `doctor` finds them: Pods first, then the Jobs of those few that hang.

Asks for what an API server can leave out by itself: only running Pods of Jobs are sent, however
many Jobs there are or have been. Reads and never writes; core.hanging decides.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.outcome import Result
from sidecarpolicy.cluster.resources import JOBS, PODS
from sidecarpolicy.core.checkup import Unread
from sidecarpolicy.core.facts import RawObject
from sidecarpolicy.core.hanging import (
    PODS_FIELDS,
    PODS_LABEL,
    Hang,
    HangingJob,
    hang_of,
    hanging_job,
    longest,
    still_open,
)

MAX_JOBS: Final = 20
"""Jobs that are read and told; one CronJob may have left hundreds."""


@dataclass(frozen=True)
class Hanging:
    """Jobs that hang, the longest first, and how many more there are that nobody looked at."""

    jobs: tuple[HangingJob, ...] = ()
    more: int = 0
    unread: Unread | None = None

    @property
    def counted(self) -> str:
        """How many Jobs, for people."""
        number = len(self.jobs) + self.more
        return f"{number} Job{'' if number == 1 else 's'}"


NOTHING_HANGS: Final = Hanging()


class JobReader:
    """Looks for Jobs that hang; `note` is told what could not be read of them."""

    def __init__(self, api: Api, note: Callable[[str], None]) -> None:
        self._api = api
        self._note = note

    async def of_pod(self, pod: RawObject) -> Hanging:
        """The Job of a raw Pod, if that keeps it open."""
        hang = hang_of(pod, time.time())
        return await self._judged([hang] if hang is not None else [])

    async def of_namespace(self, namespace: str, *, job: str = "") -> Hanging:
        """All Jobs of a namespace, of all namespaces where it is empty, or one of them."""
        now = time.time()
        listed = await self._api.list_all(
            PODS,
            namespace=namespace or None,
            labels=f"{PODS_LABEL}={job}" if job else PODS_LABEL,
            fields=PODS_FIELDS,
            keep=lambda pod: hang_of(pod, now),
        )
        if not listed.done:
            self._note(f"Pods of Jobs, so it is not known which hang: {listed.message}")
            return Hanging(unread=Unread(listed.message))
        return await self._judged([each for each in listed.items if each is not None])

    async def _judged(self, hangs: list[Hang]) -> Hanging:
        found = longest(hangs)
        judged = [await self._job(each) for each in found[:MAX_JOBS]]
        jobs = tuple(each for each in judged if each is not None)
        return Hanging(jobs, max(0, len(found) - MAX_JOBS))

    async def _job(self, hang: Hang) -> HangingJob | None:
        """A Job that is still open; None for one that is over or gone by now."""
        answer = await self._api.get(JOBS, name=hang.job.name, namespace=hang.job.namespace)
        if answer.result is Result.GONE:
            return None
        if not answer.done:
            unknown = "whether a CronJob made it, and by which labels to select it"
            self._note(f"{hang.job}, so it is not known {unknown}: {answer.message}")
            return hanging_job(hang, None)
        return hanging_job(hang, answer.body) if still_open(answer.body) else None
