"""What an answer to a dry run says about native sidecars: kept, lost, or refused, and by whom.

Pure text in, one word out. The words of the API server were measured on 1.31 and 1.36; whatever
is not recognized proves nothing (`INCONCLUSIVE`), so that it blocks nobody.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sidecarpolicy.core.native import native_names

RawObject = Mapping[str, Any]


class Answer(StrEnum):
    """What became of a Pod that was created as a dry run."""

    PRESERVED = "preserved"
    """It would be stored, every sidecar with its `restartPolicy`."""
    LOST = "lost"
    """Sidecars would lose `restartPolicy`, so the Pod would hang in Init."""
    INVALID = "invalid"
    """The API server finds the Pod malformed."""
    REFUSED = "refused"
    """An admission plugin, policy or webhook says no."""
    OVER_QUOTA = "over quota"
    """It is as it should be, but a ResourceQuota has no room for it now."""
    INCONCLUSIVE = "inconclusive"
    """No answer, no right, or another webhook is down: nothing is known."""


@dataclass(frozen=True)
class Reply:
    """The API server's answer: an HTTP status code (0: none came), its words, the Pod."""

    code: int
    message: str = ""
    pod: RawObject = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """An answer, and the API server's words where it was not `PRESERVED`."""

    answer: Answer
    message: str = ""


_LOUD: Final = "may not be set for init containers"
"""The refusal of a probe or `lifecycle` on an init container that is no sidecar any more."""
_QUOTA: Final = re.compile(r"(?:exceeded|failed|insufficient) quota")
_NOT_ASKED: Final = re.compile(
    # A webhook that cannot be asked without side effects; what is still to come, or about to go.
    r"does not support dry run|error looking up service account|being terminated"
)
_DENIED: Final = re.compile(r"denied (?:the )?request")
_LACKS_RIGHT: Final = 'forbidden: User "'
"""Authorization names the user; admission plugins, which also say "forbidden", name none."""


def lacks_right(message: str) -> bool:
    """Whether these are the words for somebody who may not do it."""
    return _LACKS_RIGHT in message


def read(reply: Reply, sidecars: Iterable[str]) -> Reading:
    """Reads the answer to a Pod with these native sidecars."""
    if reply.code in (200, 201):
        return _stored(reply.pod, frozenset(sidecars))
    return Reading(_said(reply), reply.message)


def _stored(pod: RawObject, sidecars: frozenset[str]) -> Reading:
    lost = sorted(sidecars - native_names(pod))
    return Reading(Answer.LOST, ", ".join(lost)) if lost else Reading(Answer.PRESERVED)


def _said(reply: Reply) -> Answer:
    if reply.code not in (400, 403, 422):
        return Answer.INCONCLUSIVE
    for known, answer in _WORDS:
        if re.search(known, reply.message):
            return answer
    return Answer.REFUSED if reply.code == 403 else Answer.INVALID


_WORDS: Final = (
    (re.escape(_LACKS_RIGHT), Answer.INCONCLUSIVE),
    (_NOT_ASKED, Answer.INCONCLUSIVE),
    (_LOUD, Answer.LOST),
    (_QUOTA, Answer.OVER_QUOTA),
    (_DENIED, Answer.REFUSED),
)
"""What tells answers apart that have the same code; the first that is found counts."""
