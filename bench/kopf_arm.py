"""`kopf.on.mutate` in Kopf's own server, without the rest of its operator.

Kopf offers no way to serve reviews without a cluster to watch, hence its internals.
"""

import json
from base64 import b64decode
from functools import partial
from pathlib import Path
from typing import Any

import jsonpatch
import kopf
from kopf._cogs.structs.ephemera import AnyMemo
from kopf._cogs.structs.references import Insights, Resource
from kopf._core.engines.admission import serve_admission_request
from kopf._core.engines.indexing import OperatorIndexers
from kopf._core.reactor.inventory import ResourceMemories

from bench.samples import REVIEW
from sidecarpolicy.webhook.server import PATH

JSON = dict[str, Any]


async def serve(port: int, directory: Path, answer: JSON) -> None:
    """Answers with the patch of the given response, until it is cancelled."""
    registry, constant = kopf.OperatorRegistry(), _as_merge(answer)

    @kopf.on.mutate("apps", "v1", "deployments", id=PATH.strip("/"), registry=registry)
    def add_sidecar(patch: kopf.Patch, **_: Any) -> None:
        patch.update(constant)

    deployments = Resource("apps", "v1", "deployments", kind="Deployment")
    answering = partial(
        serve_admission_request,
        settings=kopf.OperatorSettings(),
        memories=ResourceMemories(),
        memobase=AnyMemo(kopf.Memo()),
        registry=registry,
        insights=Insights(webhook_resources={deployments}),
        indices=OperatorIndexers().indices,
    )
    server = kopf.WebhookServer(
        addr="127.0.0.1",
        port=port,
        certfile=directory / "tls.crt",
        pkeyfile=directory / "tls.key",
    )
    async for _ in server(answering):
        pass


def _as_merge(answer: JSON) -> JSON:
    """The patch of a response in the form that Kopf's handlers fill in: what differs."""
    before = json.loads(REVIEW)["request"]["object"]
    patch = json.loads(b64decode(answer["response"]["patch"]))
    return _changed(before, jsonpatch.apply_patch(before, patch))


def _changed(old: JSON, new: JSON) -> JSON:
    """The members that are new or different; lists as a whole."""
    return {
        key: _changed(old[key], value) if isinstance(value, dict) and key in old else value
        for key, value in new.items()
        if old.get(key) != value
    }
