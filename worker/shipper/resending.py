"""Ranges of a spool that the leader asks for again, as its disk lost what it had acked."""

from __future__ import annotations

from collections import deque

from joblog.v1 import ingest_pb2
from joblog.worker.shipper.packing import Packing
from joblog.worker.spool.format import DATA, EVENT
from joblog.worker.spool.reader import SpoolReader
from joblog.worker.spool.split import head, split

# A leader that lost everything asks again when it has got what it asked for first.
MAX_RANGES = 1000


class Resending:
    """What of one spool is to be sent again, by a reader of its own. Belongs to the shipper's thread."""

    def __init__(self, reader: SpoolReader) -> None:
        """reader: the spool's first one; it goes on as ever."""
        self._first = reader
        self._ranges: deque[tuple[int, int]] = deque()
        self._second: SpoolReader | None = None

    def add(self, offset: int, length: int) -> None:
        """The leader misses these bytes."""
        if length > 0 and len(self._ranges) < MAX_RANGES and (offset, offset + length) not in self._ranges:
            self._ranges.append((offset, offset + length))

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def take(self, handle: int, max_raw_bytes: int, max_batch_bytes: int) -> list[ingest_pb2.Append]:
        """The next of these bytes, in order; a range ends early where the spool does not have them any more.

        Raises what reading a spool raises.
        """
        packing = Packing(handle, max_batch_bytes)
        begin, end = self._ranges.popleft()
        at = self._read(packing, begin, end, max_raw_bytes, max_batch_bytes)
        packing.flush()
        if begin < at < end:
            self._ranges.appendleft((at, end))
        elif not self._ranges:
            self.close()
        return packing.appends

    def _read(self, packing: Packing, begin: int, end: int, max_raw_bytes: int, max_batch_bytes: int) -> int:
        """Reads some of [begin, end); where to go on, `begin` where nothing is there."""
        reader = self._second
        if reader is None:
            reader = self._second = self._first.second()
        if reader.offset != begin:
            reader.seek(begin)
        at = begin
        for record in reader.read(min(max_raw_bytes, end - begin)):
            if record.kind == EVENT:
                continue
            if record.kind != DATA or record.offset != at:
                return begin
            for part in split(
                record if record.offset + record.raw_length <= end else head(record, end - at), max_batch_bytes
            ):
                packing.add(part)
            at = min(end, record.offset + record.raw_length)
        return at

    def close(self) -> None:
        """Forgets what is not sent, and closes the files."""
        self._ranges.clear()
        if self._second is not None:
            self._second.close()
            self._second = None
