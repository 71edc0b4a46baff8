"""Finds containers through the Kubernetes API, and follows each one's log to its end."""

from __future__ import annotations

import asyncio
import json
import logging
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from joblog.errors import Conflict, Corrupt, JoblogError, NotFound, Unavailable
from joblog.service import Service
from joblog.uncounted import LOST_LINES
from joblog.worker.cluster.joining import Join
from joblog.worker.cluster.tail import LeaderTails
from joblog.worker.cluster.track import ContainerTrack
from joblog.worker.following.outcome import outcome_of
from joblog.worker.following.spools import FollowedSpools
from joblog.worker.following.trouble import Trouble
from joblog.worker.kubernetes.api_pods import LabelSelection, target_of
from joblog.worker.kubernetes.client import Connection
from joblog.worker.kubernetes.pod import Pod
from joblog.worker.kubernetes.pods import ContainerEnd, ContainerRef, Selection
from joblog.worker.kubernetes.rules import Container, Identity
from joblog.worker.kubernetes.watching import PodWatch
from joblog.worker.spool.followed import FollowedWriter
from joblog.worker.spool.sealing import SpoolKey

log = logging.getLogger(__name__)

SOURCE = "watch:"
# What went wrong with one container is tried again so soon at the latest: its log may be rotated away.
_LONGEST_PAUSE_SECONDS = 30.0
_LOOK_SECONDS = 30.0
# How long the keys of sealed spools that were left are waited for, and how often they are asked for.
_KEYS_SECONDS = 60.0
_KEYS_PAUSE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class WatcherRules:
    """Which containers, and which logs they are."""

    identity: Identity
    selection: Selection
    labels: LabelSelection
    max_containers: int = 2000


class Watcher(Service):
    """Follows the containers of the pods that `watches` know.

    spools: of logs that are followed by watchers alone. new_key: what new ones are sealed with; None: they are not.
    adopt: told of each that is new or taken up.
    """

    name = "watcher"

    def __init__(
        self,
        watches: Sequence[PodWatch],
        connection: Connection,
        tails: LeaderTails,
        spools: FollowedSpools,
        rules: WatcherRules,
        *,
        new_key: Callable[[], Awaitable[SpoolKey]] | None,
        adopt: Callable[[str], None],
    ) -> None:
        self._watches = watches
        self._connection = connection
        self._tails = tails
        self._spools = spools
        self._rules = rules
        self._new_key = new_key
        self._adopt = adopt
        self._tracks: dict[ContainerRef, asyncio.Task[None]] = {}
        # Containers of which nothing more is to be had, or that are not collected.
        self._done: set[ContainerRef] = set()
        # Spools of logs that are not ended, and that nobody follows now: by source, their ids.
        self._left = spools.by_source
        self._changed = asyncio.Event()
        self._crowded = False

    def changed(self, _pod: Pod, _gone: bool) -> None:
        """Told of every change of a pod."""
        self._changed.set()

    async def start(self) -> None:
        """Takes stock of the spools that were left."""
        await asyncio.to_thread(self._spools.look)

    async def run(self) -> None:
        """Looks at the pods whenever one has changed."""
        for watch in self._watches:
            await watch.synced.wait()
        await self._find_sealed()
        log.info("watches the logs of pods through the Kubernetes API")
        while True:
            self._changed.clear()
            self._look()
            await self._end_orphans()
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _find_sealed(self) -> None:
        """Waits for the keys of sealed spools that were left: a log whose spool is among them must get no second one.

        Not for ever: the leader may not have them any more.
        """
        deadline = time.monotonic() + _KEYS_SECONDS
        while self._spools.unread and time.monotonic() < deadline:
            await asyncio.sleep(_KEYS_PAUSE_SECONDS)
            await asyncio.to_thread(self._spools.look, set(self._spools.unread))
        if self._spools.unread:
            log.warning("%d spools are left as they are: their keys are not at hand", len(self._spools.unread))

    async def stop(self) -> None:
        """Lets go of all logs where they are."""
        for task in self._tracks.values():
            task.cancel()
        await asyncio.gather(*self._tracks.values(), return_exceptions=True)
        await self._tails.close()

    def _find(self, ref: ContainerRef) -> tuple[Pod, bool] | None:
        for watch in self._watches:
            if (found := watch.find(ref.namespace, ref.pod, ref.uid)) is not None:
                return found
        return None

    def _look(self) -> None:
        there: set[ContainerRef] = set()
        for watch in self._watches:
            for pod in watch.all():
                there.update(self._runs(pod))
        self._done &= there | self._tracks.keys()
        for ref in sorted(there - self._done - self._tracks.keys()):
            if len(self._tracks) >= self._rules.max_containers:
                if not self._crowded:
                    self._crowded = True
                    log.warning("more than %d containers: the others wait", self._rules.max_containers)
                return
            self._crowded = False
            task = self._tracks[ref] = asyncio.create_task(self._follow(ref))
            task.add_done_callback(lambda _task, ref=ref: self._over(ref))  # type: ignore[misc]

    def _runs(self, pod: Pod) -> list[ContainerRef]:
        """The runs of a pod's containers of which the API may have a log, and such as are to come.

        The log of the latter is opened, so that it is known, and left until the container is started.
        """
        if self._rules.labels.excluded(pod):
            return []
        runs = []
        for container, state in pod.states.items():
            ref = pod.ref(container)
            if self._rules.selection.excluded(ref):
                continue
            if state.running or state.ended is not None or (self._is_to_come(pod, ref) and not self._is_left(ref)):
                runs.append(ref)
            if state.before is not None and state.restarts > 0:
                runs.append(ref._replace(restart=state.restarts - 1))
        return runs

    @staticmethod
    def _is_to_come(pod: Pod, ref: ContainerRef) -> bool:
        return not pod.has_begun(ref.container) and not pod.has_ended

    def _is_left(self, ref: ContainerRef) -> bool:
        return _source_of(ref) in self._left

    def _over(self, ref: ContainerRef) -> None:
        self._tracks.pop(ref, None)
        self._changed.set()

    async def _follow(self, ref: ContainerRef) -> None:
        """Follows one run of a container; what fails is tried again as long as its pod is there."""
        trouble = Trouble(_LONGEST_PAUSE_SECONDS)
        while True:
            track: ContainerTrack | None = None
            try:
                track = await self._begin(ref)
                found = self._find(ref)
                if track is not None and found is not None and self._is_to_come(found[0], ref):
                    self._let_go(track)
                    return
                if track is not None:
                    await track.run()
                self._done.add(ref)
                return
            except Conflict as error:
                log.info("%s: not followed: %s", ref, error)
                self._done.add(ref)
                return
            except asyncio.CancelledError:
                self._let_go(track)
                raise
            except Exception as error:  # noqa: BLE001 - what is wrong with one log must not end those beside it
                self._let_go(track)
                if self._find(ref) is None:
                    return
                again_at = trouble.failed(log, f"{ref}: can't be followed now", error)
                await asyncio.sleep(again_at - time.monotonic())

    async def _end_orphans(self) -> None:
        """Ends logs whose pods went while nobody followed them: what came behind is not to be had any more.

        And those of containers that were never started, and will not be.
        """
        for source, spool_id in list(self._left.items()):
            ref, never, end = _ref_of(source), False, None
            if ref in self._tracks:
                continue
            if ref is not None and (found := self._find(ref)) is not None:
                pod, gone = found
                never = not pod.has_begun(ref.container)
                if not gone and not (never and pod.has_ended):
                    continue
                end = pod.end_of(ref.container, ref.restart)
            del self._left[source]
            try:
                await asyncio.to_thread(self._end_orphan, spool_id, end, never=never)
            except (OSError, JoblogError) as error:
                if not isinstance(error, Conflict | NotFound):
                    log.error("%s: %s", source, error)
                continue
            if not never:
                log.warning("%s: its pod is gone; the log ends with what was read", source)

    def _end_orphan(self, spool_id: str, end: ContainerEnd | None, *, never: bool) -> None:
        writer = self._spools.take_up(spool_id)
        if not never:
            writer.append_event(LOST_LINES, "the pod went while nobody followed it: its last lines may be missing")
        why = "its container was never started" if never else "its pod is gone"
        known = end if end is not None and (end.reason or not never) else None
        if not writer.end(outcome_of(known, why, writer.task.started_ns)):
            writer.close()

    def _let_go(self, track: ContainerTrack | None) -> None:
        if track is not None:
            track.close()
            self._left[track.source] = track.spool_id

    async def _begin(self, ref: ContainerRef) -> ContainerTrack | None:
        """The container's log as it stands, here or at the leader; None where it is completed."""
        found = self._find(ref)
        if found is None:
            raise Unavailable("its pod is not known any more")
        source = _source_of(ref)
        target = target_of(self._rules.identity, Container(found[0], ref))
        tail = await self._tails.get(target.name, self._spools.writer_id(source))
        if tail.completed:
            return None
        spool_id = self._left.pop(source, None)
        if spool_id is not None:
            try:
                writer = await asyncio.to_thread(self._spools.take_up, spool_id)
            except NotFound:
                writer = None
            except Conflict:
                # It has its end already, and only that is to be shipped.
                return None
            if writer is not None and writer.length >= tail.next_offset:
                return self._track(ref, writer, *_place_of(writer))
            if writer is not None:
                # Another watcher has gone on with it.
                writer.close()
                await asyncio.to_thread(self._spools.drop, spool_id)
        key = await self._new_key() if self._new_key is not None else None
        writer = await asyncio.to_thread(self._spools.make, source, target, 1, key, is_certain=True)
        del self._left[source]
        writer.begin_at(tail.next_offset, tail.newlines)
        times_us = [time_ns // 1000 for time_ns in tail.times_ns]
        join = Join.of_tail(tail.data, times_us, tail.lengths, whole=len(tail.data) == tail.next_offset)
        if tail.next_offset and not join.is_known:
            # Nothing but the middle of a long line, or a gap.
            join = Join.after(times_us[-1] if times_us else time.time_ns() // 1000)
        return self._track(ref, writer, join)

    def _track(self, ref: ContainerRef, writer: FollowedWriter, join: Join, skip_bytes: int = 0) -> ContainerTrack:
        self._adopt(writer.spool_id)
        return ContainerTrack(ref, writer, join, self._connection, self._find, skip_bytes=skip_bytes)


def _source_of(ref: ContainerRef) -> str:
    """By this the spool of a container's run is known again."""
    return f"{SOURCE}{ref.namespace}/{ref.pod}/{ref.uid}/{ref.container}/{ref.restart}"


def _ref_of(source: str) -> ContainerRef | None:
    """The container that a spool's source names; None for what no watcher wrote."""
    parts = source.removeprefix(SOURCE).split("/")
    if len(parts) != len(ContainerRef._fields) or not parts[-1].isdigit():
        return None
    return ContainerRef(parts[0], parts[1], parts[2], parts[3], int(parts[4]))


def _place_of(writer: FollowedWriter) -> tuple[Join, int]:
    """Where a spool that is taken up has come to, and what is in it behind that. Raises Corrupt."""
    recovered = writer.recovered
    if recovered is None or not recovered.position:
        return Join(), writer.length
    try:
        join = Join.decode(json.loads(recovered.position))
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise Corrupt(f"{writer.folder}: its place can't be read: {error!r:.100}; move it away to go on") from None
    return join, recovered.length - recovered.position_offset
