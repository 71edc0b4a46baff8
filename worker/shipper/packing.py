"""Records of a spool become batches on the wire."""

from __future__ import annotations

from joblog.batch import CODEC_ZSTD, MAX_FRAMES
from joblog.v1 import ingest_pb2
from joblog.worker.spool.merge import merge
from joblog.worker.spool.record import Record
from joblog.worker.spool.split import frame_count


class Packing:
    """Records on their way into batches: small ones are joined, what the supervisor compressed goes as it is."""

    def __init__(self, handle: int, max_batch_bytes: int) -> None:
        self.appends: list[ingest_pb2.Append] = []
        self._handle = handle
        self._max_batch_bytes = max_batch_bytes
        self._run: list[Record] = []
        self._raw_bytes = 0
        self._frames = 0

    def add(self, record: Record) -> None:
        """The next data record, which has no more than max_batch_bytes."""
        frames = frame_count(record)
        whole = record.codec == CODEC_ZSTD and record.crc32c != 0
        if whole or self._raw_bytes + record.raw_length > self._max_batch_bytes or self._frames + frames > MAX_FRAMES:
            self.flush()
        self._run.append(record)
        self._raw_bytes += record.raw_length
        self._frames += frames
        if whole:
            self.flush()

    def flush(self) -> None:
        """Nothing is joined with what comes from now on."""
        if self._run:
            batch = merge(self._run)
            self.appends.append(ingest_pb2.Append(handle=self._handle, offset=self._run[0].offset, batch=batch))
            self._run, self._raw_bytes, self._frames = [], 0, 0
