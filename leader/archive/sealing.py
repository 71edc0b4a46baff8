"""A completed log's chunks in order, from wherever they lie, for its sealed object."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

from joblog.errors import Corrupt, NotFound, WrongVersion
from joblog.leader.archive.assembling import Assembly, copy_range
from joblog.leader.archive.container import KIND_SEALED
from joblog.leader.archive.context import ArchiveContext
from joblog.leader.archive.extent_read import ExtentRead, Want
from joblog.leader.archive.fetch import ExtentReader, ObjectGone
from joblog.leader.archive.flush import take_some
from joblog.leader.archive.merge import FINAL_LEVEL, LARGE_BYTES, merge_chunks
from joblog.leader.buffer.chunk import KIND_GAP, Chunk, gap_header
from joblog.leader.buffer.opening import open_bytes
from joblog.leader.crypto.envelope import LogCipher
from joblog.v1.archive_pb2 import Extent
from joblog.v1.types_pb2 import GAP_REASON_LOST, Gap, LogRecord

log = logging.getLogger(__name__)

# Extents from this size on are copied within the object store, if their chunks need no merging.
COPY_BYTES = 16 << 20
_WINDOW_BYTES = 8 << 20


@dataclass(slots=True)
class Found:
    """What turned out on the way. lost: ranges that neither tier gives back. sha256: None when nothing was hashed.

    buffered, buffered_bytes: chunks from the buffer.
    """

    lost: list[Gap] = field(default_factory=list)
    sha256: bytes | None = None
    buffered: int = 0
    buffered_bytes: int = 0


class LogChunks:
    """One pass over a completed log's chunks, which nobody else changes meanwhile.

    hashing: every chunk is opened and hashed; none is copied then.
    """

    def __init__(self, context: ArchiveContext, reader: ExtentReader, record: LogRecord, *, hashing: bool) -> None:
        self._context = context
        self._store = context.store
        self._reader = reader
        self._record = record
        self._cipher: LogCipher = context.open_cipher(record.number)
        self._hash = hashlib.sha256() if hashing else None
        self._at = 0
        self._lines = 0
        self._losses: list[tuple[int, int, str]] = []
        self.extents = list(self._store.extents(record.number))
        self.found = Found()

    def write(self, assembly: Assembly) -> None:
        """Adds all of the log to the assembly."""
        length = self._record.seal.length
        for extent in self.extents:
            # A range of a cut extent that a gap in the buffer has taken the place of.
            self._add(assembly, self._buffered(self._at, extent.offset))
            if not self._copy(assembly, extent):
                self._add(assembly, self._archived(extent))
        self._add(assembly, self._buffered(self._at, length))
        if self._at < length:
            self._losses.append((self._at, length, "the log's end is not stored"))
            self._add(assembly, self._lost(length, self._record.seal.newlines))
        if self._hash is not None:
            self.found.sha256 = self._hash.digest()

    def _add(self, assembly: Assembly, chunks: Iterator[Chunk]) -> None:
        for chunk in merge_chunks(self._cipher, self._seen(chunks), level=FINAL_LEVEL):
            assembly.add(*chunk.piece(self._record.number))

    def _seen(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        for chunk in chunks:
            offset, header, _ = chunk
            if offset > self._at:
                self._losses.append((self._at, offset, "no chunk is stored for it"))
                yield from self._lost(offset, header.lines_before)
            self._at = offset + header.raw_length
            self._lines = header.lines_after
            if self._hash is not None and not self._hashed(chunk):
                self._losses.append((offset, self._at, "the chunk does not open"))
                self._at = offset
                self._lines = header.lines_before
                yield from self._lost(offset + header.raw_length, header.lines_after)
                continue
            yield chunk

    def _lost(self, end: int, lines_at_end: int) -> Iterator[Chunk]:
        """A gap from where the pass is up to `end`."""
        why = "; ".join(sorted({why for _, _, why in self._losses}))
        self._losses.clear()
        log.warning("log %d: offsets %d to %d are lost: %s", self._record.number, self._at, end, why)
        newlines = max(0, lines_at_end - self._lines)
        header = gap_header(end - self._at, GAP_REASON_LOST, newlines, self._lines, self._record.completed_ns)
        self.found.lost.append(Gap(offset=self._at, length=end - self._at, reason=GAP_REASON_LOST, newlines=newlines))
        offset, self._at, self._lines = self._at, end, lines_at_end
        yield offset, header, b""

    def _hashed(self, chunk: Chunk) -> bool:
        offset, header, sealed = chunk
        if header.kind == KIND_GAP or self._hash is None:
            return True
        try:
            raw = open_bytes(self._cipher, offset, header, sealed)
        except Corrupt:
            return False
        self._hash.update(raw)
        return True

    def _buffered(self, begin: int, end: int) -> Iterator[Chunk]:
        """Chunks in the buffer, from a view for each few: none is kept for as long as an upload may take."""
        at = begin
        while at < end:
            with self._store.view() as view:
                chunks = (chunk for chunk in view.chunks(self._record.number, at) if chunk[0] < end)
                taken, size, more = take_some(chunks, _WINDOW_BYTES)
            self.found.buffered += len(taken)
            self.found.buffered_bytes += size
            yield from taken
            if not more:
                return
            at = taken[-1][0] + taken[-1][1].raw_length

    def _archived(self, extent: Extent) -> Iterator[Chunk]:
        want = Want(extent.offset, extent.end_offset, sequential=True)
        read = ExtentRead(self._reader, [extent], self._record.uid, want, self._note_loss)
        try:
            for record in read.records():
                yield record.offset, record.header, record.sealed
        except ObjectGone as gone:
            self._note_loss(extent.offset, extent.end_offset, str(gone))

    def _note_loss(self, begin: int, end: int, why: str) -> None:
        self._losses.append((begin, end, why))

    def _copy(self, assembly: Assembly, extent: Extent) -> bool:
        raw_length = extent.end_offset - extent.offset
        large = extent.length >= COPY_BYTES and raw_length >= LARGE_BYTES * extent.chunks
        if self._hash is not None or not large or extent.offset != self._at:
            return False
        try:
            copied = copy_range(extent, self._reader.entries(extent, self._record.uid))
        except (Corrupt, WrongVersion, NotFound):
            return False
        if copied is None:
            return False
        assembly.copy(*copied)
        self._at = extent.end_offset
        self._lines = extent.lines_before + extent.newlines
        return True


def new_assembly(context: ArchiveContext, key: str, record: LogRecord, extents: list[Extent]) -> Assembly:
    """The assembly of a log's sealed object."""
    hint = max(record.stored_bytes, sum(extent.length for extent in extents))
    return Assembly(context.putter, key, KIND_SEALED, record.uid, hint)
