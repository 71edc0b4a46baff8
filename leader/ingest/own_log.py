"""A log that the leader itself writes: through the same group commits as those of workers, without a stream."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import google_crc32c

from joblog.batch import STDOUT, Frames, deflate, pack_frames
from joblog.errors import Unavailable
from joblog.identity import LogName
from joblog.leader.buffer.changes import Changes
from joblog.leader.ingest.committer import commit
from joblog.leader.ingest.ingest import Ingest
from joblog.leader.ingest.live_log import Accepted, LiveLog, Refused
from joblog.leader.ingest.outbox import Outbox
from joblog.leader.ingest.registry import WRITER_ID_BYTES
from joblog.leader.ingest.session import PROTOCOL, Session
from joblog.v1 import ingest_pb2, types_pb2

# As which the leader writes its own logs.
OWN_WORKER_ID = "leader"


class _Unheard(Outbox):
    """There is nobody to answer."""

    def ack(self, live: LiveLog) -> None:
        """Nobody waits for it."""

    def sealed(self, handle: int, length: int) -> None:
        """Nobody waits for it."""

    def steer(self, handle: int, watched: bool) -> None:
        """Each append is sent at once anyhow."""


class _OwnStream(Session):
    """Stands where a worker's stream does."""

    def __init__(self, ingest: Ingest) -> None:
        super().__init__(ingest, ingest_pb2.Hello(worker_id=OWN_WORKER_ID, protocol=PROTOCOL))
        self.outbox = _Unheard(ingest.metrics)


class Note(NamedTuple):
    """An event of the log that goes with an append, in place of the one of the same kind before it."""

    kind: str
    message: str


class OwnLog:
    """Writes one log at a time. Belongs to the event loop; one call after another.

    After append() has raised, the log must be opened anew or taken up again: what is on disk counts.
    """

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._stream = _OwnStream(ingest)
        self._live: LiveLog | None = None

    @property
    def live(self) -> LiveLog:
        """The log that is open. Raises Unavailable when there is none."""
        if self._live is None or self._live.gone:
            raise Unavailable("the log is not open")
        return self._live

    async def open(self, name: LogName) -> LiveLog:
        """Begins the next attempt of a log; it is on disk when it returns. Raises OutOfSpace, Unavailable."""
        request = ingest_pb2.OpenLog(
            handle=1,
            id=types_pb2.LogId(namespace=name.namespace, run=name.run, task=name.task),
            writer_id=os.urandom(WRITER_ID_BYTES),
        )
        ingest = self._ingest
        self._stream = _OwnStream(ingest)
        loop = asyncio.get_running_loop()
        ((_, found),) = await loop.run_in_executor(
            ingest.pool, lambda: ingest.registry.open(self._stream, [request], own=True)
        )
        if not isinstance(found, LiveLog):
            raise found if isinstance(found, Refused) else Unavailable(f"{name}: is completed already")
        self._live = found
        ingest.live.advance(found.number, found.durable_offset)
        return found

    async def take_up(self, number: int) -> LiveLog | None:
        """Goes on with a log that was left open, as it is on disk; None when it is not open. Raises Unavailable."""
        ingest = self._ingest
        known = ingest.registry.get(number)
        if known is None:
            return None
        loop = asyncio.get_running_loop()
        restored = await loop.run_in_executor(ingest.pool, ingest.registry.reload, [known])
        if not restored:
            return None
        self._stream = _OwnStream(ingest)
        self._live = live = restored[0]
        with live.lock:
            live.session = self._stream
            live.handle = 1
        ingest.live.advance(live.number, live.durable_offset)
        return live

    async def append(
        self,
        lines: Sequence[bytes],
        times_ns: Sequence[int],
        note: Note | None = None,
        also: Callable[[Changes], None] = lambda _changes: None,
    ) -> None:
        """Appends whole lines, each with its newline and a time of its own; on disk, synced, when it returns.

        All of it comes to be in one write, with the note and what `also` adds. Raises what the commit raises, and
        Unavailable.
        """
        ingest, live, stream = self._ingest, self.live, self._stream
        loop = asyncio.get_running_loop()
        accepted = await loop.run_in_executor(ingest.pool, _accept, live, stream, _batch(lines, times_ns))

        def apply(changes: Changes) -> None:
            if not live.gone:
                accepted.apply(changes)
                also(changes)
                if note is not None:
                    event = types_pb2.Event(time_ns=live.record.created_ns, kind=note.kind, message=note.message)
                    changes.put_event(live.number, event)

        size_bytes, raw_bytes = len(accepted.chunk), accepted.raw_length
        await commit(ingest.committer, stream, apply, size_bytes, batches=1, raw_bytes=raw_bytes)
        if live.gone:
            raise Unavailable("the log was closed while it was written")
        live.durable_offset = max(live.durable_offset, accepted.offset + accepted.raw_length)
        ingest.live.advance(live.number, live.durable_offset)

    async def complete(self, outcome: types_pb2.Outcome) -> None:
        """Completes and seals the log. Raises what the commit raises, and Unavailable."""
        live = self.live
        known = live.sha256
        close = ingest_pb2.CloseLog(
            handle=live.handle,
            length=live.next_offset,
            sha256=known.digest() if known is not None else b"",
            newlines=live.accepted_lines,
            outcome=outcome,
        )
        await self._ingest.close(self._stream, live, close)
        self._live = None


def _accept(live: LiveLog, stream: Session, batch: types_pb2.Batch) -> Accepted:
    with live.lock:
        if live.gone or live.session is not stream:
            raise Unavailable("the log is not open for writing any more")
        accepted = live.accept(ingest_pb2.Append(handle=1, offset=live.next_offset, batch=batch), batch.raw_length)
    assert accepted is not None
    return accepted


def _batch(lines: Sequence[bytes], times_ns: Sequence[int]) -> types_pb2.Batch:
    """A frame for each line."""
    raw = b"".join(lines)
    codec, payload = deflate(raw)
    times_us, last = [], 0
    for time_ns in times_ns:
        # Clocks may go back, times of frames may not.
        last = max(last, (time_ns - times_ns[0]) // 1000)
        times_us.append(last)
    return types_pb2.Batch(
        raw_length=len(raw),
        codec=codec,  # type: ignore[arg-type]
        payload=payload,
        crc32c=google_crc32c.value(raw),
        newlines=len(lines),
        first_time_ns=times_ns[0],
        frames=pack_frames(Frames(bytes([STDOUT]) * len(lines), times_us, [len(line) for line in lines])),
    )
