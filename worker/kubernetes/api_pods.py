"""Pods with an API to ask: identity by rules, ends by the pods' status."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from joblog.worker.kubernetes.client import Connection
from joblog.worker.kubernetes.pod import Pod
from joblog.worker.kubernetes.pods import (
    ContainerEnd,
    ContainerRef,
    Excluded,
    LogTarget,
    NotYet,
    Selection,
    WithoutApi,
)
from joblog.worker.kubernetes.rules import OWN_PREFIX, Container, Identity
from joblog.worker.kubernetes.watching import PodWatch, Watched

ASK_AGAIN_SECONDS = 0.5
# A folder whose pod the API does not have: it may only not have come yet.
UNKNOWN_SECONDS = 10.0
# So much of a command line is recorded; the leader does not take records without a bound.
MAX_COMMAND_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class LabelSelection:
    """Which pods, by labels, each KEY=GLOB. include: any of these, all where it is empty; exclude: none of these."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def excluded(self, pod: Pod) -> str:
        """Why a pod's output is not collected; empty when it is."""
        if pod.annotations.get(f"{OWN_PREFIX}collect", pod.labels.get(f"{OWN_PREFIX}collect")) == "false":
            return f"it says {OWN_PREFIX}collect=false"
        for clause in self.exclude:
            if _matches(clause, pod):
                return f"excluded by label {clause}"
        if self.include and not any(_matches(clause, pod) for clause in self.include):
            return "its labels are not among those included"
        return ""


def _matches(clause: str, pod: Pod) -> bool:
    key, _, glob = clause.partition("=")
    return key in pod.labels and fnmatchcase(pod.labels[key], glob or "*")


class ApiPods(PodWatch):
    """Watches the pods of this node, and answers for them.

    While the API can't be reached, containers that are not known yet wait for wait_seconds, and then go by the names of
    their folders alone; so does a container whose pod the API does not have.
    """

    name = "pods of this node"

    def __init__(
        self,
        connection: Connection,
        watched: Watched,
        identity: Identity,
        selection: Selection | None = None,
        labels: LabelSelection | None = None,
        *,
        wait_seconds: float = 60.0,
        unknown_seconds: float = UNKNOWN_SECONDS,
    ) -> None:
        super().__init__(connection, watched)
        self._identity = identity
        self._selection = selection or Selection()
        self._labels = labels or LabelSelection()
        self._wait_seconds = wait_seconds
        self._unknown_seconds = unknown_seconds
        self._without = WithoutApi(self._selection, host=watched.node)
        self._asked: dict[ContainerRef, float] = {}

    async def target(self, ref: ContainerRef) -> LogTarget | Excluded | NotYet:
        if reason := self._selection.excluded(ref):
            return Excluded(reason)
        found = self.find(ref.namespace, ref.pod, ref.uid)
        if found is None:
            return await self._unknown(ref)
        self._asked.pop(ref, None)
        pod = found[0]
        if reason := self._labels.excluded(pod):
            return Excluded(reason)
        return target_of(self._identity, Container(pod, ref))

    async def _unknown(self, ref: ContainerRef) -> LogTarget | Excluded | NotYet:
        now = time.monotonic()
        since = self._asked.setdefault(ref, now)
        patience = self._unknown_seconds if self.synced.is_set() and not self.failure else self._wait_seconds
        if now - since < patience:
            return NotYet(ASK_AGAIN_SECONDS)
        del self._asked[ref]
        return await self._without.target(ref)

    async def ended(self, ref: ContainerRef) -> ContainerEnd | None:
        found = self.find(ref.namespace, ref.pod, ref.uid)
        if found is None:
            return None
        pod, gone = found
        end = pod.end_of(ref.container, ref.restart)
        return ContainerEnd(reason=pod.reason) if end is None and gone else end

    async def alive(self, ref: ContainerRef) -> bool | None:
        found = self.find(ref.namespace, ref.pod, ref.uid)
        if found is None:
            return None
        pod, gone = found
        return False if gone else pod.alive(ref.container, ref.restart)

    async def wait_synced(self, seconds: float) -> bool:
        """Whether the pods were listed within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self.synced.wait()
        except TimeoutError:
            return False
        return True


def target_of(identity: Identity, container: Container) -> LogTarget:
    """Where a container's output goes."""
    pod, ref = container.pod, container.ref
    spec, state = pod.containers.get(ref.container), pod.states.get(ref.container)
    started_ns = state.started_ns if state is not None and state.restarts == ref.restart else 0
    return LogTarget(
        identity.name(container),
        identity.labels(container),
        cut_command(spec.command) if spec is not None else (),
        pod.node,
        started_ns,
    )


def cut_command(words: Sequence[str]) -> tuple[str, ...]:
    """As much of a command line as is recorded."""
    found: list[str] = []
    room = MAX_COMMAND_BYTES
    for word in words:
        size = len(word.encode()) + 4
        if size > room:
            return (*found, "...")
        found.append(word)
        room -= size
    return tuple(found)
