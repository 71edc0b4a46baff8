"""The whole way of a byte in one process, held against a list of bytes: spool, shipper, connection, ingest, reader.

Steps write, cut the line, lose acks, restart either side, fill the spool, end logs, and read at random; after each of
them what can be read is what was written, as far as it goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from joblog.address import KnownLeader
from joblog.batch import STDERR, STDOUT
from joblog.identity import LogName
from joblog.leader.metrics import Metrics
from joblog.leader.reading.piece import Piece, ReadSpec, Start, StartKind
from joblog.leader.reading.reader import LogReader
from joblog.trust import PLAINTEXT
from joblog.v1 import types_pb2
from joblog.worker.shipper.limits import ShipperLimits
from joblog.worker.shipper.shipper import Shipper
from joblog.worker.spool.bound import SpoolBounds
from joblog.worker.spool.format import BLOCK, TRUNCATE, SpoolTask
from joblog.worker.spool.writer import SpoolWriter
from tests.e2e.push_stream import Leader, leader_in
from tests.examples import examples
from tests.fault.proxy import Proxy
from tests.unit.spool.spool_building import SPOOL_KEY

T = TypeVar("T")

SPOOL_BYTES = 16 << 10
# Of one record of such a spool: an eighth of it.
RECORD_BYTES = SPOOL_BYTES // 8
DEADLINE_SECONDS = 20.0
LIMITS = ShipperLimits(
    window_bytes=8 << 10,
    backoff_min_seconds=0.002,
    backoff_max_seconds=0.02,
    poll_seconds=0.005,
    scan_seconds=0.02,
)


class ModelLog:
    """A log being written: its writer, and every byte of it with its stream."""

    def __init__(self, root: Path, number: int, policy: str) -> None:
        self.name = LogName("default", "run", f"task{number}", 1)
        task = SpoolTask(
            writer_id=bytes([number]) * 16, namespace="default", run="run", task=self.name.task, policy=policy
        )
        # Every other spool is sealed.
        key = SPOOL_KEY if number % 2 else None
        self.writer = SpoolWriter(root / f"spool{number:04d}", task, SpoolBounds(SPOOL_BYTES), key=key)
        self.data = bytearray()
        self.streams = bytearray()
        self.events: list[str] = []
        self.over = False
        self.died = False
        self.length_seen = 0

    def write(self, frames: list[tuple[int, bytes]]) -> None:
        raw = bytearray(b"".join(data for _, data in frames))
        now = time.time_ns()
        times = [now + 1000 * number for number in range(len(frames))]
        streams = bytes(stream for stream, _ in frames)
        if self.writer.append_data(raw, len(raw), streams, times, [len(data) for _, data in frames]):
            self.data += raw
            for stream, data in frames:
                self.streams += bytes([stream]) * len(data)

    def places(self, start: int, end: int, stream: int | None) -> list[int]:
        """The offsets in [start, end) of one stream, or of both."""
        return [at for at in range(start, end) if stream is None or self.streams[at] == stream]


def frames_of(seed: int, count: int, most_bytes: int) -> list[tuple[int, bytes]]:
    """Frames of both streams, of words that a codec makes smaller and bytes that none does."""
    rng = random.Random(seed)
    frames = []
    for _ in range(count):
        size = rng.randrange(1, most_bytes // count)
        data = rng.randbytes(size) if rng.random() < 0.3 else (b"line %d\n" % rng.randrange(99)) * size
        frames.append((rng.choice((STDOUT, STDERR)), data[:size]))
    return frames


class Chain(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="joblog."))
        self.spools = self.folder / "worker" / "spool"
        self.runner = asyncio.Runner()
        self.logs: list[ModelLog] = []
        self.leader: Leader | None = None
        self.proxy = Proxy(self.target)
        self.pool = ThreadPoolExecutor(2)
        self.failed = False
        self.may_have_gaps = False
        self._leader_ends: Callable[[], Coroutine[Any, Any, object]] | None = None
        self._shipper: Shipper | None = None
        self._shipping: asyncio.Task[None] | None = None

    def target(self) -> tuple[str, int] | None:
        if self.leader is None:
            return None
        host, _, port = self.leader.address.rpartition(":")
        return host, int(port)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self.runner.run(work)
        except BaseException:
            self.failed = True
            raise

    # Both sides, up and down

    @initialize(
        policy=st.sampled_from([BLOCK, BLOCK, TRUNCATE]),
        max_log_bytes=st.sampled_from([0, 0, 6000]),
        max_batch_bytes=st.sampled_from([700, 1 << 20]),
    )
    def begin(self, policy: str, max_log_bytes: int, max_batch_bytes: int) -> None:
        self.policy = policy
        self.may_have_gaps = policy == TRUNCATE or max_log_bytes > 0
        self.limits: dict[str, Any] = {
            "max_log_bytes": max_log_bytes,
            "max_batch_bytes": max_batch_bytes,
            "heartbeat_seconds": 0.2,
            "lost_after_seconds": 2.0,
            "gather_seconds": 0.02,
            "gather_bytes": 3000,
        }
        self.logs.append(ModelLog(self.spools, 1, policy))
        self.run(self._start_leader())
        self.run(self._start_worker())

    async def _start_leader(self) -> None:
        stack = contextlib.AsyncExitStack()
        self.leader = await stack.enter_async_context(leader_in(self.folder / "leader", None, **self.limits))
        self._leader_ends = stack.aclose

    async def _stop_leader(self) -> None:
        if self._leader_ends is not None:
            self.leader = None
            await self._leader_ends()
            self._leader_ends = None

    async def _start_worker(self) -> None:
        keys = {SPOOL_KEY.key_id: SPOOL_KEY}.get
        self._shipper = Shipper(self.spools, "w", lambda: KnownLeader(self.proxy.address, PLAINTEXT), LIMITS, keys=keys)
        self._shipping = asyncio.create_task(self._shipper.run())

    async def _stop_worker(self) -> None:
        if self._shipper is not None and self._shipping is not None:
            self._shipping.cancel()
            _, late = await asyncio.wait([self._shipping], timeout=DEADLINE_SECONDS)
            assert not late, "the shipper does not end"
            await self._shipper.stop()
            self._shipper = None

    @rule(away=st.booleans())
    def restart_leader(self, away: bool) -> None:
        async def work() -> None:
            await self._stop_leader()
            if not away:
                await self._start_leader()

        self.run(work())

    @precondition(lambda self: self.leader is None)
    @rule()
    def leader_comes_back(self) -> None:
        self.run(self._start_leader())

    @rule()
    def restart_worker(self) -> None:
        async def work() -> None:
            await self._stop_worker()
            await self._start_worker()

        self.run(work())

    @rule()
    def cut_the_line(self) -> None:
        self.proxy.cut()

    @rule(number=st.integers(0, 2), seed=st.integers(0, 2**32))
    def lose_the_acks(self, number: int, seed: int) -> None:
        async def work() -> None:
            self.proxy.freeze(replies_only=True)
            log = self.logs[number % len(self.logs)]
            if not log.over:
                log.write(frames_of(seed, 3, RECORD_BYTES))
            await asyncio.sleep(0.03)
            self.proxy.cut()
            self.proxy.thaw()

        self.run(work())

    @rule(number=st.integers(0, 2), seed=st.integers(0, 2**32))
    def lose_what_is_on_its_way(self, number: int, seed: int) -> None:
        """On a slow line acks come for a part of what was sent; the rest is lost."""

        async def work() -> None:
            self.proxy.slow(200_000)
            log = self.logs[number % len(self.logs)]
            for again in range(0 if log.over else 6):
                log.write(frames_of(seed + again, 2, RECORD_BYTES))
            await asyncio.sleep(0.04)
            self.proxy.cut()
            self.proxy.slow(0)

        self.run(work())

    @rule(seconds=st.sampled_from([0.0, 0.005, 0.05]))
    def let_it_work(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    # What tasks do

    @precondition(lambda self: len(self.logs) < 3)
    @rule()
    def another_log(self) -> None:
        self.logs.append(ModelLog(self.spools, len(self.logs) + 1, self.policy))

    @rule(
        number=st.integers(0, 2),
        seed=st.integers(0, 2**32),
        times=st.sampled_from([1, 1, 3, 12]),
        frames=st.integers(1, 5),
        size=st.sampled_from([20, 500, RECORD_BYTES]),
    )
    def write(self, number: int, seed: int, times: int, frames: int, size: int) -> None:
        log = self.logs[number % len(self.logs)]
        for again in range(0 if log.over else times):
            log.write(frames_of(seed + again, frames, size))

    @rule(number=st.integers(0, 2))
    def say_something(self, number: int) -> None:
        log = self.logs[number % len(self.logs)]
        if not log.over:
            kind = f"event{len(log.events)}"
            if log.writer.append_event(kind, "said"):
                log.events.append(kind)

    @rule(number=st.integers(0, 2), properly=st.booleans())
    def end(self, number: int, properly: bool) -> None:
        log = self.logs[number % len(self.logs)]
        if not log.over:
            self._end(log, properly=properly)

    def _end(self, log: ModelLog, *, properly: bool) -> None:
        if properly:
            assert log.writer.end({"kind": types_pb2.OUTCOME_KIND_EXITED, "exit_code": 3})
        else:
            log.writer.close()
        log.over, log.died = True, not properly

    # What readers see

    @precondition(lambda self: self.leader is not None)
    @rule(
        number=st.integers(0, 2),
        kind=st.sampled_from(list(StartKind)),
        place=st.floats(0, 1),
        limit=st.sampled_from([None, 1, 100, 5000]),
        stream=st.sampled_from([None, None, STDOUT, STDERR]),
    )
    def read(self, number: int, kind: StartKind, place: float, limit: int | None, stream: int | None) -> None:
        self.run(self._read(self.logs[number % len(self.logs)], kind, place, limit, stream))

    def _reader(self) -> LogReader:
        assert self.leader is not None
        return LogReader(self.leader.store, self.leader.keyring, self.leader.ingest.live, self.pool, Metrics())

    async def _read(self, log: ModelLog, kind: StartKind, place: float, limit: int | None, stream: int | None) -> None:
        assert self.leader is not None
        record = self._record(log)
        if record is None:
            return
        length = record.next_offset
        self._check_length(log, length)
        start, first = self._start(log, kind, place, length, stream)
        if start is None:
            return
        pieces = [
            piece
            async for piece in self._reader().read(
                record.number, ReadSpec(start, limit_bytes=limit, stream=stream, with_frames=True)
            )
        ]
        missing = self._check_pieces(log, pieces, first, stream)
        there = [at for at in log.places(first, pieces[-1].next_offset, stream) if at not in missing]
        assert b"".join(piece.data for piece in pieces) == bytes(log.data[at] for at in there)
        if limit is not None:
            assert len(there) <= limit
        if limit is None or len(there) < limit:
            assert pieces[-1].next_offset >= length

    def _start(
        self, log: ModelLog, kind: StartKind, place: float, length: int, stream: int | None
    ) -> tuple[Start | None, int]:
        """Where a read begins, as it is asked for and as an offset. None: the model can't tell (there may be gaps)."""
        if kind is StartKind.OFFSET:
            offset = int(place * length)
            return Start(kind, offset), offset
        if self.may_have_gaps:
            return None, 0
        places = log.places(0, length, stream)
        if kind is StartKind.LAST_BYTES:
            count = int(place * len(places))
            first = places[-count] if count else length
            return (Start(kind, count), first) if count else (None, 0)
        if kind is StartKind.LAST_LINES or stream is not None:
            return None, 0
        lines = [0, *(at + 1 for at in range(length) if log.data[at] == 0x0A and at + 1 < length)]
        number = int(place * (len(lines) - 1))
        return Start(kind, number + 1), lines[number]

    def _check_length(self, log: ModelLog, length: int) -> None:
        assert log.length_seen <= length <= len(log.data)
        log.length_seen = length

    def _check_pieces(self, log: ModelLog, pieces: list[Piece], at: int, stream: int | None) -> set[int]:
        """Pieces follow each other, their frames tell the streams right; the offsets that lie in gaps."""
        missing: set[int] = set()
        for piece in pieces:
            if stream is None:
                assert max(piece.offset, at) == at
            if piece.gap is not None:
                assert self.may_have_gaps, piece.gap
                assert piece.gap.reason in (types_pb2.GAP_REASON_SPOOL_FULL, types_pb2.GAP_REASON_LOG_LIMIT)
                missing.update(range(piece.gap.offset, piece.gap.offset + piece.gap.length))
            for of, offset, length in zip(
                piece.frames.streams, piece.frames.offsets, piece.frames.lengths, strict=True
            ):
                assert log.streams[offset : offset + length] == bytes([of]) * length
            at = piece.next_offset
        return missing

    def _record(self, log: ModelLog) -> types_pb2.LogRecord | None:
        assert self.leader is not None
        number = self.leader.store.find_log(log.name)
        return None if number is None else self.leader.store.get_log(number)

    # The end

    def teardown(self) -> None:
        try:
            if not self.failed and self.logs:
                self._finish()
        finally:
            self.runner.run(self._stop_worker())
            self.runner.run(self._stop_leader())
            for log in self.logs:
                if not log.over:
                    log.writer.close()
            self.proxy.__exit__(None, None, None)
            self.pool.shutdown()
            self.runner.close()
            shutil.rmtree(self.folder)

    def _finish(self) -> None:
        for log in self.logs:
            if not log.over:
                self._end(log, properly=True)
        if self.leader is None:
            self.run(self._start_leader())
        self.run(self._all_delivered())
        for log in self.logs:
            self.run(self._check_whole(log))

    async def _all_delivered(self) -> None:
        assert self._shipper is not None
        deadline = time.monotonic() + DEADLINE_SECONDS
        while left := [folder.name for folder in self.spools.iterdir()]:
            feeds = {name: feed.state for name in left if (feed := self._shipper.feed(name))}
            assert time.monotonic() < deadline, (left, feeds, self._shipper.connected, self.proxy.connections)
            await asyncio.sleep(0.005)

    async def _check_whole(self, log: ModelLog) -> None:
        record = self._record(log)
        assert record is not None
        assert record.state == types_pb2.LOG_STATE_COMPLETED
        assert record.outcome.kind == (
            types_pb2.OUTCOME_KIND_SUPERVISOR_DIED if log.died else types_pb2.OUTCOME_KIND_EXITED
        )
        pieces = [piece async for piece in self._reader().read(record.number, ReadSpec(with_frames=True))]
        missing = self._check_pieces(log, pieces, 0, None)
        kept = bytes(log.data[at] for at in range(record.next_offset) if at not in missing)
        assert b"".join(piece.data for piece in pieces) == kept
        seal = record.seal
        assert seal.sha256 == hashlib.sha256(kept).digest()
        assert {at for gap in seal.gaps for at in range(gap.offset, gap.offset + gap.length)} == missing
        if log.died and self.policy == TRUNCATE:
            # What it had left out at the very end was told to nobody.
            assert seal.length <= len(log.data)
        else:
            assert seal.length == len(log.data)
            # A gap that is seen by a worker that has just begun tells no newlines.
            at_most = log.data.count(b"\n")
            assert seal.newlines == at_most or (self.policy == TRUNCATE and seal.newlines < at_most)
        assert self.leader is not None
        events = [event.kind for event in self.leader.store.events(record.number)]
        # One that is the last thing in a segment goes with it when its message is lost and the bytes before it are not.
        assert all(events.count(kind) <= 1 for kind in log.events), events
        verdict = await self._reader().verify(record.number, lambda *_: None)
        assert verdict.complete, verdict.problems


TestChain = pytest.mark.timeout(300)(Chain.TestCase)
TestChain.settings = settings(
    max_examples=examples(70),
    stateful_step_count=25,
    deadline=None,
    # What it finds depends on time as well, so that making it smaller takes long and seldom succeeds.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
