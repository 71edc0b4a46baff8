"""Records as a reader hands them out, and how one is cut in two."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import NamedTuple

from joblog.batch import CODEC_NONE, CODEC_ZSTD, Frames, inflate, pack_frames, unpack_frames
from joblog.errors import Corrupt, InvalidInput
from joblog.worker.spool.format import CHECKED_BYTES, DATA, GAP, HEADER_BYTES, Header
from joblog.worker.spool.sealing import SpoolCipher


class Record(NamedTuple):
    """One piece of a log. kind: DATA, GAP or EVENT (worker.spool.format).

    DATA: `payload` holds raw_length bytes packed by `codec`; `frames` their packed columns; crc32c of the raw bytes, 0
    when it was not computed. GAP: raw_length and newlines say how much is missing (newlines 0 where that is not known);
    `body` is JSON {"reason": "spool_full"|"lost"}. EVENT: `body` is JSON {"kind", "message"}, its time first_time_ns.
    """

    kind: int
    offset: int
    raw_length: int
    codec: int
    payload: bytes
    frames: bytes
    newlines: int
    lines_before: int
    first_time_ns: int
    crc32c: int
    body: bytes


class EndRecord(NamedTuple):
    """The log's last word. sha256: empty where bytes were dropped or lost. outcome: proto Outcome's fields by name."""

    length: int
    sha256: bytes
    newlines: int
    outcome: dict[str, object]


def record_at(header: Header, data: memoryview, at: int, cipher: SpoolCipher | None = None) -> Record:
    """The record at data[at:], whose header and check were looked at. Raises Corrupt when it does not open."""
    body = data[at + HEADER_BYTES :][: header.body_length]
    crc32c = header.raw_crc32c
    if cipher is not None:
        crc32c, opened = cipher.open(bytes(data[at : at + CHECKED_BYTES]), header.offset, body)
        body = memoryview(opened)
    is_data = header.kind == DATA
    middle = header.frames_length if is_data else 0
    return Record(
        kind=header.kind,
        offset=header.offset,
        raw_length=header.raw_length,
        codec=header.codec,
        payload=bytes(body[middle:]) if is_data else b"",
        frames=bytes(body[:middle]),
        newlines=header.newlines,
        lines_before=header.lines_before,
        first_time_ns=header.first_time_ns,
        crc32c=crc32c,
        body=b"" if is_data else bytes(body),
    )


def raw_bytes(record: Record) -> bytes:
    """A DATA record's bytes. Raises Corrupt."""
    if record.codec == CODEC_NONE:
        return record.payload
    try:
        if record.codec == CODEC_ZSTD:
            return inflate(record.payload, record.raw_length)
    except InvalidInput as error:
        raise Corrupt(f"spool record at offset {record.offset}: {error}") from None
    raise Corrupt(f"spool record at offset {record.offset}: codec {record.codec} is not known")


def frames_from(frames: Frames, skip: int) -> tuple[Frames, int]:
    """The frames without their first `skip` bytes, and the microseconds by which the first one now is later."""
    ends = list(accumulate(frames.lengths))
    index = bisect_right(ends, skip)
    lengths = [ends[index] - skip, *frames.lengths[index + 1 :]]
    later = frames.times_us[index]
    times = [time_us - later for time_us in frames.times_us[index:]]
    return Frames(frames.streams[index:], times, lengths), later


def cut_before(record: Record, offset: int) -> Record:
    """What a DATA or GAP record holds from `offset` on, which lies inside it. Raises Corrupt."""
    skip = offset - record.offset
    if record.kind == GAP:
        # Where in the gap its newlines were is not known: they all stay with its rest.
        return record._replace(offset=offset, raw_length=record.raw_length - skip)
    raw = raw_bytes(record)
    try:
        frames, later = frames_from(unpack_frames(record.frames, record.raw_length), skip)
    except InvalidInput as error:
        raise Corrupt(f"spool record at offset {record.offset}: {error}") from None
    newlines_cut = raw.count(b"\n", 0, skip)
    return record._replace(
        offset=offset,
        raw_length=record.raw_length - skip,
        codec=CODEC_NONE,
        payload=raw[skip:],
        frames=pack_frames(frames),
        newlines=record.newlines - newlines_cut,
        lines_before=record.lines_before + newlines_cut,
        first_time_ns=record.first_time_ns + later * 1000,
        crc32c=0,
    )
