"""Every way to read a log, against a list of bytes with their streams."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joblog.batch import STDERR, STDOUT
from joblog.errors import InvalidInput
from joblog.identity import LogName
from joblog.leader.reading.piece import Piece, ReadSpec, Start, StartKind
from tests.examples import examples
from tests.stored_log import Model, StoredLeader, StoredLog, stored_leader

BYTES = st.lists(st.sampled_from(b"\n\nab\r\xff"), min_size=1, max_size=12).map(bytes)
FRAMES = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), BYTES), min_size=1, max_size=6)
GAPS = st.tuples(st.integers(1, 20), st.integers(0, 3))
PARTS = st.lists(FRAMES | GAPS, max_size=8)
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def leader() -> Iterator[StoredLeader]:
    with tempfile.TemporaryDirectory() as folder, stored_leader(Path(folder)) as made:
        yield made


@dataclass
class Seen:
    """What a read delivered: places in the log with their bytes, gaps, and where it ended."""

    data: bytes
    places: list[int]
    frame_places: list[int]
    gaps: list[tuple[int, int]]
    next_offset: int
    pieces: list[Piece]


async def collect(leader: StoredLeader, log: StoredLog, spec: ReadSpec) -> Seen:
    seen = Seen(b"", [], [], [], 0, [])
    async with contextlib.aclosing(leader.reader.read(log.number, spec)) as pieces:
        async for piece in pieces:
            if seen.pieces:
                assert piece.offset >= seen.next_offset, "pieces overlap"
            seen.pieces.append(piece)
            seen.data += piece.data
            if spec.stream is None:
                seen.places += range(piece.offset, piece.offset + len(piece.data))
            if piece.gap is not None:
                assert not piece.data
                assert (piece.gap.offset, piece.gap.offset + piece.gap.length) == (piece.offset, piece.next_offset)
                seen.gaps.append((piece.gap.offset, piece.gap.length))
            for low, size in zip(piece.frames.offsets, piece.frames.lengths, strict=True):
                seen.frame_places += range(low, low + size)
            seen.next_offset = piece.next_offset
    return seen


def build(leader: StoredLeader, parts: list[object]) -> StoredLog:
    log = leader.log(LogName("default", "run", "task", next(_numbers)))
    for part in parts:
        if isinstance(part, tuple):
            log.gap(part[0], min(part))
        else:
            log.append(*part)  # type: ignore[misc]
    return log


def chosen_places(model: Model, stream: int | None) -> list[int]:
    wanted = {stream} if stream else {STDOUT, STDERR}
    return [place for place, of in enumerate(model.streams) if of in wanted]


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=PARTS, stream=st.sampled_from([None, STDOUT, STDERR]), frames=st.booleans(), data=st.data())
def test_reading_from_any_offset_gives_the_models_bytes(
    leader: StoredLeader, parts: list[object], stream: int | None, frames: bool, data: st.DataObject
) -> None:
    log = build(leader, parts)
    if data.draw(st.booleans(), "completed"):
        log.complete()
    start = data.draw(st.integers(0, log.length), "start")
    limit = data.draw(st.none() | st.integers(1, 60), "limit")
    spec = ReadSpec(Start(StartKind.OFFSET, start), limit_bytes=limit, stream=stream, with_frames=frames)
    seen = asyncio.run(collect(leader, log, spec))
    expected = [place for place in chosen_places(log.model, stream) if place >= start][:limit]
    assert seen.data == bytes(log.model.data[place] for place in expected)
    if stream is None:
        assert seen.places == expected
    if frames:
        assert seen.frame_places == expected
    end = log.length if limit is None or len(expected) < limit else expected[-1] + 1
    assert seen.next_offset == end
    missing = {place for place in range(start, end) if log.model.streams[place] == 0}
    assert {place for low, size in seen.gaps for place in range(low, low + size)} == missing
    assert seen.pieces[-1].state == log.record.state


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(FRAMES, max_size=8), data=st.data())
def test_lines_are_where_the_newlines_say(leader: StoredLeader, parts: list[object], data: st.DataObject) -> None:
    log = build(leader, parts)
    starts = [0, *(place + 1 for place, byte in enumerate(log.model.data) if byte == 10)]
    line = data.draw(st.integers(1, len(starts) + 1), "line")
    spec = ReadSpec(Start(StartKind.LINE, line))
    if line > len(starts):
        with pytest.raises(InvalidInput, match="line"):
            asyncio.run(collect(leader, log, spec))
        return
    seen = asyncio.run(collect(leader, log, spec))
    assert seen.data == bytes(log.model.data[starts[line - 1] :])
    assert seen.pieces[0].line == line


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(FRAMES, max_size=8),
    stream=st.sampled_from([None, STDOUT, STDERR]),
    count=st.integers(0, 8),
    lines=st.booleans(),
)
def test_the_last_lines_and_bytes(
    leader: StoredLeader, parts: list[object], stream: int | None, count: int, lines: bool
) -> None:
    log = build(leader, parts)
    places = chosen_places(log.model, stream)
    whole = bytes(log.model.data[place] for place in places)
    if not count:
        expected = b""
    elif lines:
        expected = b"".join([line + b"\n" for line in whole.split(b"\n")][-count - whole.endswith(b"\n") :])[:-1]
        expected = whole[len(whole) - len(expected) :]
    else:
        expected = whole[-count:]
    kind = StartKind.LAST_LINES if lines else StartKind.LAST_BYTES
    seen = asyncio.run(collect(leader, log, ReadSpec(Start(kind, count), stream=stream)))
    assert seen.data == expected


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=PARTS, start=st.integers(0, 40), stream=st.sampled_from([None, STDOUT, STDERR]), cut=st.integers(0, 8))
def test_a_tail_gets_what_is_there_and_what_comes(
    leader: StoredLeader, parts: list[object], start: int, stream: int | None, cut: int
) -> None:
    async def scenario() -> tuple[StoredLog, Seen, int]:
        log = build(leader, parts[:cut])
        begin = min(start, log.length)
        spec = ReadSpec(Start(StartKind.OFFSET, begin), stream=stream, follow=True)
        tail = asyncio.create_task(collect(leader, log, spec))
        for part in parts[cut:]:
            await asyncio.sleep(0)
            log.gap(part[0]) if isinstance(part, tuple) else log.append(*part)  # type: ignore[misc]
        log.complete()
        return log, await asyncio.wait_for(tail, 10), begin

    log, seen, begin = asyncio.run(scenario())
    assert seen.data == bytes(log.model.data[place] for place in chosen_places(log.model, stream) if place >= begin)
    assert seen.next_offset == log.length
    assert seen.pieces[-1].state == log.record.state


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(FRAMES, min_size=1, max_size=8), start=st.integers(0, 100), data=st.data())
def test_damaged_and_lost_chunks_are_gaps_and_the_rest_is_served(
    leader: StoredLeader, parts: list[list[tuple[int, bytes]]], start: int, data: st.DataObject
) -> None:
    log = leader.log(LogName("default", "run", "task", next(_numbers)))
    places = []
    for part in parts:
        begin = log.length
        log.append(*part)
        places.append((begin, log.length))
    log.complete()
    hit = data.draw(st.sets(st.sampled_from(places), min_size=1), "hit")
    for begin, end in hit:
        (log.damage if data.draw(st.booleans(), "damaged") else log.drop)(begin)
        log.model.streams[begin:end] = bytes(end - begin)
    start = min(start, log.length)
    seen = asyncio.run(collect(leader, log, ReadSpec(Start(StartKind.OFFSET, start))))
    expected = [place for place in chosen_places(log.model, None) if place >= start]
    assert seen.places == expected
    assert seen.data == bytes(log.model.data[place] for place in expected)
    missing = {place for place in range(start, log.length) if log.model.streams[place] == 0}
    assert {place for low, size in seen.gaps for place in range(low, low + size)} == missing
    assert seen.next_offset == log.length
    verdict = asyncio.run(leader.reader.verify(log.number, lambda *_: None))
    assert not verdict.complete
    assert verdict.problems
