"""One run of one container on its way from the log API to its spool."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from enum import Enum

from joblog.batch import STDOUT, Frames, pack_frames
from joblog.errors import InvalidInput, JoblogError, NotFound, Unavailable
from joblog.formats import rfc3339_nano
from joblog.uncounted import LOST_LINES
from joblog.worker.cluster.joining import Join
from joblog.worker.cluster.lines import Line, LineReader
from joblog.worker.kubernetes.client import Connection, KubernetesClient
from joblog.worker.kubernetes.pod import Pod, parse_pod
from joblog.worker.kubernetes.pods import ContainerEnd, ContainerRef
from joblog.worker.spool.followed import FollowedWriter

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.25
GATHER_BYTES = 256 << 10
# A batch has at most 65536 frames, each a line here.
_MAX_FRAMES = 60_000
_FULL_PAUSE_SECONDS = 0.05
# A connection on which nothing comes for so long may be dead: it is made anew, and joined.
SILENCE_SECONDS = 300.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 15.0
# How long the status is waited for that says how a container ended whose log has come to its end.
END_WAIT_SECONDS = 10.0
_PIECES_AHEAD = 4
_END_PAUSE_SECONDS = 1.0

_ROTATED = "the kubelet rotated while nothing was read: lines that it does not serve any more may be missing here"

Find = Callable[[ContainerRef], "tuple[Pod, bool] | None"]


class How(Enum):
    """How a connection ended."""

    WHOLE = "whole"
    CUT = "cut"
    # The API has that run of the container no more.
    REPLACED = "replaced"
    # The pod is gone.
    GONE = "gone"


class ContainerTrack:
    """Follows a container to its end. find: what is known of its pod, and whether that is gone."""

    def __init__(
        self,
        ref: ContainerRef,
        writer: FollowedWriter,
        join: Join,
        connection: Connection,
        find: Find,
        *,
        skip_bytes: int = 0,
    ) -> None:
        """skip_bytes: so many new ones are in the spool already."""
        self._skip_bytes = skip_bytes
        self._ref = ref
        self._writer = writer
        self._join = join
        self._connection = connection
        self._find = find
        self._last_us = 0
        self._told_lost = False

    async def run(self) -> None:
        """Returns when the log has its end in the spool. Raises OSError, OutOfSpace."""
        pause, last = _FIRST_PAUSE_SECONDS, How.CUT
        while True:
            began = time.monotonic()
            end = self._end()
            how = await self._connect(follow=end is None)
            last = how if how in (How.WHOLE, How.CUT) else last
            if how is not How.CUT:
                # Once more behind its end: what was printed last may have come after the end of what was sent.
                if end is not None or how is not How.WHOLE:
                    await self._finish(end or await self._wait_end(), whole=last is How.WHOLE)
                    return
                if await self._wait_end() is not None:
                    continue
            pause = _FIRST_PAUSE_SECONDS if time.monotonic() - began > 5 else min(2 * pause, _LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)

    def _end(self) -> ContainerEnd | None:
        found = self._find(self._ref)
        if found is None:
            return None
        pod, gone = found
        end = pod.end_of(self._ref.container, self._ref.restart)
        return ContainerEnd(reason=pod.reason) if end is None and gone else end

    async def _wait_end(self) -> ContainerEnd | None:
        """How it ended, if that is known soon."""
        deadline = time.monotonic() + END_WAIT_SECONDS
        while (end := self._end()) is None and time.monotonic() < deadline:
            found = self._find(self._ref)
            if found is not None and found[0].alive(self._ref.container, self._ref.restart):
                # The server has ended the connection, not the container its log; or the news is on its way.
                await asyncio.sleep(0.5)
                return self._end()
            await asyncio.sleep(0.1)
        return end

    # Reading

    async def _connect(self, *, follow: bool) -> How:
        """Takes what one connection gives."""
        ref = self._ref
        try:
            client = await self._connection()
            pod = await _pod(client, ref)
            if pod is None:
                return How.GONE
            state = pod.states.get(ref.container)
            if state is None or state.restarts < ref.restart:
                return How.CUT
            if state.restarts > ref.restart + 1:
                return How.REPLACED
            previous = state.restarts > ref.restart
            if previous and state.before is None:
                # What is previous to the kubelet is the present run by now.
                return How.REPLACED
            path = f"/api/v1/namespaces/{ref.namespace}/pods/{ref.pod}/log"
            async with client.stream(path, self._query(follow, previous), silence_seconds=SILENCE_SECONDS) as pieces:
                # The API knows pods by names alone: what answers is ours only if ours is still there now.
                if not _is_current(await _pod(client, ref), ref, previous=previous):
                    return How.CUT
                await self._take_all(pieces)
        except NotFound:
            return How.GONE
        except InvalidInput:
            # No such run of the container any more, or not yet.
            return How.REPLACED if self._end() is not None else How.CUT
        except JoblogError as error:
            if not isinstance(error, Unavailable):
                log.warning("%s: %s", ref, error)
            return How.CUT
        return How.WHOLE

    def _query(self, follow: bool, previous: bool) -> dict[str, str | int]:
        query: dict[str, str | int] = {"container": self._ref.container, "timestamps": "true"}
        if follow and not previous:
            query["follow"] = "true"
        if previous:
            query["previous"] = "true"
        if self._join.since_us:
            query["sinceTime"] = rfc3339_nano(self._join.since_us // 10**6 * 10**9)
        return query

    async def _take_all(self, pieces: AsyncIterator[bytes]) -> None:
        self._join.begin()
        self._told_lost = False
        reader = LineReader()
        gathered: list[Line] = []
        size, since = 0, 0.0
        async with contextlib.aclosing(_ahead(pieces)) as ahead:
            async for piece in ahead:
                if piece:
                    lines = reader.feed(piece)
                    if lines and not gathered:
                        since = time.monotonic()
                    gathered += lines
                    size += len(piece)
                if gathered and (size >= GATHER_BYTES or time.monotonic() - since >= GATHER_SECONDS):
                    await self._write(gathered)
                    gathered, size = [], 0
        await self._write(gathered + reader.finish())

    async def _write(self, lines: list[Line]) -> None:
        """Puts what is new of them into the spool, and how far they reach with it."""
        raw, times, lengths = bytearray(), list[int](), list[int]()
        for line in lines:
            if raw and (len(raw) + len(line.text) > self._writer.record_bytes or len(times) >= _MAX_FRAMES):
                await self._append(raw, times, lengths)
                raw, times, lengths = bytearray(), [], []
            text = self._join.take(line)
            if self._join.lost and not self._told_lost:
                self._told_lost = True
                self._say_lost(_ROTATED)
            if self._skip_bytes:
                skipped = min(self._skip_bytes, len(text))
                text, self._skip_bytes = text[skipped:], self._skip_bytes - skipped
            if text:
                self._last_us = max(self._last_us, line.us)
                raw += text
                times.append(self._last_us)
                lengths.append(len(text))
        if raw:
            await self._append(raw, times, lengths)

    async def _append(self, raw: bytearray, times: list[int], lengths: list[int]) -> None:
        """All that was taken so far is in it, or was there before."""
        first = times[0]
        frames = pack_frames(Frames(bytes([STDOUT]) * len(times), [us - first for us in times], lengths))
        position = json.dumps(self._join.encode()).encode()
        args = bytes(raw), frames, first * 1000, position
        await _until_taken(lambda: self._writer.append_decoded(*args), _FULL_PAUSE_SECONDS)

    def _say_lost(self, message: str) -> None:
        log.warning("%s: %s", self._ref, message)
        self._writer.append_event(LOST_LINES, message)

    # Ending

    async def _finish(self, end: ContainerEnd | None, *, whole: bool) -> None:
        from joblog.worker.following.outcome import outcome_of

        if not whole:
            self._say_lost("the pod was gone before all was read: its last lines may be missing")
        outcome = outcome_of(end, "its pod is gone", self._writer.task.started_ns)
        await _until_taken(lambda: self._writer.end(outcome), _END_PAUSE_SECONDS)

    @property
    def spool_id(self) -> str:
        """Where its bytes go."""
        return self._writer.spool_id

    @property
    def source(self) -> str:
        """By this its spool is known again."""
        return self._writer.task.source

    def close(self) -> None:
        """Lets go of the spool; the log goes on where it is taken up again."""
        self._writer.note()
        self._writer.close()


async def _pod(client: KubernetesClient, ref: ContainerRef) -> Pod | None:
    """The pod, where the one of that name is still the one; None: it is gone."""
    try:
        pod = parse_pod(await client.get(f"/api/v1/namespaces/{ref.namespace}/pods/{ref.pod}"))
    except NotFound:
        return None
    return pod if pod.uid == ref.uid else None


def _is_current(pod: Pod | None, ref: ContainerRef, *, previous: bool) -> bool:
    state = pod.states.get(ref.container) if pod is not None else None
    if state is None or (previous and state.before is None):
        return False
    return state.restarts == ref.restart + previous


async def _ahead(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The pieces, and an empty one whenever none has come for a while."""
    queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(_PIECES_AHEAD)

    async def fill() -> None:
        try:
            async for piece in pieces:
                await queue.put(piece)
        except Exception as error:  # noqa: BLE001 - handed on to who takes the pieces
            await queue.put(error)
        else:
            await queue.put(None)

    filling = asyncio.create_task(fill())
    try:
        while True:
            try:
                async with asyncio.timeout(GATHER_SECONDS):
                    item = await queue.get()
            except TimeoutError:
                yield b""
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)


async def _until_taken(offer: Callable[[], bool], pause_seconds: float) -> None:
    """Offers it to the spool again and again, in a thread, until the disk or the leader has made room."""
    while True:
        if await asyncio.to_thread(offer):
            return
        await asyncio.sleep(pause_seconds)
