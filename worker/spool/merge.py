"""Joins consecutive data records into one batch for the wire."""

from __future__ import annotations

from collections.abc import Sequence

import google_crc32c

from joblog.batch import CODEC_ZSTD, Frames, deflate, pack_frames, unpack_frames
from joblog.errors import Corrupt, InvalidInput
from joblog.v1 import types_pb2
from joblog.worker.spool.record import Record, raw_bytes


def _joined_frames(records: Sequence[Record]) -> bytes:
    streams = b""
    times_us: list[int] = []
    lengths: list[int] = []
    for record in records:
        later = (record.first_time_ns - records[0].first_time_ns) // 1000
        try:
            frames = unpack_frames(record.frames, record.raw_length)
        except InvalidInput as error:
            raise Corrupt(f"spool record at offset {record.offset}: {error}") from None
        streams += frames.streams
        times_us.extend(frames.times_us if later == 0 else [time_us + later for time_us in frames.times_us])
        lengths.extend(frames.lengths)
    return pack_frames(Frames(streams, times_us, lengths))


def merge(records: Sequence[Record]) -> types_pb2.Batch:
    """One batch of DATA records that follow each other without a gap; its offset is records[0].offset.

    A single compressed record with a CRC passes through untouched. The caller keeps their raw lengths together within
    the batch limit. Raises Corrupt.
    """
    first = records[0]
    if len(records) == 1 and first.codec == CODEC_ZSTD and first.crc32c:
        codec, payload, crc32c = CODEC_ZSTD, first.payload, first.crc32c
    else:
        raw = b"".join(map(raw_bytes, records))
        codec, payload = deflate(raw)
        crc32c = google_crc32c.value(raw)
    return types_pb2.Batch(
        raw_length=sum(record.raw_length for record in records),
        codec=codec,  # type: ignore[arg-type]
        payload=payload,
        crc32c=crc32c,
        newlines=sum(record.newlines for record in records),
        first_time_ns=first.first_time_ns,
        frames=first.frames if len(records) == 1 else _joined_frames(records),
    )
