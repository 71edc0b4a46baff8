"""An archive object being filled in memory, and the extents that it gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from joblog.leader.archive.container import KIND_PACK, KIND_SEALED, KIND_SEGMENT, ContainerWriter, Footer, LogEntries
from joblog.leader.archive.objects import Bytes
from joblog.leader.buffer.chunk import Sealed
from joblog.v1.archive_pb2 import EXTENT_KIND_PACK, EXTENT_KIND_SEALED, EXTENT_KIND_SEGMENT, Extent

_KINDS = {KIND_PACK: EXTENT_KIND_PACK, KIND_SEGMENT: EXTENT_KIND_SEGMENT, KIND_SEALED: EXTENT_KIND_SEALED}


# A chunk as ContainerWriter.add() takes it: offset, value, and the CRC-32C of its record where that is known.
Piece = tuple[int, Sealed, int | None]


class ObjectBuilder:
    """Collects logs' chunks into one container. kind: one of the container's."""

    def __init__(self, kind: int) -> None:
        self._writer = ContainerWriter(kind)
        self.kind = kind
        self.pieces: list[Bytes] = []

    @property
    def size_bytes(self) -> int:
        """Bytes so far."""
        return self._writer.position

    def add_log(self, uid: bytes, chunks: Iterable[Piece]) -> None:
        """Adds one log's chunks in order; each log has one turn."""
        self.pieces.append(self._writer.begin_log(uid))
        for offset, value, crc32c in chunks:
            self.pieces.extend(self._writer.add(offset, value, crc32c))

    def finish(self) -> None:
        """Nothing is added any more; `pieces` are the object."""
        self.pieces.append(self._writer.finish())

    def extents(self, uid: bytes, object_key: str, generation: int) -> Iterator[Extent]:
        """Where the log's chunks lie in the finished object, an extent for each contiguous run."""
        entries = self._writer.index.find(uid)
        if entries is not None and len(entries):
            yield from extents_of(entries, self._writer.footer, object_key, generation)


def extents_of(entries: LogEntries, footer: Footer, object_key: str, generation: int) -> Iterator[Extent]:
    """Extents for one log's chunks in an object, one for each contiguous run."""
    offsets, lengths = entries.column("offset"), entries.column("raw_length")
    seams = [
        at + 1
        for at, ((offset, length), (following, _)) in enumerate(pairwise(zip(offsets, lengths, strict=True)))
        if offset + length != following
    ]
    for begin, end in pairwise([0, *seams, len(entries)]):
        first, last = entries[begin], entries[end - 1]
        yield Extent(
            offset=first.offset,
            end_offset=last.end,
            object=object_key,
            kind=_KINDS[footer.kind],
            position=first.position,
            length=last.position + last.length - first.position,
            chunks=end - begin,
            lines_before=first.lines_before,
            newlines=last.lines_before + last.newlines - first.lines_before,
            first_time_ns=first.first_time_ns,
            last_time_ns=last.first_time_ns,
            object_bytes=footer.size,
            index_position=footer.index_position,
            index_length=footer.index_length,
            object_logs=footer.logs,
            generation=generation,
        )
