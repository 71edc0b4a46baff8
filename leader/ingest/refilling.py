"""Bytes that the leader's disk lost after it acked them, asked for again from workers that still have them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, NamedTuple

from joblog.errors import Conflict, JoblogError
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.holes import Hole, find_hole, seams
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.ingest.live_log import Refused, checked_batch, sealed_chunk
from joblog.v1 import ingest_pb2, types_pb2

if TYPE_CHECKING:
    from joblog.leader.ingest.registry import Registry
    from joblog.leader.ingest.session import Session

log = logging.getLogger(__name__)

EVENT_KIND = "bytes_restored"
# How long a worker that was asked is not told that anything behind the hole is archived, whatever else is known of it.
ASKED_SECONDS = 60.0
# Of a log that lost everything, the first holes are enough at once.
MAX_HOLES = 1000
MAX_TRIES = 20


class _Asked(NamedTuple):
    """origin: where the hole began when it was asked for. at: monotonic seconds."""

    origin: int
    at: float


class Refills:
    """Asks for what is missing in the middle of logs, and takes what comes.

    A hole is filled from its begin, each batch by a write of its own that stands only if the hole still is what it was
    when it was looked at. Nothing else of a log changes: neither its length nor where its writer goes on.
    """

    def __init__(
        self, registry: Registry, pool: Executor, waiting: Callable[[int], Mapping[Session, int]], *, asks: bool
    ) -> None:
        """waiting: streams that wait for a closed log to be sealed. asks: workers may have what was acked."""
        self._registry = registry
        self._store = registry.store
        self._pool = pool
        self._waiting = waiting
        self._asks = asks
        self._lock = threading.Lock()
        # By log, then the hole's begin.
        self._asked: dict[int, dict[int, _Asked]] = {}
        # By log, begins of holes that stay when they are filled: a damaged table hides what is put there too.
        self._hidden: dict[int, set[int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """From now on what is found damaged is asked for at once, where its worker is there. In the event loop."""
        loop = asyncio.get_running_loop()

        def found(number: int, offset: int) -> None:
            # The loop may be closed already.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._found, number, offset)

        if self._asks:
            self._store.damage.on_found(found)

    # Asking. In the event loop.

    def _found(self, number: int, offset: int) -> None:
        for session, handle in self._whom(number).items():
            self._ask(session, {handle: number}, offset)

    def _whom(self, number: int) -> Mapping[Session, int]:
        live = self._registry.get(number)
        if live is not None:
            return {} if live.session is None else {live.session: live.handle}
        return dict(self._waiting(number))

    def opened(self, session: Session, numbers: Mapping[int, int]) -> None:
        """The stream has opened these logs, by handle: whatever is missing in them it may have."""
        if self._asks and numbers:
            self._ask(session, numbers)

    def _ask(self, session: Session, numbers: Mapping[int, int], offset: int | None = None) -> None:
        task = asyncio.create_task(self._look(session, numbers, offset))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self, session: Session, numbers: Mapping[int, int], offset: int | None) -> None:
        try:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._pool, self._holes, numbers, offset)
        except (JoblogError, RuntimeError) as error:
            # RuntimeError: the pool, or the store, is closed already.
            log.warning("what is missing in the buffer can't be asked for: %s", error)
            return
        for handle, hole in found:
            log.warning("log %d: offsets %d to %d are asked for again", numbers[handle], hole.begin, hole.end)
            session.outbox.ask_again(handle, hole)

    def _holes(self, numbers: Mapping[int, int], offset: int | None) -> list[tuple[int, Hole]]:
        """In a thread. offset: where to look; None: where something is known, or seen at little cost, to be missing."""
        found: list[tuple[int, Hole]] = []
        with self._store.view() as view:
            for handle, number in numbers.items():
                offsets: Iterable[int] = [offset] if offset is not None else []
                if offset is None:
                    offsets = sorted({*self._store.damage.offsets(number), *seams(view.extents(number))})
                holes = {hole for at in offsets if (hole := find_hole(view, number, at)) is not None}
                for hole in sorted(holes)[:MAX_HOLES]:
                    with self._lock:
                        if hole.begin in self._hidden.get(number, ()):
                            continue
                        found.append((handle, hole))
                        asked = _Asked(hole.begin, time.monotonic())
                        self._asked.setdefault(number, {}).setdefault(hole.begin, asked)
        return [(handle, hole) for handle, hole in found if self._is_still_there(numbers[handle], hole)]

    def _is_still_there(self, number: int, hole: Hole) -> bool:
        """False where it was filled before it was noted as asked for: then nothing would take that note away."""
        with self._store.view() as view:
            left = find_hole(view, number, hole.begin)
        if left is not None and left.begin == hole.begin:
            return True
        with self._lock:
            asked = self._asked.get(number, {})
            asked.pop(hole.begin, None)
            if not asked:
                self._asked.pop(number, None)
        return False

    def hold_back(self, number: int, offset: int) -> int:
        """Of what is archived below `offset`, what the worker may be told while it is asked for more."""
        with self._lock:
            asked = self._asked.get(number)
            if asked is None:
                return offset
            since = time.monotonic() - ASKED_SECONDS
            for begin in [begin for begin, one in asked.items() if one.at < since]:
                del asked[begin]
            if not asked:
                del self._asked[number]
            return min([offset, *asked])

    def forget(self, number: int) -> None:
        """The log is sealed or deleted."""
        with self._lock:
            self._asked.pop(number, None)
            self._hidden.pop(number, None)

    # Taking. In a thread.

    def take(self, number: int, cipher: LogCipher, append: ingest_pb2.Append, max_batch_bytes: int) -> bool:
        """Puts a batch where it is missing, synced; False where it does not fit there (any more).

        Raises Refused when the batch is not as it must be, and what the store raises.
        """
        batch, offset = append.batch, append.offset
        if not 1 <= batch.raw_length <= max_batch_bytes:
            raise Refused(ingest_pb2.REFUSAL_CODE_INVALID, f"raw_length {batch.raw_length} is out of range")
        checked_batch(batch, f"log {number}: batch at offset {offset}, which came again")
        for _ in range(MAX_TRIES):
            try:
                hole = self._put(number, cipher, offset, batch)
            except Conflict as conflict:
                # As when the archive has taken what is beside the hole meanwhile; nobody would send it once more.
                log.info("log %d: what came again for offset %d is tried again: %s", number, offset, conflict)
                continue
            if hole is None:
                return False
            with self._store.view() as view:
                left = find_hole(view, number, offset)
            if left is not None:
                self._stays(number, hole)
                return False
            self._filled(number, hole, offset + batch.raw_length)
            return True
        log.warning("log %d: what came again for offset %d is not taken: the log changes too often", number, offset)
        return False

    def _put(self, number: int, cipher: LogCipher, offset: int, batch: types_pb2.Batch) -> Hole | None:
        """The hole of which the batch is now the first part; None where it fits into none.

        Raises Conflict where the log changed meanwhile, and Refused.
        """
        rewrites = self._store.rewrites(number)
        with self._store.view() as view:
            hole = find_hole(view, number, offset)
        end = offset + batch.raw_length
        if hole is None or hole.begin != offset or end > hole.end:
            return None
        lines = hole.lines_before + batch.newlines
        if lines > hole.lines_after or (end == hole.end and lines != hole.lines_after):
            message = (
                f"log {number}: offsets {offset} to {end} came again with {batch.newlines} newlines, not as before"
            )
            raise Refused(ingest_pb2.REFUSAL_CODE_CORRUPT, message)
        changes = Changes()
        changes.guard(number, rewrites)
        changes.refill(number, offset, batch.raw_length, sealed_chunk(cipher, number, offset, batch, hole.lines_before))
        if end < hole.end:
            self._store.damage.shrink(number, offset, end)
        self._store.write(changes)
        return hole

    def _stays(self, number: int, hole: Hole) -> None:
        log.warning(
            "log %d: offsets %d to %d came again, but the damaged table hides them too: see docs/operations.md",
            number,
            hole.begin,
            hole.end,
        )
        with self._lock:
            hidden = self._hidden.setdefault(number, set())
            if len(hidden) < MAX_HOLES:
                hidden.add(hole.begin)
            self._asked.pop(number, None)

    def _filled(self, number: int, hole: Hole, end: int) -> None:
        with self._lock:
            asked = self._asked.get(number, {})
            one = asked.pop(hole.begin, _Asked(hole.begin, 0.0))
            if end < hole.end:
                self._asked.setdefault(number, {})[end] = one._replace(at=time.monotonic())
            elif not asked:
                self._asked.pop(number, None)
        if end == hole.end:
            message = f"offsets {one.origin} to {end} were missing in the buffer, and came again from the worker"
            log.info("log %d: %s", number, message)
            changes = Changes()
            changes.put_event(
                number, types_pb2.Event(offset=one.origin, time_ns=time.time_ns(), kind=EVENT_KIND, message=message)
            )
            self._store.write(changes)
