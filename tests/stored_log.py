"""Logs written straight into a store, and the simple model that reads of them are held against."""

from __future__ import annotations

import asyncio
import hashlib
import os
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import google_crc32c

from joblog.batch import STDERR, STDOUT, Frames, deflate, pack_frames
from joblog.identity import LogName
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import KIND_DATA, ChunkHeader
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.ingest.live import Live
from joblog.leader.metrics import Metrics
from joblog.leader.reading.reader import LogReader
from joblog.v1 import types_pb2

FIRST_TIME_NS = 1_700_000_000_000_000_000
Frame = tuple[int, bytes]
NAME = LogName("default", "demo", "build", 1)


@dataclass
class Model:
    """What a log should read as: every byte with its stream (0: missing), in order."""

    data: bytearray = field(default_factory=bytearray)
    streams: bytearray = field(default_factory=bytearray)

    def present(self, start: int, end: int, stream: int | None) -> bytes:
        """The bytes of [start, end) that are there, of one stream or both."""
        chosen = {stream} if stream else {STDOUT, STDERR}
        return bytes(
            byte for byte, of in zip(self.data[start:end], self.streams[start:end], strict=True) if of in chosen
        )


class StoredLog:
    """A log whose chunks are written as ingest writes them."""

    def __init__(self, leader: StoredLeader, name: LogName) -> None:
        self.store = leader.store
        self.live = leader.live
        self.model = Model()
        self.lines = 0
        self.gaps: list[types_pb2.Gap] = []
        uid = os.urandom(16)
        dek, wrapped = leader.keyring.new_dek(uid)
        self.cipher = LogCipher(dek, uid)
        self.number = self.store.next_number()
        self.record = types_pb2.LogRecord(
            id=types_pb2.LogId(namespace=name.namespace, run=name.run, task=name.task, attempt=name.attempt),
            uid=uid,
            number=self.number,
            writer_id=os.urandom(16),
            state=types_pb2.LOG_STATE_LIVE,
            tier=types_pb2.TIER_BUFFER,
            created_ns=FIRST_TIME_NS + self.number,
            start=types_pb2.TaskStart(command=["make"], host="here", labels={"kind": "test"}),
        )
        changes = Changes()
        changes.put_log(self.record)
        changes.put_dek(self.number, wrapped)
        self.store.write(changes)
        self.live.advance(self.number, 0)

    @property
    def length(self) -> int:
        return len(self.model.data)

    def append(self, *frames: Frame) -> None:
        """One chunk of (stream, bytes) frames, a millisecond apart."""
        raw = b"".join(data for _, data in frames)
        columns = Frames(
            bytes(stream for stream, _ in frames),
            array("Q", range(0, 1000 * len(frames), 1000)),
            array("I", (len(data) for _, data in frames)),
        )
        codec, payload = deflate(raw)
        packed = pack_frames(columns)
        header = ChunkHeader(
            kind=KIND_DATA,
            codec=codec,
            newlines=raw.count(b"\n"),
            raw_length=len(raw),
            lines_before=self.lines,
            first_time_ns=FIRST_TIME_NS + self.length,
            crc32c=google_crc32c.value(raw),
            frames_length=len(packed),
        ).pack()
        changes = Changes()
        changes.put_chunk(self.number, self.length, header + self.cipher.seal(header, self.length, packed + payload))
        self.store.write(changes)
        self.lines += raw.count(b"\n")
        self.model.data += raw
        for stream, data in frames:
            self.model.streams += bytes([stream]) * len(data)
        self._wake()

    def gap(self, length: int, newlines: int = 0, reason: int = types_pb2.GAP_REASON_SPOOL_FULL) -> None:
        gap = types_pb2.Gap(offset=self.length, length=length, newlines=newlines, reason=reason)  # type: ignore[arg-type]
        changes = Changes()
        changes.put_gap(self.number, gap, self.lines, FIRST_TIME_NS)
        self.store.write(changes)
        self.gaps.append(gap)
        self.lines += newlines
        self.model.data += bytes(length)
        self.model.streams += bytes(length)
        self._wake()

    def event(self, kind: str, time_ns: int = FIRST_TIME_NS) -> None:
        changes = Changes()
        changes.put_event(self.number, types_pb2.Event(offset=self.length, time_ns=time_ns, kind=kind, message="said"))
        self.store.write(changes)
        self.live.changed(self.number, open_for_writing=True)

    def complete(self, **wrong: object) -> types_pb2.Seal:
        """Seals the log; `wrong`: fields of the seal that are to be other ones."""
        present = self.model.present(0, self.length, None)
        fields: dict[str, object] = {
            "length": self.length,
            "sha256": hashlib.sha256(present).digest(),
            "newlines": self.lines,
            "gaps": self.gaps,
        }
        seal = types_pb2.Seal(**(fields | wrong))  # type: ignore[arg-type]
        self.record.state = types_pb2.LOG_STATE_COMPLETED
        self.record.completed_ns = FIRST_TIME_NS + 10**9
        self.record.seal.CopyFrom(seal)
        self.record.next_offset = self.length
        self.record.newlines = self.lines
        self.record.outcome.kind = types_pb2.OUTCOME_KIND_EXITED
        self.put_record()
        self.live.changed(self.number, open_for_writing=False)
        return seal

    def interrupt(self) -> None:
        self.record.state = types_pb2.LOG_STATE_INTERRUPTED
        self.put_record()
        self.live.changed(self.number, open_for_writing=True)

    def put_record(self) -> None:
        changes = Changes()
        changes.put_log(self.record)
        self.store.write(changes)

    def damage(self, offset: int) -> None:
        """Changes a bit of the chunk that starts at `offset`, as a disk might without anybody noticing."""
        with self.store.view() as view:
            found, header, sealed = next(view.chunks(self.number, offset))
        assert found == offset
        broken = bytearray(sealed)
        broken[-1] ^= 1
        changes = Changes()
        changes.put_chunk(self.number, offset, header.pack() + bytes(broken))
        self.store.write(changes)

    def drop(self, offset: int) -> None:
        """Loses the chunk that starts at `offset`."""
        changes = Changes()
        changes.delete_chunks(self.number, offset, offset + 1)
        self.store.write(changes)

    def _wake(self) -> None:
        self.live.advance(self.number, self.length)


class StoredLeader:
    """A store with what it takes to read from it."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.open(folder / "store")
        self.keyring = Keyring.open(self.store, FileKms(folder / "kek.key"), self.store.store_id)
        self.live = Live()
        self.metrics = Metrics()
        self.pool = ThreadPoolExecutor(4, thread_name_prefix="reading")
        self.reader = LogReader(self.store, self.keyring, self.live, self.pool, self.metrics)

    def log(self, name: LogName = NAME) -> StoredLog:
        return StoredLog(self, name)

    def close(self) -> None:
        self.pool.shutdown()
        self.store.close()


@contextmanager
def stored_leader(folder: Path) -> Iterator[StoredLeader]:
    leader = StoredLeader(folder)
    try:
        yield leader
    finally:
        leader.close()


def fill(log: StoredLog, texts: Sequence[bytes]) -> None:
    """One chunk of standard output per text."""
    for text in texts:
        log.append((STDOUT, text))


async def eventually(condition: object, seconds: float = 5.0) -> None:
    """Waits until `condition()` is true; fails after `seconds`."""
    assert callable(condition)
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)
