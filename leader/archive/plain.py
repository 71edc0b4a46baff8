"""A copy of a sealed log as plain text, for people and tools that know nothing but S3. Off unless it is asked for.

It is encrypted at the server alone: whoever may read the bucket and use its key reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain

from joblog.errors import NotFound, Unavailable
from joblog.identity import LogName
from joblog.leader.archive.context import ArchiveContext
from joblog.leader.archive.extent_read import ExtentRead, Want
from joblog.leader.archive.fetch import ExtentReader, ObjectGone
from joblog.leader.archive.layout import plain_key
from joblog.leader.archive.objects import Bytes
from joblog.leader.archive.putting import cut
from joblog.leader.buffer.chunk import KIND_GAP
from joblog.leader.buffer.opening import open_bytes
from joblog.v1.archive_pb2 import Extent
from joblog.v1.types_pb2 import LogRecord


class PlainCopier:
    """Writes plain copies. Blocks; memory is that of some parts."""

    def __init__(self, context: ArchiveContext, reader: ExtentReader) -> None:
        self._context = context
        self._reader = reader

    @staticmethod
    def key(record: LogRecord) -> str:
        """Where a log's plain copy is."""
        name = record.id
        return plain_key(LogName(name.namespace, name.run, name.task, name.attempt))

    def write(self, record: LogRecord, extents: Sequence[Extent]) -> int:
        """Writes all bytes that the sealed log has, in order; what lies in gaps is left out. Returns how many.

        Replaces what an earlier try may have left. Raises Unavailable when the sealed log can't be read.
        """
        key, putter = self.key(record), self._context.putter
        parts = cut(self._text(record, extents), putter.part_bytes)
        first: list[Bytes] = next(parts, [])
        second = next(parts, None)
        if second is None:
            return putter.put_over(key, b"".join(first)).size
        with suppress(NotFound):
            putter.objects.delete([key])
        upload = putter.objects.start_multipart(key)
        size = 0

        def counted() -> Iterator[Sequence[Bytes]]:
            nonlocal size
            for part in chain((first, second), parts):
                size += sum(map(len, part))
                yield part

        try:
            putter.send_parts(upload, counted())
            return putter.complete(upload, size).size
        except BaseException:
            upload.abort()
            raise

    def _text(self, record: LogRecord, extents: Sequence[Extent]) -> Iterator[bytes]:
        cipher = self._context.open_cipher(record.number)

        def lost(begin: int, end: int, why: str) -> None:
            raise Unavailable(f"{self.key(record)}: offsets {begin} to {end} can't be read back: {why}")

        for extent in extents:
            want = Want(extent.offset, extent.end_offset, sequential=True)
            try:
                for chunk in ExtentRead(self._reader, [extent], record.uid, want, lost).records():
                    if chunk.header.kind != KIND_GAP:
                        yield open_bytes(cipher, chunk.offset, chunk.header, chunk.sealed)
            except ObjectGone as gone:
                raise Unavailable(f"{self.key(record)}: {gone}") from None
