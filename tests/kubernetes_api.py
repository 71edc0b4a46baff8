"""A Kubernetes API server of the tests: pods (list, watch, log) and leases, over real HTTP, in a thread of its own.

It keeps to what real ones do: https://kubernetes.io/docs/reference/using-api/api-concepts/ for lists in pages, watches
from a resourceVersion, bookmarks and 410 Gone; the kubelet's container log API for `follow`, `sinceTime` (to the
second, as it is passed on), `timestamps`, `tailLines`, `limitBytes`, `previous`, and for what is gone: it serves the
container's present file alone, so what was rotated away is not there; one that follows goes on over a rotation.
"""

from __future__ import annotations

import asyncio
import copy
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from joblog.formats import rfc3339_nano
from joblog.worker.kubernetes.pod import parse_time_ns

TOKEN = "test-token"
Json = dict[str, Any]


@dataclass
class ContainerLog:
    """What one run of a container has written. window: index of the first piece in the present file."""

    pieces: list[tuple[int, bytes]] = field(default_factory=list)
    window: int = 0
    ended: bool = False


@dataclass
class Faults:
    """What goes wrong, set by tests. watch_status, log_status: answers instead of the next so many."""

    statuses: list[tuple[str, int]] = field(default_factory=list)
    follow_limit_bytes: int = 0
    refuse: bool = False
    lease: Any = None


class KubernetesApi:
    """All state belongs to the server's loop; methods may be called from any thread but that one."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[str] = []
        self.faults = Faults()
        self._version = 100
        self._oldest = 100
        self._pods: dict[tuple[str, str], Json] = {}
        self._events: list[tuple[int, str, Json]] = []
        self._logs: dict[tuple[str, str, str, int], ContainerLog] = {}
        self._leases: dict[tuple[str, str], Json] = {}
        self._open: set[asyncio.Transport] = set()
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    # What tests do to it

    def put_pod(self, pod: Json) -> None:
        """A new pod, or a new state of one."""
        self._do(lambda: self._put(copy.deepcopy(pod)))

    def delete_pod(self, namespace: str, name: str) -> None:
        self._do(lambda: self._delete(namespace, name))

    def pod(self, namespace: str, name: str) -> Json:
        found: Json = self._do(lambda: copy.deepcopy(self._pods[namespace, name]))
        return found

    def write(
        self, namespace: str, name: str, container: str, data: bytes, *, restart: int = 0, time_ns: int = 0
    ) -> None:
        """A container writes: each line, or part of one, is an entry of its file."""
        stamp = time_ns or time.time_ns()

        def work() -> None:
            log = self._log(namespace, name, container, restart)
            log.pieces += [(stamp, piece) for piece in data.splitlines(keepends=True)]
            self._wake()

        self._do(work)

    def rotate(self, namespace: str, name: str, container: str, *, restart: int = 0) -> None:
        """The kubelet begins a new file: what is in the present one can't be had any more."""

        def work() -> None:
            log = self._log(namespace, name, container, restart)
            log.window = len(log.pieces)

        self._do(work)

    def end_log(self, namespace: str, name: str, container: str, *, restart: int = 0) -> None:
        """The container has ended: who follows comes to an end."""

        def work() -> None:
            self._log(namespace, name, container, restart).ended = True
            self._wake()

        self._do(work)

    def forget_history(self) -> None:
        """Watches from before now get 410 Gone."""

        def work() -> None:
            self._version += 1
            self._oldest = self._version
            self._events.clear()

        self._do(work)

    def drop_connections(self) -> None:
        """Cuts every answer that is under way."""

        def work() -> None:
            for transport in list(self._open):
                transport.abort()

        self._do(work)

    def lease(self, namespace: str, name: str) -> Json | None:
        found: Json | None = self._do(lambda: copy.deepcopy(self._leases.get((namespace, name))))
        return found

    def answer_lease(self, answer: Any) -> None:
        """Who asks for a lease gets this, whatever it is; None: what is so."""
        self._do(lambda: setattr(self.faults, "lease", answer))

    def count(self, text: str) -> int:
        """How many requests had this in path and query."""
        return sum(text in request for request in list(self.requests))

    def kubeconfig(self, path: Path) -> Path:
        """A file with which clients find it."""
        cluster = {"name": "test", "cluster": {"server": self.url}}
        user = {"name": "test", "user": {"token": TOKEN}}
        context = {"name": "test", "context": {"cluster": "test", "user": "test"}}
        said = {"apiVersion": "v1", "kind": "Config", "current-context": "test"}
        path.write_text(json.dumps({**said, "clusters": [cluster], "users": [user], "contexts": [context]}))
        path.chmod(0o600)
        return path

    # Lifecycle

    def start(self) -> None:
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    def stop(self) -> None:
        self.drop_connections()
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> str:
        app = web.Application(middlewares=[self._gate])
        app.router.add_get("/api/v1/pods", self._list_pods)
        app.router.add_get("/api/v1/namespaces/{namespace}/pods", self._list_pods)
        app.router.add_get("/api/v1/namespaces/{namespace}/pods/{name}", self._get_pod)
        app.router.add_get("/api/v1/namespaces/{namespace}/pods/{name}/log", self._read_log)
        leases = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        app.router.add_get(leases + "/{name}", self._get_lease)
        app.router.add_post(leases, self._create_lease)
        app.router.add_put(leases + "/{name}", self._update_lease)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def _do(self, work: Callable[[], Any]) -> Any:
        done: Future[Any] = Future()

        def run() -> None:
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result(10)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    @web.middleware
    async def _gate(self, request: web.Request, handler: Callable[[web.Request], Any]) -> Any:
        self.requests.append(f"{request.method} {request.path_qs}")
        if self.faults.refuse:
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=500)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _status(401, "Unauthorized", "Unauthorized")
        for index, (text, code) in enumerate(self.faults.statuses):
            if text in request.path_qs:
                del self.faults.statuses[index]
                return _status(code, "Expired" if code == 410 else "ServerError", "a fault of the test")
        transport = request.transport
        if transport is None:
            return web.Response(status=499)
        self._open.add(transport)
        try:
            return await handler(request)
        except ConnectionResetError:
            return web.Response(status=499)
        finally:
            self._open.discard(transport)

    # Pods

    def _next(self) -> str:
        self._version += 1
        return str(self._version)

    def _put(self, pod: Json) -> None:
        key = pod["metadata"]["namespace"], pod["metadata"]["name"]
        kind = "MODIFIED" if key in self._pods else "ADDED"
        pod["metadata"]["resourceVersion"] = self._next()
        self._pods[key] = pod
        self._events.append((self._version, kind, copy.deepcopy(pod)))
        self._wake()

    def _delete(self, namespace: str, name: str) -> None:
        pod = self._pods.pop((namespace, name))
        pod["metadata"]["resourceVersion"] = self._next()
        self._events.append((self._version, "DELETED", pod))
        for key, log in self._logs.items():
            if key[:2] == (namespace, name):
                log.ended = True
        self._wake()

    async def _get_pod(self, request: web.Request) -> web.StreamResponse:
        pod = self._pods.get((request.match_info["namespace"], request.match_info["name"]))
        return web.json_response(pod) if pod else _status(404, "NotFound", "pods not found")

    async def _list_pods(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") in ("1", "true"):
            return await self._watch(request)
        chosen = [pod for key, pod in sorted(self._pods.items()) if _selected(request, pod)]
        begin = int(request.query.get("continue") or 0)
        limit = int(request.query.get("limit") or len(chosen) or 1)
        meta = {"resourceVersion": str(self._version)}
        if begin + limit < len(chosen):
            meta["continue"] = str(begin + limit)
        # Items of a list do not say what they are.
        items = [{k: v for k, v in pod.items() if k not in ("kind", "apiVersion")} for pod in chosen]
        said = {"kind": "PodList", "apiVersion": "v1", "metadata": meta, "items": items[begin : begin + limit]}
        return web.json_response(said)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        version = int(request.query.get("resourceVersion") or self._version)
        if version < self._oldest:
            return _status(410, "Expired", f"too old resource version: {version} ({self._oldest})")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        deadline = self._loop.time() + float(request.query.get("timeoutSeconds") or 300)
        while self._loop.time() < deadline:
            changed = self._changed
            if version < self._oldest:
                gone = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}
                await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
                break
            for number, kind, pod in [event for event in self._events if event[0] > version]:
                if _selected(request, pod):
                    await response.write(json.dumps({"type": kind, "object": pod}).encode() + b"\n")
                version = number
            if request.query.get("allowWatchBookmarks") == "true":
                mark = {"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}}
                await response.write(json.dumps({"type": "BOOKMARK", "object": mark}).encode() + b"\n")
            await _until(changed, min(0.5, max(0.0, deadline - self._loop.time())))
        await response.write_eof()
        return response

    # Logs

    def _log(self, namespace: str, name: str, container: str, restart: int) -> ContainerLog:
        return self._logs.setdefault((namespace, name, container, restart), ContainerLog())

    def _run(self, pod: Json, container: str, *, previous: bool) -> int:
        """Whose log the kubelet gives: of one that waits to be started again the last state is the present run."""
        states: list[Json] = pod["status"].get("containerStatuses", [])
        state: Json = next((one for one in states if one["name"] == container), {"restartCount": 0, "state": {}})
        last = state.get("lastState", {}).get("terminated", {}).get("containerID")
        waits = "waiting" in state["state"] and last is not None and last == state.get("containerID")
        return int(state["restartCount"]) - (previous and not waits)

    async def _read_log(self, request: web.Request) -> web.StreamResponse:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        query = request.query
        pod = self._pods.get((namespace, name))
        if pod is None:
            return _status(404, "NotFound", f'pods "{name}" not found')
        container = query.get("container") or pod["spec"]["containers"][0]["name"]
        restart = self._run(pod, container, previous=query.get("previous") == "true")
        log = self._logs.get((namespace, name, container, restart))
        if log is None:
            return _status(400, "BadRequest", f'container "{container}" in pod "{name}" is waiting to start')
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        since_ns = parse_time_ns(query.get("sinceTime", "")) // 10**9 * 10**9
        at = log.window
        if "tailLines" in query:
            at = max(at, len(log.pieces) - int(query["tailLines"]))
        writer = _LogWriter(query.get("timestamps") == "true", int(query.get("limitBytes") or 0))
        left = self.faults.follow_limit_bytes
        while True:
            changed = self._changed
            while at < len(log.pieces):
                stamp, piece = log.pieces[at]
                at += 1
                data = writer.line(stamp, piece) if stamp >= since_ns else b""
                await response.write(data)
                left -= len(data)
                if self.faults.follow_limit_bytes and left <= 0:
                    assert request.transport is not None
                    request.transport.abort()
                    return response
            if query.get("follow") != "true" or log.ended or writer.full:
                break
            await _until(changed, 5)
        await response.write_eof()
        return response

    # Leases

    async def _get_lease(self, request: web.Request) -> web.StreamResponse:
        if self.faults.lease is not None:
            return web.json_response(self.faults.lease)
        lease = self._leases.get((request.match_info["namespace"], request.match_info["name"]))
        return web.json_response(lease) if lease else _status(404, "NotFound", "leases not found")

    async def _create_lease(self, request: web.Request) -> web.StreamResponse:
        lease = await request.json()
        key = request.match_info["namespace"], lease["metadata"]["name"]
        if key in self._leases:
            return _status(409, "AlreadyExists", "leases already exists")
        return self._keep(key, lease, 201)

    async def _update_lease(self, request: web.Request) -> web.StreamResponse:
        lease = await request.json()
        key = request.match_info["namespace"], request.match_info["name"]
        there = self._leases.get(key)
        if there is None:
            return _status(404, "NotFound", "leases not found")
        if lease["metadata"].get("resourceVersion") != there["metadata"]["resourceVersion"]:
            return _status(409, "Conflict", "the object has been modified")
        return self._keep(key, lease, 200)

    def _keep(self, key: tuple[str, str], lease: Json, code: int) -> web.Response:
        lease["metadata"]["resourceVersion"] = self._next()
        self._leases[key] = lease
        return web.json_response(lease, status=code)


class _LogWriter:
    """Lines as the kubelet gives them out: a time before each, and not within one that was written in parts."""

    def __init__(self, timestamps: bool, limit_bytes: int) -> None:
        self._timestamps = timestamps
        self._limited = limit_bytes > 0
        self._left = limit_bytes
        self._at_start = True

    @property
    def full(self) -> bool:
        return self._limited and self._left <= 0

    def line(self, stamp: int, piece: bytes) -> bytes:
        data = (rfc3339_nano(stamp).encode() + b" " if self._timestamps and self._at_start else b"") + piece
        self._at_start = piece.endswith(b"\n")
        if self._limited:
            data = data[: self._left]
            self._left -= len(data)
        return data


def _selected(request: web.Request, pod: Json) -> bool:
    namespace = request.match_info.get("namespace")
    if namespace and pod["metadata"]["namespace"] != namespace:
        return False
    for clause in filter(None, request.query.get("fieldSelector", "").split(",")):
        key, _, value = clause.partition("=")
        found = {"spec.nodeName": pod["spec"].get("nodeName", ""), "metadata.name": pod["metadata"]["name"]}
        if found[key] != value:
            return False
    labels = pod["metadata"].get("labels") or {}
    for clause in filter(None, request.query.get("labelSelector", "").split(",")):
        key, equals, value = clause.partition("=")
        if (labels.get(key) != value) if equals else (key not in labels):
            return False
    return True


def _status(code: int, reason: str, message: str) -> web.Response:
    said = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }
    return web.json_response(said, status=code)


async def _until(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


@contextmanager
def kubernetes_api() -> Iterator[KubernetesApi]:
    """A server until the block ends."""
    api = KubernetesApi()
    api.start()
    try:
        yield api
    finally:
        api.stop()
