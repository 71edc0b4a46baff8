"""Readers at random offsets against whatever moves a log's bytes, and a store that fails; the model is plain bytes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from joblog.batch import STDERR, STDOUT
from joblog.errors import Corrupt, JoblogError, Unavailable
from joblog.identity import LogName
from joblog.leader.archive import extent_read
from joblog.leader.archive.cache import RangeCache
from joblog.leader.archive.folder import FolderStore
from joblog.leader.reading.piece import Piece, ReadSpec, Start, StartKind
from joblog.v1 import types_pb2
from tests.archived_log import Archived, Mover
from tests.examples import examples
from tests.stored_log import StoredLeader

_TRIES = 400
MOODS = st.sampled_from([0.0, 0.1, 0.4])


class Moody(FolderStore):
    """A folder store whose ranged reads fail, come short or damaged now and then, once it is told to."""

    def __init__(self, root: Path, seed: int) -> None:
        super().__init__(root)
        self.moods = 0.0
        self.moody = 0
        self._random = random.Random(seed)
        self._damaged: set[tuple[str, int]] = set()

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        data = super().get(key, start, length)
        if length is None or self._random.random() >= self.moods:
            return data
        mood = self._random.randrange(3)
        self.moody += 1
        if mood == 0:
            raise Unavailable(f"archive object {key}: refused, as it happens")
        # The way from the store changes bytes, but not the same ones each time.
        if (key, start) in self._damaged:
            return data
        self._damaged.add((key, start))
        if mood == 1 or not data:
            raise Corrupt(f"archive object {key}: the body is short, as it happens")
        changed = bytearray(data)
        changed[self._random.randrange(len(changed))] ^= 1 << self._random.randrange(8)
        return bytes(changed)


class TiersModel(RuleBasedStateMachine):
    """One log and a neighbour that shares its packs."""

    @initialize(seed=st.integers(0, 2**32), small=st.booleans(), cached=st.booleans(), moods=MOODS)
    def begin(self, seed: int, small: bool, cached: bool, moods: float) -> None:
        self.cached = cached
        self.random = random.Random(seed)
        # With windows of some records, reads cross all the seams that large objects have.
        self._sizes = extent_read.FIRST_WINDOW_BYTES, extent_read.WINDOW_BYTES, extent_read._AHEAD_FROM_BYTES
        if small:
            extent_read.FIRST_WINDOW_BYTES, extent_read.WINDOW_BYTES, extent_read._AHEAD_FROM_BYTES = 300, 2000, 500
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.objects = Moody(self.folder / "archive", seed)
        self.objects.moods = moods
        self.objects.put("claim", b"there is an archive")
        self.leader = StoredLeader(self.folder)
        self.log = self.leader.log()
        self.neighbour = self.leader.log(LogName("default", "demo", "neighbour", 1))
        self._open()
        self.mover = Mover(self.leader.store, self.objects)
        self.reading: AsyncGenerator[Piece, None] | None = None
        self.reading_at = 0
        self.lost: set[str] = set()

    def _open(self) -> None:
        cache = RangeCache(4000, 40_000, self.folder / "cache") if self.cached else RangeCache(0)
        self.archived = Archived(self.leader, self.objects, cache)

    @property
    def completed(self) -> bool:
        return self.log.record.state == types_pb2.LOG_STATE_COMPLETED

    @precondition(lambda self: not self.completed)
    @rule(seed=st.integers(0, 2**32), count=st.integers(1, 40), flush=st.sampled_from([True, True, False]))
    def append(self, seed: int, count: int, flush: bool) -> None:
        made = random.Random(seed)
        for _ in range(count):
            frames = [
                (made.choice([STDOUT, STDERR]), made.randbytes(made.randint(1, 60)) + b"\n" * made.randint(0, 2))
                for _ in range(made.randint(1, 4))
            ]
            self.log.append(*frames)
        self.neighbour.append((STDOUT, b"not mine\n"))
        if flush:
            self.flush(1.0)

    @precondition(lambda self: not self.completed)
    @rule(length=st.integers(1, 30))
    def gap(self, length: int) -> None:
        self.log.gap(length)

    @rule(part=st.floats(0, 1))
    def flush(self, part: float) -> None:
        upto = None if part > 0.7 else int(part * self.log.length)
        self.mover.flush([self.neighbour, self.log], upto=upto)

    @precondition(lambda self: not self.lost)
    @rule(sealed=st.booleans(), delete=st.booleans())
    def roll_up(self, sealed: bool, delete: bool) -> None:
        with self.leader.store.view() as view:
            extents = list(view.extents(self.log.number))
        contiguous = all(one.end_offset == two.offset for one, two in itertools.pairwise(extents))
        if extents and contiguous:
            with self._calm():
                self.mover.join(self.log, sealed=sealed, delete=delete)

    @precondition(lambda self: not self.completed)
    @rule()
    def complete(self) -> None:
        self.log.complete()

    @rule(moods=MOODS)
    def change_moods(self, moods: float) -> None:
        self.objects.moods = moods

    @precondition(lambda self: not self.lost)
    @rule(which=st.integers(0, 50), swap=st.booleans())
    def lose_an_object(self, which: int, swap: bool) -> None:
        with self.leader.store.view() as view:
            extents = list(view.extents(self.log.number))
        if not extents or which % 5:
            return
        key = extents[which % len(extents)].object
        self.lost.add(key)
        if swap and len(extents) > 1 and extents[0].object != extents[1].object:
            other = extents[0].object if extents[0].object != key else extents[1].object
            self.objects.put(key, self.objects.get(other))
        else:
            self.objects.delete([key])
        for extent in extents:
            if extent.object == key:
                size = extent.end_offset - extent.offset
                self.log.model.streams[extent.offset : extent.end_offset] = bytes(size)
        self._stop_reading()
        # What a cache holds of it would still be right.
        self.archived.close()
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        self._open()

    @contextlib.contextmanager
    def _calm(self) -> Iterator[None]:
        moods, self.objects.moods = self.objects.moods, 0.0
        yield
        self.objects.moods = moods

    @rule()
    def restart(self) -> None:
        self._stop_reading()
        self.archived.close()
        self.leader.close()
        self.leader = StoredLeader(self.folder)
        for log in (self.log, self.neighbour):
            log.store, log.live = self.leader.store, self.leader.live
        self.mover.store = self.leader.store
        self._open()

    @invariant()
    def ranges_read_as_they_were_written(self) -> None:
        for _ in range(2):
            start = self.random.randint(0, self.log.length)
            limit = self.random.choice([None, 1, 50, 1000])
            self._read_and_compare(start, limit, self.random.choice([None, None, STDOUT, STDERR]))

    def _read_and_compare(self, start: int, limit: int | None, stream: int | None) -> None:
        got, gaps, end = self.loop.run_until_complete(self._read(start, limit, stream))
        places = [place for place in self._places(stream) if place >= start][:limit]
        assert got == bytes(self.log.model.data[place] for place in places)
        if limit is None or len(places) < limit:
            assert end == self.log.length
        missing = {place for place in range(start, end) if self.log.model.streams[place] == 0}
        assert gaps == missing

    def _places(self, stream: int | None) -> list[int]:
        wanted = {stream} if stream else {STDOUT, STDERR}
        return [place for place, of in enumerate(self.log.model.streams) if of in wanted]

    async def _read(self, start: int, limit: int | None, stream: int | None) -> tuple[bytes, set[int], int]:
        """As a client does that goes on where it was when the leader says that the archive can't be reached."""
        got, gaps, at = b"", set[int](), start
        for _ in range(_TRIES):
            left = None if limit is None else limit - len(got)
            spec = ReadSpec(Start(StartKind.OFFSET, at), limit_bytes=left, stream=stream)
            reading = self.archived.reader.read(self.log.number, spec)
            try:
                async for piece in reading:
                    got += piece.data
                    if piece.gap is not None:
                        gaps.update(range(piece.offset, piece.next_offset))
                    at = piece.next_offset
                    if limit is not None and len(got) >= limit:
                        break
                return got, gaps, at
            except Unavailable:
                continue
            finally:
                await reading.aclose()
        raise AssertionError("the store was never in the mood")

    @precondition(lambda self: self.reading is None and not self.lost)
    @rule(part=st.floats(0, 1))
    def begin_a_long_read(self, part: float) -> None:
        self.reading_at = int(part * self.log.length)
        self._begin()

    def _begin(self) -> None:
        spec = ReadSpec(Start(StartKind.OFFSET, self.reading_at), limit_bytes=None)
        self.reading = self.archived.reader.read(self.log.number, spec)

    @precondition(lambda self: self.reading is not None)
    @rule(pieces=st.integers(1, 3))
    def go_on_reading(self, pieces: int) -> None:
        for _ in range(pieces):
            assert self.reading is not None
            try:
                piece = self.loop.run_until_complete(anext(self.reading))
            except StopAsyncIteration:
                self.reading = None
                return
            except Unavailable:
                self._begin()
                continue
            end = self.reading_at + len(piece.data)
            assert piece.data == bytes(self.log.model.data[self.reading_at : end])
            if piece.gap is not None:
                streams = self.log.model.streams[piece.gap.offset : piece.gap.offset + piece.gap.length]
                assert not any(streams)
            self.reading_at = piece.next_offset

    @precondition(lambda self: not self.objects.moods)
    @rule()
    def verify(self) -> None:
        verdict = self.loop.run_until_complete(self.archived.reader.verify(self.log.number, lambda *_: None))
        if not self.lost:
            assert not verdict.problems
            assert verdict.complete == self.completed
        else:
            assert verdict.problems

    @rule(data=st.data())
    def go_to_a_line(self, data: st.DataObject) -> None:
        if self.lost or self.log.gaps:
            return
        raw = bytes(self.log.model.data)
        line = data.draw(st.integers(1, raw.count(b"\n") + 1), "line")
        start = 0
        for _ in range(line - 1):
            start = raw.index(b"\n", start) + 1
        reading = self.archived.reader.read(self.log.number, ReadSpec(Start(StartKind.LINE, line), limit_bytes=50))
        with self._calm():
            piece = self.loop.run_until_complete(anext(reading))
            self.loop.run_until_complete(reading.aclose())
        assert (piece.offset, piece.line) == (start, line)

    @invariant()
    def lengths_agree(self) -> None:
        record = self.leader.store.get_log(self.log.number)
        assert record is not None
        assert record.next_offset == self.log.length

    def _stop_reading(self) -> None:
        if self.reading is not None:
            self.loop.run_until_complete(self.reading.aclose())
            self.reading = None

    def teardown(self) -> None:
        with contextlib.suppress(JoblogError):
            self._stop_reading()
        self.archived.close()
        self.leader.close()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        extent_read.FIRST_WINDOW_BYTES, extent_read.WINDOW_BYTES, extent_read._AHEAD_FROM_BYTES = self._sizes
        shutil.rmtree(self.folder)


TestTiers = TiersModel.TestCase
TestTiers.settings = settings(max_examples=examples(40), stateful_step_count=30, deadline=None)
