"""The Kubernetes API, as far as joblog asks it: JSON and streams over the kept client's connections and credentials.

The only module that imports kubernetes_asyncio, and it does so when a client is opened: that takes a second and 40 MB.
Its generated models are not used: objects stay JSON, of which joblog takes what it knows.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

from joblog.errors import Conflict, Corrupt, Denied, InvalidInput, InvalidSettings, JoblogError, NotFound, Unavailable

IN_CLUSTER = "in-cluster"
REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 10.0
MAX_REPLY_BYTES = 64 << 20
# Of a watch; etcd takes no object above 1.5 MiB.
MAX_LINE_BYTES = 8 << 20
_PIECE_BYTES = 256 << 10


class Gone(JoblogError):
    """The server does not know that resourceVersion any more: list anew."""

    permanent = False


class KubernetesClient:
    """One API server. Belongs to one event loop. Raises Unavailable, Denied, NotFound, Conflict, InvalidInput, Gone."""

    def __init__(self, api: Any, aiohttp: Any) -> None:
        """Use open()."""
        self._api = api
        self._aiohttp = aiohttp

    @classmethod
    async def open(cls, kubeconfig: str = "", context: str = "") -> Self:
        """kubeconfig: a file; `in-cluster` for the pod's own account; empty: that, where there is one, else the file
        that kubectl would take. Raises InvalidSettings.
        """
        try:
            return await cls._open(kubeconfig, context)
        except ImportError:
            raise InvalidSettings(
                "the Kubernetes API needs one more package: pip install 'joblog[kubernetes]', or turn the API off"
            ) from None

    @classmethod
    async def _open(cls, kubeconfig: str, context: str) -> Self:
        import aiohttp
        from kubernetes_asyncio import client, config

        found = client.Configuration()
        try:
            if kubeconfig == IN_CLUSTER or (not kubeconfig and "KUBERNETES_SERVICE_HOST" in os.environ):
                config.load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
            else:
                await config.load_kube_config(
                    config_file=kubeconfig or None,
                    context=context or None,
                    client_configuration=found,
                    persist_config=False,
                )
        except Exception as error:  # noqa: BLE001 - whatever a file makes the library and its parser raise
            where = kubeconfig or "the usual places"
            raise InvalidSettings(f"no access to the Kubernetes API in {where}: {str(error)[:300]}") from None
        # Each log that is followed holds a connection.
        found.connection_pool_maxsize = 0
        return cls(client.ApiClient(configuration=found), aiohttp)

    async def close(self) -> None:
        """Ends its connections."""
        await self._api.close()

    async def get(self, path: str, query: Mapping[str, str | int] | None = None) -> dict[str, Any]:
        """An object."""
        return await self.send("GET", path, query=query)

    async def send(
        self, method: str, path: str, body: object = None, query: Mapping[str, str | int] | None = None
    ) -> dict[str, Any]:
        """Sends an object, and what is answered."""
        async with self._request(method, path, query, body, total=REQUEST_SECONDS) as response:
            data = await _read_all(response.content)
        return _object(data, path)

    async def lines(
        self, path: str, query: Mapping[str, str | int], *, silence_seconds: float
    ) -> AsyncIterator[dict[str, Any]]:
        """The objects of a watch, until the server ends it. Raises Unavailable when the connection ends otherwise."""
        begun = bytearray()
        async with self.stream(path, query, silence_seconds=silence_seconds) as pieces:
            async for piece in pieces:
                begun += piece
                *whole, rest = begun.split(b"\n")
                begun = rest
                if len(begun) > MAX_LINE_BYTES:
                    raise Unavailable(f"{path}: an object of a watch has more than {MAX_LINE_BYTES} bytes")
                for line in whole:
                    if line:
                        yield _object(bytes(line), path)

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str | int], *, silence_seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of an answer as they come. silence_seconds: after so long without any, Unavailable; 0: never."""
        async with self._request("GET", path, query, silence=silence_seconds) as response:
            yield _pieces(response.content)

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None,
        body: object = None,
        *,
        total: float | None = None,
        silence: float = 0.0,
    ) -> AsyncIterator[Any]:
        aiohttp = self._aiohttp
        headers = {"Accept": "application/json, */*"}
        timeout = aiohttp.ClientTimeout(total=total, sock_connect=CONNECT_SECONDS, sock_read=silence or None)
        response = None
        try:
            await self._authorize(headers)
            response = await self._api.rest_client.request(
                method,
                self._api.configuration.host + path,
                query_params=list((query or {}).items()),
                headers=headers,
                body=body,
                _preload_content=False,
                _request_timeout=timeout,
            )
            if response.status >= 300:
                raise _refusal(response.status, await _read_all(response.content), f"{method} {path}")
            yield response
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"Kubernetes API, {method} {path}: {type(error).__name__}: {str(error)[:200]}") from None
        finally:
            if response is not None:
                response.close()

    async def _authorize(self, headers: dict[str, str]) -> None:
        try:
            await self._api.update_params_for_auth(headers, [], ["BearerToken"])
        except Exception as error:  # noqa: BLE001 - whatever the file of the account's token makes the library raise
            raise Unavailable(f"Kubernetes API: its credentials can't be had now: {str(error)[:200]}") from None


async def _pieces(content: Any) -> AsyncIterator[bytes]:
    while piece := await content.read(_PIECE_BYTES):
        yield piece


async def _read_all(content: Any) -> bytes:
    found = bytearray()
    while piece := await content.read(_PIECE_BYTES):
        found += piece
        if len(found) > MAX_REPLY_BYTES:
            raise Unavailable(f"the Kubernetes API answers with more than {MAX_REPLY_BYTES} bytes")
    return bytes(found)


def _object(data: bytes, path: str) -> dict[str, Any]:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        raise Corrupt(f"Kubernetes API, {path}: what came is no JSON: {data[:60]!r}") from None
    if not isinstance(said, dict):
        raise Corrupt(f"Kubernetes API, {path}: what came is no object: {data[:60]!r}")
    return said


def refusal_of(code: int, message: str) -> JoblogError:
    """What a status of the API means."""
    if code in (401, 403):
        return Denied(message)
    if code == 404:
        return NotFound(message)
    if code == 409:
        return Conflict(message)
    if code == 410:
        return Gone(message)
    if code == 429 or code >= 500:
        return Unavailable(message)
    return InvalidInput(message)


def _refusal(code: int, data: bytes, what: str) -> JoblogError:
    try:
        said = json.loads(data)
        message = str(said.get("message", "")) if isinstance(said, dict) else ""
    except (ValueError, RecursionError):
        message = data[:200].decode(errors="replace")
    return refusal_of(code, f"Kubernetes API, {what}: {code} {message[:300]}")


class Connection:
    """A client that is opened when it is first asked for, and then is the same for all who ask."""

    def __init__(self, kubeconfig: str = "", context: str = "") -> None:
        """As of KubernetesClient.open()."""
        self._options = kubeconfig, context
        self._client: KubernetesClient | None = None
        self._opening = asyncio.Lock()

    async def __call__(self) -> KubernetesClient:
        """The client. Raises InvalidSettings."""
        async with self._opening:
            if self._client is None:
                self._client = await KubernetesClient.open(*self._options)
            return self._client

    async def close(self) -> None:
        """Ends the client's connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None
