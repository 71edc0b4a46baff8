"""One log that is open for writing: where it stands, who writes it, and how an append is checked and sealed."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from joblog.batch import open_payload, unpack_frames
from joblog.errors import InvalidInput
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import CHECK_BYTES, GAP_CHUNK_BYTES, KIND_DATA, ChunkHeader, pack_stored
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.ingest.limit import Drop, LogLimit
from joblog.leader.ingest.outcome import known_reason
from joblog.v1 import ingest_pb2, types_pb2

if TYPE_CHECKING:
    from joblog.leader.ingest.quotas import Account
    from joblog.leader.ingest.session import Session

MAX_OFFSET = 2**63 - 1


class Refused(InvalidInput):
    """An append, open or close that the leader does not take; says so to the worker as a Refusal."""

    def __init__(
        self, code: ingest_pb2.RefusalCode, message: str, next_offset: int = 0, *, retry: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.next_offset = next_offset
        self.retry = retry
        # How long the worker waits before it tries again; 0: as it likes.
        self.retry_seconds = 0.0


def checked_batch(batch: types_pb2.Batch, where: str, next_offset: int = 0) -> bytes:
    """The bytes of a batch, held against its header. Raises Refused: it was damaged on its way or before."""
    try:
        raw = open_payload(batch.codec, batch.payload, batch.raw_length, batch.crc32c)
        unpack_frames(batch.frames, batch.raw_length)
        if batch.newlines > batch.raw_length:
            raise InvalidInput(f"newlines: {batch.newlines} in {batch.raw_length} bytes")
    except InvalidInput as error:
        raise Refused(ingest_pb2.REFUSAL_CODE_CORRUPT, f"{where}: {error}", next_offset, retry=True) from None
    return raw


def sealed_chunk(cipher: LogCipher, number: int, offset: int, batch: types_pb2.Batch, lines_before: int) -> bytes:
    """A batch as it is stored."""
    header = ChunkHeader(
        kind=KIND_DATA,
        codec=batch.codec,
        newlines=batch.newlines,
        raw_length=batch.raw_length,
        lines_before=lines_before,
        first_time_ns=batch.first_time_ns,
        crc32c=batch.crc32c,
        frames_length=len(batch.frames),
    ).pack()
    return pack_stored(number, offset, header, cipher.seal(header, offset, batch.frames + batch.payload))


class Accepted(NamedTuple):
    """An append that fits, ready to be committed: a chunk as it is stored or a gap, and what the log's limit drops."""

    log: LiveLog
    offset: int
    raw_length: int
    lines_before: int
    chunk: bytes
    gap: types_pb2.Gap | None
    drop: Drop | None

    @property
    def stored_bytes(self) -> int:
        """What it takes in the store, about."""
        return GAP_CHUNK_BYTES if self.gap is not None else len(self.chunk)

    def apply(self, changes: Changes) -> None:
        """Adds it to what is written next; of a log that was deleted meanwhile nothing is written."""
        if self.log.gone:
            return
        number = self.log.number
        if self.gap is not None:
            changes.put_gap(number, self.gap, self.lines_before, time.time_ns())
        else:
            changes.put_stored(number, self.offset, self.chunk)
        if self.drop is not None:
            changes.replace_by_gap(number, self.drop.gap, self.drop.lines_before, time.time_ns())


class LiveLog:
    """A log open for writing. `next_offset` counts what was accepted, `durable_offset` what is on disk, synced."""

    __slots__ = (
        "accepted_lines",
        "account",
        "archived_offset",
        "changing",
        "cipher",
        "closing",
        "death_reported",
        "durable_offset",
        "gone",
        "handle",
        "held_bytes",
        "last_heard",
        "limit",
        "lock",
        "next_offset",
        "number",
        "record",
        "session",
        "sha256",
        "stored_bytes",
    )

    def __init__(
        self, record: types_pb2.LogRecord, cipher: LogCipher, next_offset: int, lines: int, limit: LogLimit | None
    ) -> None:
        self.record = record
        self.number: int = record.number
        self.cipher = cipher
        self.next_offset = next_offset
        self.durable_offset = next_offset
        # Below it all is in the archive.
        self.archived_offset = 0
        self.accepted_lines = lines
        self.limit = limit
        # Not known once bytes were written by an earlier life of the leader: closing reads them again.
        self.sha256 = hashlib.sha256() if next_offset == 0 else None
        # Not known either, nor once the log's limit has dropped chunks.
        self.stored_bytes: int | None = 0 if next_offset == 0 else None
        # Whom it counts for, and the bytes that count for what is stored, about, while it is open for writing.
        self.account: Account | None = None
        self.held_bytes = 0
        self.session: Session | None = None
        self.handle = 0
        self.gone = False
        # Held while a new record of the log is made and written, one after another.
        self.changing = asyncio.Lock()
        # Its end is being written: nothing comes after it.
        self.closing = False
        # None: not known, as it was taken up from an earlier life of the leader.
        self.death_reported: bool | None = False
        self.last_heard = time.monotonic()
        # An old stream of the same writer may still be at work when a new one takes the log over.
        self.lock = threading.Lock()

    def is_lost(self, since: float) -> bool:
        """Whether the log counts as live, but nobody has written it since then (monotonic seconds)."""
        return (
            self.session is None
            and not self.closing
            and self.record.state == types_pb2.LOG_STATE_LIVE
            and self.last_heard < since
        )

    def is_silent(self, since: float) -> bool:
        """Whether nobody has written the interrupted log since then, and no report has said so that is known of."""
        return (
            not self.death_reported
            and self.session is None
            and not self.closing
            and self.record.state == types_pb2.LOG_STATE_INTERRUPTED
            and self.last_heard < since
        )

    def accept(self, append: ingest_pb2.Append, max_batch_bytes: int) -> Accepted | None:
        """Checks and seals an append; None when its bytes are all here already. Raises Refused. Call under `lock`."""
        what = append.WhichOneof("what")
        if what == "batch":
            length = append.batch.raw_length
            if not 1 <= length <= max_batch_bytes:
                raise self._invalid(f"raw_length {length} is out of range: 1 to {max_batch_bytes} bytes")
        elif what == "gap":
            length = append.gap.length
        else:
            raise self._invalid("an append holds neither a batch nor a gap")
        if self._stands_already(append.offset, length):
            return None
        if self.closing:
            message = f"{self.record.id.task}: the log is being closed; open it again"
            raise Refused(ingest_pb2.REFUSAL_CODE_UNAVAILABLE, message, self.next_offset, retry=True)
        return self._accept_batch(append) if what == "batch" else self._accept_gap(append)

    def is_new(self, append: ingest_pb2.Append) -> bool:
        """Whether there are bytes, or a gap, in an append that are not here yet."""
        length = append.batch.raw_length if append.HasField("batch") else append.gap.length
        return append.offset + length > self.next_offset

    def _stands_already(self, offset: int, length: int) -> bool:
        end = offset + length
        if length < 1 or end > MAX_OFFSET:
            raise self._invalid(f"offset {offset} with length {length} lies outside a log: 0 to {MAX_OFFSET}")
        if offset == self.next_offset:
            return False
        if end <= self.next_offset:
            return True
        raise Refused(
            ingest_pb2.REFUSAL_CODE_OFFSET,
            f"{self.record.id.task}: offset {offset} is not the next one: go on at {self.next_offset}",
            self.next_offset,
            retry=True,
        )

    def _accept_batch(self, append: ingest_pb2.Append) -> Accepted:
        batch = append.batch
        raw = checked_batch(batch, f"{self.record.id.task}: batch at offset {append.offset}", self.next_offset)
        chunk = sealed_chunk(self.cipher, self.number, append.offset, batch, self.accepted_lines)
        if self.sha256 is not None:
            self.sha256.update(raw)
        return self._advance(append.offset, batch.raw_length, batch.newlines, chunk)

    def _accept_gap(self, append: ingest_pb2.Append) -> Accepted:
        gap = append.gap
        if gap.offset != append.offset:
            raise self._invalid(f"gap.offset {gap.offset} is not the append's offset {append.offset}")
        if gap.newlines > gap.length:
            raise self._invalid(f"gap.newlines {gap.newlines} is more than its length {gap.length}")
        gap.reason = known_reason(gap.reason)
        return self._advance(append.offset, gap.length, gap.newlines, b"", gap)

    def _advance(
        self, offset: int, length: int, newlines: int, chunk: bytes, gap: types_pb2.Gap | None = None
    ) -> Accepted:
        drop = None
        if self.limit is not None:
            drop = self.limit.add(offset, length, newlines, self.accepted_lines, data=gap is None)
        if drop is not None:
            self.stored_bytes = None
        elif self.stored_bytes is not None:
            self.stored_bytes += len(chunk) - CHECK_BYTES if gap is None else GAP_CHUNK_BYTES
        accepted = Accepted(self, offset, length, self.accepted_lines, chunk, gap, drop)
        self.next_offset = offset + length
        self.accepted_lines += newlines
        return accepted

    def _invalid(self, message: str) -> Refused:
        return Refused(ingest_pb2.REFUSAL_CODE_INVALID, f"{self.record.id.task}: {message}", self.next_offset)
