"""Spools for tests: made in a folder, filled with known bytes, read back as bytes and gaps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import NamedTuple

from joblog.batch import open_payload, unpack_frames
from joblog.worker.spool.bound import SpoolBounds
from joblog.worker.spool.format import BLOCK, DATA, EVENT, GAP, SpoolTask
from joblog.worker.spool.reader import Record, SpoolReader, merge
from joblog.worker.spool.sealing import SpoolKey
from joblog.worker.spool.writer import SpoolWriter

SPOOL_KEY = SpoolKey(bytes(range(32)))


class Sealing:
    """Whether the spools of a test are sealed; see the fixture `sealing`."""

    key: SpoolKey | None = None


def open_reader(folder: Path | str, keys: Callable[[str], SpoolKey | None] | None = None) -> SpoolReader:
    """A reader that has the key of the spools that make_writer makes."""
    return SpoolReader(Path(folder), keys or {SPOOL_KEY.key_id: SPOOL_KEY}.get)


def make_writer(
    root: Path,
    *,
    name: str = "spool1",
    task_bytes: int = 64 << 20,
    worker_bytes: int = 1 << 30,
    segment_bytes: int = 8 << 20,
    policy: str = BLOCK,
    key: SpoolKey | None = None,
) -> SpoolWriter:
    task = SpoolTask(
        writer_id=b"w" * 16, namespace="default", run="r", task="t", max_spool_bytes=task_bytes, policy=policy
    )
    ticks = count(1_000_000_000, 1_500)
    return SpoolWriter(
        root / "worker" / "spool" / name,
        task,
        SpoolBounds(task_bytes, worker_bytes, segment_bytes),
        lambda: next(ticks),
        key=key or Sealing.key,
    )


def append(writer: SpoolWriter, data: bytes, *, streams: bytes = b"\1", force: bool = False) -> bool:
    """One record with as many frames as `streams` has bytes."""
    share = len(data) // len(streams)
    lengths = [share] * (len(streams) - 1)
    lengths.append(len(data) - sum(lengths))
    first = 1_000_000_000 + writer.length * 1000
    times = [first + index * 1000 for index in range(len(streams))]
    return writer.append_data(bytearray(data), len(data), streams, times, lengths, force=force)


class Gap(NamedTuple):
    offset: int
    length: int
    newlines: int
    reason: str


class Content(NamedTuple):
    """What a reader gave: `data` has a zero byte for each byte in a gap."""

    data: bytes
    gaps: list[Gap]
    events: list[str]
    records: list[Record]


def content(records: Iterable[Record], start: int = 0) -> Content:
    """Puts records together; asserts that they follow each other, and that what they say of themselves is true."""
    data = bytearray()
    gaps: list[Gap] = []
    events: list[str] = []
    kept = list(records)
    for record in kept:
        assert record.offset == start + len(data)
        if record.kind == GAP:
            gaps.append(Gap(record.offset, record.raw_length, record.newlines, json.loads(record.body)["reason"]))
            data += bytes(record.raw_length)
        elif record.kind == EVENT:
            events.append(json.loads(record.body)["kind"])
        else:
            assert record.kind == DATA
            batch = merge([record])
            raw = open_payload(batch.codec, batch.payload, batch.raw_length, batch.crc32c)
            assert raw.count(b"\n") == record.newlines == batch.newlines
            assert sum(unpack_frames(batch.frames, len(raw)).lengths) == record.raw_length
            data += raw
    return Content(bytes(data), gaps, events, kept)


def read_all(reader: SpoolReader, max_bytes: int = 1 << 20) -> Content:
    """Everything from where the reader is to the end."""
    start = reader.offset
    records: list[Record] = []
    while part := reader.read(max_bytes):
        records += part
    return content(records, start)
