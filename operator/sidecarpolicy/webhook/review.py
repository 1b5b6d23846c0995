"""Reviews: the bytes of an AdmissionReview in, the bytes of the answer out.

Whatever is no review is the sender's mistake. A review that we cannot decide about, be
it odd or a bug of ours, is allowed as it is: an admission webhook must never be what
keeps a cluster from working.
"""

import base64
import logging
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from sidecarpolicy.core.admission import UNCHANGED, Answer, Request, View, admit

log = logging.getLogger(__name__)

_API_VERSION = "admission.k8s.io/v1"


class Acquaintance(View, Protocol):
    """A View that may be about to learn of a namespace."""

    async def meet(self, namespace: str) -> None:
        """Returns once it knows the namespace, or gave up waiting for that."""


class BadReviewError(ValueError):
    """What was sent is no AdmissionReview of a version that we know."""


@dataclass(frozen=True)
class Reviewed:
    """The response body, with what metrics need to know of it."""

    body: bytes
    kind: str
    operation: str
    result: str
    """"patched", "unchanged", or "failed" for what was let through undecided."""


async def review(body: bytes, view: Acquaintance, *, own_user: str) -> Reviewed:
    """Answers one AdmissionReview; raises BadReviewError for anything else.

    Requests of `own_user`, the controller's own, pass untouched: it knows what it does.
    """
    request = _request(body)
    if isinstance(namespace := request.get("namespace"), str):
        await view.meet(namespace)
    answer, result = _answer(request, view, own_user)
    if answer.patch:
        result = "patched"
    return Reviewed(
        body=_response(request["uid"], answer),
        kind=request["kind"]["kind"],
        operation=request["operation"],
        result=result,
    )


def _request(body: bytes) -> Request:
    try:
        document = orjson.loads(body)
        request: dict[str, Any] = document["request"]
        texts = (request["uid"], request["operation"], request["kind"]["kind"])
        right = (document["apiVersion"], document["kind"]) == (_API_VERSION, "AdmissionReview")
        right = right and all(isinstance(each, str) for each in texts)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadReviewError(f"no AdmissionReview: {type(error).__name__}") from error
    if not right:
        raise BadReviewError(f"no AdmissionReview of {_API_VERSION}")
    return request


def _answer(request: Request, view: View, own_user: str) -> tuple[Answer, str]:
    try:
        if request["userInfo"]["username"] == own_user:
            return UNCHANGED, "unchanged"
        return admit(request, view), "unchanged"
    except Exception as error:  # an oddity must not keep anything from being admitted
        log.exception("Review %s failed, the object passes unchanged", request["uid"][:64])
        return Answer([], (f"sidecarpolicy: not decided ({type(error).__name__})",)), "failed"


def _response(uid: str, answer: Answer) -> bytes:
    response: dict[str, Any] = {"uid": uid, "allowed": True}
    if answer.patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(orjson.dumps(answer.patch)).decode()
    if answer.warnings:
        response["warnings"] = list(answer.warnings)
    document = {"apiVersion": _API_VERSION, "kind": "AdmissionReview", "response": response}
    return orjson.dumps(document)
