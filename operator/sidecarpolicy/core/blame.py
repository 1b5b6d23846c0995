"""Blame: whether a verdict of the API server blocks a policy, and what is at fault.

Only what is proved blocks: no answer, a full quota or a webhook that is down never do.
"""

from collections.abc import Sequence
from typing import Final

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.gate import Gate
from sidecarpolicy.core.inquiry import Verdict
from sidecarpolicy.core.reading import Answer
from sidecarpolicy.core.suspects import Suspect

MAX_MESSAGE: Final = 1024
_MAX_SUSPECTS: Final = 3


def finding_of(verdict: Verdict, *, gate: Gate, suspects: Sequence[Suspect]) -> Finding | None:
    """Why the verdict blocks the policy, or None: only what is proved blocks.

    `gate` and `suspects` say why `restartPolicy` was lost; they do not matter otherwise.
    """
    if verdict.answer is Answer.INVALID:
        return _finding(Reason.INVALID, verdict.message)
    if verdict.answer is Answer.REFUSED:
        return _finding(Reason.REFUSED, verdict.message)
    if verdict.answer is not Answer.LOST:
        return None
    if gate is Gate.OFF or (gate is Gate.UNKNOWN and not suspects):
        return Finding(Reason.API_SERVER_DROPS_FIELD, _DROPPED)
    return _finding(Reason.STRIPPED_BY_WEBHOOK, f"{_STRIPPED}; {_named(suspects)}")


_DROPPED: Final = (
    "the API server drops restartPolicy of init containers: its feature gate SidecarContainers is "
    "off; turn it on, or upgrade the API server to 1.29 or later, or set mode: Universal"
)
_WITHOUT: Final = (
    "the API server drops restartPolicy of init containers, so all sidecars run as ordinary "
    "containers: they start with the application, may end before it, and keep Jobs from completing "
    "unless they end by themselves; turn its feature gate SidecarContainers on, or upgrade it to "
    "1.29 or later"
)
_STRIPPED: Final = "something removes restartPolicy of sidecars when Pods are created"


def without_field() -> Finding:
    """What an API server that drops the field means for a policy in mode Universal."""
    return Finding(Reason.API_SERVER_DROPS_FIELD, _WITHOUT)


def _named(suspects: Sequence[Suspect]) -> str:
    if not suspects:
        return (
            "no MutatingWebhookConfiguration is asked about these Pods; look for a "
            "MutatingAdmissionPolicy, or for a proxy before the API server"
        )
    listed = ", ".join(str(each.hook) for each in suspects[:_MAX_SUSPECTS])
    more = len(suspects) - _MAX_SUSPECTS
    others = f" and {more} more" if more > 0 else ""
    return (
        f"suspects, the likeliest first: {listed}{others}; upgrade it, or have its objectSelector "
        "leave out Pods labelled sidecarpolicy.dev/injected=true"
    )


def _finding(reason: Reason, message: str) -> Finding:
    return Finding(reason, message[:MAX_MESSAGE])
