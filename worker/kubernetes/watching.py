"""The pods that there are, kept up to date: a list, then a watch from there on, anew when the server has forgotten."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from joblog.errors import Corrupt, InvalidInput, JoblogError
from joblog.service import Service
from joblog.worker.kubernetes.client import Connection, Gone, refusal_of
from joblog.worker.kubernetes.pod import Pod, parse_pod

log = logging.getLogger(__name__)

PAGE = 500
# More pods than any cluster has.
MAX_PAGES = 1000
# The server ends a watch by itself then; spread, so that not all agents come back at once.
WATCH_SECONDS = (240, 300)
# Bookmarks come about once a minute: silence for longer is a connection that is dead.
SILENCE_SECONDS = 330.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 30.0
# Pods that are gone are remembered, so that who reads their files learns how they ended.
GONE_SECONDS = 900.0
MAX_GONE = 5000


class Watched(NamedTuple):
    """What is watched. node: only pods of this one; empty: of all. namespace: empty: of all. selector: by labels."""

    node: str = ""
    namespace: str = ""
    selector: str = ""

    @property
    def path(self) -> str:
        """Of the list."""
        return f"/api/v1/namespaces/{self.namespace}/pods" if self.namespace else "/api/v1/pods"

    def query(self) -> dict[str, str | int]:
        """What limits it."""
        query: dict[str, str | int] = {}
        if self.node:
            query["fieldSelector"] = f"spec.nodeName={self.node}"
        if self.selector:
            query["labelSelector"] = self.selector
        return query


class PodWatch(Service):
    """Keeps the pods. `synced` is set once they were listed; `failure` says why they can't be had now."""

    name = "pod watch"

    def __init__(
        self,
        connection: Connection,
        watched: Watched,
        *,
        changed: Callable[[Pod, bool], None] = lambda _pod, _gone: None,
        seconds: tuple[int, int] = WATCH_SECONDS,
    ) -> None:
        """changed: called with each pod that is new or changed, and True when it is gone."""
        self._connection = connection
        self._watched = watched
        self._changed = changed
        self._seconds = seconds
        self._pods: dict[str, Pod] = {}
        self._by_place: dict[tuple[str, str, str], str] = {}
        self._gone: OrderedDict[tuple[str, str, str], tuple[float, Pod]] = OrderedDict()
        self._version = ""
        self._has_progressed = False
        self.synced = asyncio.Event()
        self.failure = ""

    def all(self) -> Iterator[Pod]:
        """The pods that there are."""
        return iter(list(self._pods.values()))

    def find(self, namespace: str, name: str, uid: str) -> tuple[Pod, bool] | None:
        """A pod by what its folder is called, and whether it is gone; None where it is not known."""
        place = namespace, name, uid
        if (api_uid := self._by_place.get(place)) is not None:
            return self._pods[api_uid], False
        gone = self._gone.get(place)
        return None if gone is None else (gone[1], True)

    async def start(self) -> None:
        """Finds out how to reach the API; whether it is there is not asked yet. Raises InvalidSettings."""
        await self._connection()

    async def stop(self) -> None:
        """Ends the connections."""
        await self._connection.close()

    async def run(self) -> None:
        """Watches until cancelled."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            self._has_progressed = False
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                self._said("")
            except Gone:
                self._version = ""
            except JoblogError as error:
                self._said(str(error))
            if self._has_progressed:
                pause = _FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads requests
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _said(self, failure: str) -> None:
        if failure and failure != self.failure:
            log.warning("pods can't be watched, which is tried again: %s", failure)
        elif self.failure and not failure:
            log.info("pods are watched again")
        self.failure = failure

    async def _list(self) -> None:
        found: dict[str, Pod] = {}
        query, pages = {**self._watched.query(), "limit": PAGE}, 0
        while True:
            page = await (await self._connection()).get(self._watched.path, query)
            items, meta = page.get("items") or [], page.get("metadata") or {}
            if not isinstance(items, list) or not isinstance(meta, dict):
                raise Corrupt(f"Kubernetes API, {self._watched.path}: what came is no list of pods")
            pages += 1
            for item in items:
                if (pod := _parsed(item)) is not None:
                    found[pod.api_uid] = pod
            if not meta.get("continue"):
                break
            if pages == MAX_PAGES:
                raise Corrupt(f"Kubernetes API, {self._watched.path}: the list of pods has no end")
            query["continue"] = str(meta["continue"])
        for pod in [pod for uid, pod in self._pods.items() if uid not in found]:
            self._remove(pod)
        for pod in found.values():
            self._put(pod)
        self._version = str(meta.get("resourceVersion") or "")
        self._has_progressed = True
        self._said("")
        self.synced.set()

    async def _watch(self) -> None:
        seconds = random.randint(*self._seconds)  # noqa: S311
        query = {
            **self._watched.query(),
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": seconds,
        }
        client = await self._connection()
        async for event in client.lines(self._watched.path, query, silence_seconds=SILENCE_SECONDS):
            self._take(event)
            self._has_progressed = True
            if self.failure:
                self._said("")

    def _take(self, event: Mapping[str, object]) -> None:
        kind, said = event.get("type"), event.get("object")
        if not isinstance(said, dict):
            return
        if kind == "ERROR":
            code = said.get("code")
            raise refusal_of(code if type(code) is int else 500, f"watch of pods: {str(said.get('message'))[:200]}")
        if kind in ("ADDED", "MODIFIED", "DELETED") and (pod := _parsed(said)) is not None:
            if kind == "DELETED":
                self._remove(pod)
            else:
                self._put(pod)
        meta = said.get("metadata")
        if isinstance(meta, dict) and isinstance(meta.get("resourceVersion"), str):
            self._version = meta["resourceVersion"]

    def _put(self, pod: Pod) -> None:
        if self._pods.get(pod.api_uid) == pod:
            return
        self._pods[pod.api_uid] = pod
        self._by_place[pod.namespace, pod.name, pod.uid] = pod.api_uid
        self._changed(pod, False)

    def _remove(self, pod: Pod) -> None:
        if self._pods.pop(pod.api_uid, None) is None:
            return
        place = pod.namespace, pod.name, pod.uid
        if self._by_place.get(place) == pod.api_uid:
            del self._by_place[place]
        now = time.monotonic()
        self._gone[place] = now, pod
        while self._gone:
            since, _ = next(iter(self._gone.values()))
            if len(self._gone) <= MAX_GONE and since > now - GONE_SECONDS:
                break
            self._gone.popitem(last=False)
        self._changed(pod, True)


def _parsed(said: object) -> Pod | None:
    try:
        return parse_pod(said)
    except InvalidInput as error:
        log.warning("%s", error)
        return None
