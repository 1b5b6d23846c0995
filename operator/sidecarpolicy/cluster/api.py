"""Requests to the API server: each returns an `Outcome`, none raises for what a server may do."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import ClientError, ClientResponse, ClientTimeout

from sidecarpolicy.api.names import FIELD_MANAGER
from sidecarpolicy.cluster.connection import Connection
from sidecarpolicy.cluster.fence import Fence, FencedError
from sidecarpolicy.cluster.outcome import Outcome, Result
from sidecarpolicy.cluster.resources import SERVICE_ACCOUNTS, Resource

_TIMEOUT = ClientTimeout(total=30, sock_connect=5)
_GRACE_SECONDS = 5
_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"
PAGE = 500
_MAX_MESSAGE = 600
_LONG_QUOTE = re.compile(r'"(?:[^"\\]|\\.){200,}"')

Observe = Callable[[str, Outcome], None]
"""Gets the URL path of a request that writes, and how it ended."""


class Api:
    """Typed access to the few verbs that we use."""

    def __init__(self, connection: Connection, *, fence: Fence | None = None) -> None:
        """`fence` says at the last moment whether a request that writes may be sent, also one
        that only tries to.
        """
        self._connection = connection
        self._fence = fence
        self.observe: Observe = lambda _, __: None
        """Told how each request that writes ended; dry runs do not."""

    async def get(self, resource: Resource, *, name: str, namespace: str | None = None) -> Outcome:
        """Reads one object. GONE only if the server says that this very object is absent."""
        return await self._request("GET", resource.path(namespace=namespace, name=name))

    async def list_all(
        self,
        resource: Resource,
        *,
        keep: Callable[[dict[str, Any]], Any],
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        page: int = PAGE,
    ) -> Outcome:
        """Reads a whole collection, `page` objects a request; complete, or not DONE.

        `labels` and `fields` are selectors in the API server's own syntax.

        `items` holds what `keep` makes of each object, so that never more than a page
        of raw objects is in memory; `body` is the last page.
        """
        items: list[Any] = []
        query = {"limit": str(page), **_selectors(labels, fields)}
        while True:
            answer = await self._request("GET", resource.path(namespace=namespace), query=query)
            if not answer.done:
                return answer
            items.extend(keep(obj) for obj in answer.body.pop("items", None) or ())
            token = answer.body["metadata"].get("continue")
            if not token:
                return Outcome(Result.DONE, body=answer.body, items=tuple(items))
            query["continue"] = token

    async def create(
        self,
        resource: Resource,
        obj: Mapping[str, Any],
        namespace: str | None = None,
        *,
        dry_run: bool = False,
    ) -> Outcome:
        """Creates an object; a CONFLICT if there is one of that name."""
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        return await self._request(
            "POST",
            resource.path(namespace=namespace),
            query={**query, "dryRun": "All"} if dry_run else query,
            data=json.dumps(obj).encode(),
            content_type="application/json",
        )

    async def request_token(self, *, namespace: str, name: str, seconds: int) -> Outcome:
        """Asks for a token of a ServiceAccount, by default for the API server (TokenRequest)."""
        asked = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        return await self._request(
            "POST",
            f"{SERVICE_ACCOUNTS.path(namespace=namespace, name=name)}/token",
            data=json.dumps(asked).encode(),
            content_type="application/json",
        )

    async def patch_json(
        self,
        resource: Resource,
        patch: list[dict[str, Any]],
        *,
        name: str,
        namespace: str | None = None,
        dry_run: bool = False,
    ) -> Outcome:
        """Applies a JSON patch; a failed `test` in it is a CONFLICT."""
        path = resource.path(namespace=namespace, name=name)
        return await self._patch(path, patch, _JSON_PATCH, dry_run=dry_run)

    async def patch_merge(
        self,
        resource: Resource,
        patch: Mapping[str, Any],
        *,
        name: str,
        namespace: str | None = None,
        subresource: str = "",
    ) -> Outcome:
        """Applies a merge patch; name `uid` or `resourceVersion` in it to guard the write."""
        path = resource.path(namespace=namespace, name=name)
        return await self._patch(f"{path}{subresource and '/' + subresource}", patch, _MERGE_PATCH)

    async def delete(
        self,
        resource: Resource,
        *,
        name: str,
        uid: str,
        namespace: str | None = None,
        version: str | None = None,
    ) -> Outcome:
        """Deletes the very object of this uid, dependents in the background; a CONFLICT if another
        has its name by now, or if it is not of this resourceVersion any more, where one is given.
        """
        seen = {"uid": uid} if version is None else {"uid": uid, "resourceVersion": version}
        options = {"preconditions": seen, "propagationPolicy": "Background"}
        return await self._request(
            "DELETE",
            resource.path(namespace=namespace, name=name),
            data=json.dumps(options).encode(),
            content_type="application/json",
        )

    async def watch(
        self, resource: Resource, *, since: str, seconds: int, labels: str = "", fields: str = ""
    ) -> AsyncIterator[dict[str, Any]]:
        """Yields watch events after a resource version, for about `seconds`.

        Raises aiohttp.ClientError, TimeoutError or ValueError when the stream breaks.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
            "timeoutSeconds": str(seconds),
            **_selectors(labels, fields),
        }
        # The server ends the watch itself, so a longer silence is a dead connection.
        timeout = ClientTimeout(total=None, sock_connect=5, sock_read=seconds + _GRACE_SECONDS)
        url = self._connection.server + resource.path()
        async with self._connection.session.get(url, params=query, timeout=timeout) as response:
            response.raise_for_status()
            async for line in _lines(response):
                yield json.loads(line)

    async def server_version(self) -> Outcome:
        """Reads what the API server says of itself; `gitVersion` is its version."""
        return await self._request("GET", "/version")

    async def served(self, group: str, version: str) -> Outcome:
        """Reads which kinds of a group the API server serves: `resources`, each with its `name`.

        Every authenticated user may, by default; a group that is not served answers 404.
        """
        return await self._request("GET", f"/apis/{group}/{version}")

    async def metric(self, start: str) -> str:
        """The first line of its /metrics that starts so; empty if there is none, or no right."""
        url = f"{self._connection.server}/metrics"
        try:
            async with self._connection.session.get(
                url, timeout=_TIMEOUT, headers={"Accept": "text/plain"}
            ) as response:
                if response.status == HTTPStatus.OK:
                    async for line in _lines(response):
                        if line.startswith(start.encode()):
                            return line.decode(errors="replace")
        except (ClientError, TimeoutError, OSError):
            pass  # as good as no metric: there are other ways to find out
        return ""

    async def _patch(
        self, path: str, patch: Any, content_type: str, *, dry_run: bool = False
    ) -> Outcome:
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        return await self._request(
            "PATCH", path, query=query, data=json.dumps(patch).encode(), content_type=content_type
        )

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        data: bytes | None = None,
        content_type: str | None = None,
    ) -> Outcome:
        headers = {"Content-Type": content_type} if content_type else {}
        url = self._connection.server + path
        try:
            async with self._connection.session.request(
                method,
                url,
                params=query,
                data=data,
                headers=headers,
                timeout=_TIMEOUT,
                trace_request_ctx=self._fence if data is not None else None,
            ) as response:
                outcome = _outcome(response, await response.read())
        except (ClientError, TimeoutError, OSError) as error:
            outcome = Outcome(Result.UNAVAILABLE, _cause(error))
        if data is not None and "dryRun" not in (query or {}):
            self.observe(path, outcome)
        return outcome


def _cause(error: Exception) -> str:
    """What went wrong, in one line; aiohttp wraps our own refusal to send."""
    if isinstance(error.__cause__, FencedError):
        return str(error.__cause__)
    return f"{type(error).__name__}: {error}"


def _selectors(labels: str, fields: str) -> dict[str, str]:
    """What a list or a watch is asked for; an empty selector is none."""
    return {
        name: value
        for name, value in (("labelSelector", labels), ("fieldSelector", fields))
        if value
    }


def _outcome(response: ClientResponse, content: bytes) -> Outcome:
    body = _json_object(content)
    if response.status < 400:
        if body is not None:
            return Outcome(Result.DONE, body=body, code=response.status)
        # Not quoted: it may be what is left of an object.
        unreadable = f"the answer is no JSON object (HTTP {response.status})"
        return Outcome(Result.UNAVAILABLE, unreadable)
    status = body or {}
    message = str(status.get("message") or content.decode(errors="replace"))
    return Outcome(
        _result(response.status, status),
        f"{_readable(message)} (HTTP {response.status})",
        code=response.status,
        retry_after=retry_after(response.headers),
    )


def _readable(message: str) -> str:
    """The server's words without the objects that it quotes.

    A strict decoding error repeats the whole object, which helps nobody and may hold
    what does not belong into a status or a log.
    """
    _, marker, rest = message.rpartition("strict decoding error: ")
    return _LONG_QUOTE.sub('"…"', marker + rest)[:_MAX_MESSAGE]


def _result(code: int, status: Mapping[str, Any]) -> Result:
    details = status.get("details") or {}
    if code == 404:
        # A missing resource type answers 404 too, but without the object's name.
        return Result.GONE if details.get("name") else Result.UNAVAILABLE
    if code == 409:
        return Result.CONFLICT
    if code in (401, 403):
        # Admission plugins refuse with 403 as well; only authorization names the user.
        return Result.FORBIDDEN if _lacks_right(code, status) else Result.REFUSED
    if code == 422 and _guard_failed(details):
        return Result.CONFLICT
    return Result.REFUSED if code in (400, 413, 422) else Result.UNAVAILABLE


def _guard_failed(details: Mapping[str, Any]) -> bool:
    """A failed `test` of a JSON patch has no causes; another uid is one of metadata.uid."""
    causes = details.get("causes") or ()
    return not causes or any(cause.get("field") == "metadata.uid" for cause in causes)


def _lacks_right(code: int, status: Mapping[str, Any]) -> bool:
    return code == 401 or 'forbidden: User "' in str(status.get("message"))


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(content)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def retry_after(headers: Mapping[str, str]) -> float:
    """For how many seconds the server asks to be left alone; it never sends a date."""
    header = headers.get("Retry-After", "")
    return float(header) if header.isdigit() else 0.0


async def _lines(response: ClientResponse) -> AsyncIterator[bytes]:
    """Splits a stream into lines; an event may be larger than any read buffer."""
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line
        await asyncio.sleep(0)
