"""Completed logs that stay in the buffer: their small chunks are merged, in the background.

Not for a leader with an archive: there the archiver merges what it moves, and nobody else may change chunks.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from joblog.errors import Conflict, Corrupt, JoblogError
from joblog.leader.archive.merge import FINAL_LEVEL, LARGE_BYTES, MergedChunk, merge_chunks
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import Chunk
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.metrics import CompactionMetrics
from joblog.service import Service

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
RETRY_SECONDS = 300.0
PIECE_BYTES = 4 << 20
_LOGS_AT_ONCE = 100
_VIEW_BYTES = 64 << 20
# Of a log of this length, only samples are looked at first: reading it takes longer than merging could ever save.
_SAMPLED_BYTES = 64 << 20
_SAMPLES = 32


class Merging(NamedTuple):
    """What was done to one log. stored_bytes: that its chunks take now; None where not all of them were read."""

    chunks: int = 0
    replaced_by: int = 0
    damaged: int = 0
    stored_bytes: int | None = None


def _never() -> bool:
    return False


def merge_completed(
    store: Store,
    cipher: LogCipher,
    number: int,
    *,
    piece_bytes: int = PIECE_BYTES,
    should_stop: Callable[[], bool] = _never,
) -> Merging | None:
    """Replaces the small chunks of the completed log `number` by merged ones. None when should_stop() said so.

    What it writes at once, up to about piece_bytes, takes the place of what it removes in the same write: a reader sees
    either. May be stopped or killed at any time and done again. Afterwards the caller writes put_merged(). Raises
    Conflict when the log is deleted meanwhile, OutOfSpace, Unavailable.
    """
    record = store.get_log(number)
    if record is None:
        raise Conflict(f"log number {number} is not there")
    if record.next_offset > _SAMPLED_BYTES and not _has_small_chunks(store, number, record.next_offset):
        return Merging()
    pieces = _Pieces(store, number, piece_bytes)
    try:
        for chunk in merge_chunks(cipher, _chunks(store, number), level=FINAL_LEVEL, on_damaged=pieces.damage):
            pieces.add(chunk)
            if should_stop():
                return None
    except Corrupt as error:
        # Of the disk, not of one chunk: what lies behind it is left as it is.
        log.warning("merging the chunks of a log ends early: %s", error)
        pieces.write()
        return pieces.merging._replace(damaged=pieces.merging.damaged + 1, stored_bytes=None)
    pieces.write()
    return pieces.merging


def _chunks(store: Store, number: int) -> Iterator[Chunk]:
    """All chunks. In several views: one that is open for long keeps what was replaced on the disk."""
    at, more = 0, True
    while more:
        more, taken_bytes = False, 0
        with store.view() as view:
            for chunk in view.chunks(number, at):
                yield chunk
                at = chunk[0] + chunk[1].raw_length
                taken_bytes += len(chunk[2])
                if taken_bytes > _VIEW_BYTES:
                    more = True
                    break


def _has_small_chunks(store: Store, number: int, length: int) -> bool:
    """At one of a few places, each standing for as many bytes."""
    try:
        with store.view() as view:
            found = [next(view.chunks(number, length * sample // _SAMPLES), None) for sample in range(_SAMPLES)]
    except Corrupt:
        return True
    return any(chunk is not None and chunk[1].raw_length < LARGE_BYTES for chunk in found)


class _Pieces:
    """Gathers merged chunks of one log and writes them in pieces."""

    def __init__(self, store: Store, number: int, piece_bytes: int) -> None:
        self._store = store
        self._number = number
        self._piece_bytes = piece_bytes
        self._changes = Changes()
        self.merging = Merging(stored_bytes=0)

    def damage(self, _offset: int, _why: str) -> None:
        self.merging = self.merging._replace(damaged=self.merging.damaged + 1)

    def add(self, chunk: MergedChunk) -> None:
        value = chunk.value
        done = self.merging
        self.merging = done._replace(stored_bytes=(done.stored_bytes or 0) + len(value))
        if chunk.merged == 1:
            return
        self.merging = self.merging._replace(chunks=done.chunks + chunk.merged, replaced_by=done.replaced_by + 1)
        # The first of them is overwritten.
        self._changes.delete_chunks(self._number, chunk.offset + 1, chunk.end)
        self._changes.put_chunk(self._number, chunk.offset, value)
        if self._changes.size_bytes >= self._piece_bytes:
            self.write()

    def write(self) -> None:
        if self._changes:
            # Not synced: after a power cut the small chunks may be back, which is as good.
            self._store.write(self._changes, sync=False)
            self._changes = Changes()


class Compactor(Service):
    """Merges completed logs one after the other. Which ones, the store knows, so nothing is forgotten by a restart.

    wake() says that a log was completed; without it, they are found within LOOK_SECONDS.
    """

    name = "compactor"

    def __init__(
        self, store: Store, keyring: Keyring, metrics: CompactionMetrics, *, look_seconds: float = LOOK_SECONDS
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._metrics = metrics
        self._look_seconds = look_seconds
        self._stopping = threading.Event()
        self._woken = asyncio.Event()
        # Logs that could not be merged, and when to try again.
        self._retry_at: dict[int, float] = {}

    def wake(self) -> None:
        """A log was completed. In the event loop."""
        self._woken.set()

    async def run(self) -> None:
        """Merges what there is, then looks now and then."""
        while not self._stopping.is_set():
            self._woken.clear()
            working = asyncio.ensure_future(asyncio.to_thread(self._look))
            try:
                await asyncio.shield(working)
            except asyncio.CancelledError:
                # Within a chunk; the store must not be closed before.
                self._stopping.set()
                await working
                raise
            try:
                await asyncio.wait_for(self._woken.wait(), self._look_seconds)
            except TimeoutError:
                continue

    async def drain(self, deadline_seconds: float) -> None:  # noqa: ARG002 - stops within a chunk
        """What is left is found after the next start."""
        self._stopping.set()
        self._woken.set()

    def _look(self) -> None:
        try:
            self.merge_all()
        except JoblogError as error:
            self._metrics.failures.inc()
            log.warning("completed logs could not be merged, which is tried again: %s", error)

    def merge_all(self) -> int:
        """Merges all completed logs that are not merged yet; returns how many it did. In a thread of its own."""
        after = done = 0
        while numbers := self._store.unmerged_logs(after, _LOGS_AT_ONCE):
            after = numbers[-1]
            changes = Changes()
            for number, merging in self._merge_some(numbers):
                changes.put_merged(number, merging.stored_bytes)
                done += 1
            try:
                if changes:
                    self._store.write(changes)
            except JoblogError as error:
                log.warning("could not note which logs are merged: %s", error)
                break
            if self._stopping.is_set():
                break
        return done

    def _merge_some(self, numbers: list[int]) -> Iterator[tuple[int, Merging]]:
        for number in numbers:
            if self._stopping.is_set():
                return
            if self._retry_at.get(number, 0.0) > time.monotonic():
                continue
            try:
                merging = self._merge(number)
            except Conflict:
                # Deleted meanwhile.
                continue
            except JoblogError as error:
                self._retry_at[number] = time.monotonic() + RETRY_SECONDS
                self._metrics.failures.inc()
                log.warning("log %d: its chunks could not be merged, which is tried again: %s", number, error)
                continue
            if merging is not None:
                self._retry_at.pop(number, None)
                self._count(merging)
                yield number, merging

    def _merge(self, number: int) -> Merging | None:
        record, wrapped = self._store.get_log(number), self._store.get_dek(number)
        if record is None or wrapped is None:
            return Merging()
        cipher = LogCipher(self._keyring.open_dek(record.uid, wrapped), record.uid)
        return merge_completed(self._store, cipher, number, should_stop=self._stopping.is_set)

    def _count(self, merging: Merging) -> None:
        self._metrics.logs.inc()
        self._metrics.chunks.inc(merging.chunks)
        self._metrics.merged_chunks.inc(merging.replaced_by)
        self._metrics.damaged_chunks.inc(merging.damaged)
