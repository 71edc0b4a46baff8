"""A task that prints 100 bytes a second for hours, or a day, by an accelerated clock."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

import google_crc32c
import pytest

from joblog.batch import STDOUT, Frames, deflate, pack_frames
from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import KIND_DATA, ChunkHeader
from joblog.leader.reading.piece import ReadSpec
from tests.archiving import ArchiveSite, CountedPuts
from tests.stored_log import FIRST_TIME_NS, StoredLog

Start = Callable[..., ArchiveSite]

HOUR_SECONDS = 3600
INTERVAL_SECONDS = 10


class Trickle:
    """Prints a line of 100 bytes a second; a chunk each, as a worker ships it."""

    def __init__(self, log: StoredLog) -> None:
        self.log = log
        self.data = bytearray()
        self._random = random.Random(1)

    def line(self, second: int) -> bytes:
        noise = self._random
        text = (
            f"2026-11-20T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z INFO worker: step {second} of "
            f"86400 done in {noise.random():.2f} s, {noise.choice(['ok', 'cached', 'retried'])}"
        )
        return text.ljust(99)[:99].encode() + b"\n"

    def go_on(self, begin: int, seconds: int) -> None:
        changes = Changes()
        model, before = self.log.model, len(self.data)
        for second in range(begin, begin + seconds):
            raw = self.line(second)
            codec, payload = deflate(raw)
            packed = pack_frames(Frames(bytes([STDOUT]), [0], [len(raw)]))
            header = ChunkHeader(
                kind=KIND_DATA,
                codec=codec,
                newlines=1,
                raw_length=len(raw),
                lines_before=second,
                # Never exactly a second after the one before.
                first_time_ns=FIRST_TIME_NS + second * 10**9 + self._random.randrange(5 * 10**6),
                crc32c=google_crc32c.value(raw),
                frames_length=len(packed),
            ).pack()
            offset = len(self.data)
            sealed = self.log.cipher.seal(header, offset, packed + payload)
            changes.put_chunk(self.log.number, offset, header + sealed)
            self.data += raw
        self.log.store.write(changes, sync=False)
        self.log.lines = begin + seconds
        model.data += self.data[before:]
        model.streams += bytes([STDOUT]) * (len(self.data) - before)


async def requests_to_read(site: ArchiveSite, objects: CountedPuts, number: int) -> int:
    """Requests that a reader with empty caches makes to read the log from its first byte."""
    reader = site.new_reader()
    objects.gets.clear()
    pieces = [piece async for piece in reader.read(number, ReadSpec())]
    assert sum(len(piece.data) for piece in pieces) == pieces[-1].next_offset
    return len(objects.gets)


@pytest.mark.parametrize("hours", [2, pytest.param(24, marks=pytest.mark.fault)])
async def test_little_for_long(start: Start, objects: CountedPuts, hours: int) -> None:
    site = start()
    log = site.leader.log()
    trickle = Trickle(log)
    most_extents = most_requests = 0
    for begin in range(0, hours * HOUR_SECONDS, INTERVAL_SECONDS):
        trickle.go_on(begin, INTERVAL_SECONDS)
        site.flush()
        most_extents = max(most_extents, len(list(site.store.extents(log.number))))
        if begin % 600 == 0:
            most_requests = max(most_requests, await requests_to_read(site, objects, log.number))
            site.clean()
    before_sealing = objects.put_bytes
    log.complete(sha256=hashlib.sha256(trickle.data).digest())
    site.seal()
    record = site.store.get_log(log.number)
    assert record is not None
    stored = record.stored_bytes
    print(
        f"extents {most_extents}, requests {most_requests}, sealed {stored / len(trickle.data):.3f} per raw byte, "
        f"put {objects.put_bytes / stored:.2f} times ({before_sealing / stored:.2f} before), {len(objects.puts)} puts"
    )
    assert isinstance(site.extents, ExtentReader)
    assert (await site.verify(log.number)).complete
    assert most_extents <= 100
    assert most_requests <= 20
    assert stored <= 0.25 * len(trickle.data)
    assert objects.put_bytes < 6 * stored
