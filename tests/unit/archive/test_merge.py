"""Merging of chunks: fewer chunks, and the same bytes, frames, lines and times."""

from __future__ import annotations

import os
import random
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest

from joblog.batch import MAX_FRAMES, STDERR, STDOUT, open_payload, unpack_frames
from joblog.leader.archive.container import KIND_SEALED, write_container
from joblog.leader.archive.merge import MergedChunk, merge_chunks
from joblog.leader.buffer.chunk import KIND_DATA, KIND_GAP
from joblog.leader.crypto.envelope import LogCipher
from tests.chunks import Chunk, ChunkMaker


class Read(NamedTuple):
    """What a reader gets: bytes, and for each frame (offset, stream, ns, length); gaps as (offset, length, lines)."""

    data: bytes
    frames: list[tuple[int, int, int, int]]
    gaps: list[tuple[int, int, int]]


def read(cipher: LogCipher, chunks: Sequence[Chunk]) -> Read:
    """Reads the chunks and holds each against its header."""
    found = Read(b"", [], [])
    for offset, header, sealed in chunks:
        if header.kind == KIND_GAP:
            found.gaps.append((offset, header.raw_length, header.newlines))
            continue
        plain = cipher.open(header.pack(), offset, sealed)
        raw = open_payload(header.codec, plain[header.frames_length :], header.raw_length, header.crc32c)
        assert raw.count(b"\n") == header.newlines
        frames = unpack_frames(plain[: header.frames_length], len(raw))
        at = offset
        for stream, time_us, length in zip(*frames, strict=True):
            found.frames.append((at, stream, header.first_time_ns + time_us * 1000, length))
            at += length
        found = found._replace(data=found.data + raw)
    return found


def triples(merged: Sequence[MergedChunk]) -> list[Chunk]:
    return [(chunk.offset, chunk.header, chunk.sealed) for chunk in merged]


def merged_of(maker: ChunkMaker, chunks: Sequence[Chunk], **settings: int) -> list[MergedChunk]:
    """The merged chunks, after what must hold of any was checked."""
    found = list(merge_chunks(maker.cipher, iter(chunks), **settings))  # type: ignore[arg-type]
    before, after = read(maker.cipher, chunks), read(maker.cipher, triples(found))
    assert (after.data, after.gaps) == (before.data, before.gaps)
    assert [(*frame[:2], frame[3]) for frame in after.frames] == [(*frame[:2], frame[3]) for frame in before.frames]
    assert sum(chunk.merged for chunk in found) == len(chunks)
    lines = {offset: header.lines_before for offset, header, _ in chunks}
    for chunk in found:
        assert chunk.header.lines_before == lines[chunk.offset]
        if chunk.merged == 1:
            assert (chunk.offset, chunk.header, chunk.sealed) in chunks
    # Merging what was merged changes nothing.
    again = list(merge_chunks(maker.cipher, triples(found), **settings))  # type: ignore[arg-type]
    assert triples(again) == triples(found)
    return found


def test_small_chunks_become_one() -> None:
    maker = ChunkMaker()
    maker.offset, maker.lines = 500, 70
    chunks = [maker.data(f"line {number}\n".encode()) for number in range(100)]
    found = merged_of(maker, chunks)
    assert [(chunk.offset, chunk.end, chunk.merged) for chunk in found] == [(500, maker.offset, 100)]
    assert found[0].header.lines_after == 170
    assert read(maker.cipher, triples(found)).frames == read(maker.cipher, chunks).frames


def test_frames_keep_stream_and_time() -> None:
    maker = ChunkMaker()
    chunks = []
    for number in range(20):
        maker.time_ns += 1_234_567_891
        chunks.append(
            maker.frames((STDOUT, 0, b"out\n"), (STDERR, 17, b"e" * (number + 1)), (STDOUT, 900_000, b"\n\n"))
        )
    found = merged_of(maker, chunks)
    assert len(found) == 1
    times = [frame[2] for frame in read(maker.cipher, chunks).frames]
    after = [frame[2] for frame in read(maker.cipher, triples(found)).frames]
    assert all(0 <= was - is_ < 1000 for was, is_ in zip(times, after, strict=True))
    assert after[0] == times[0]


def test_a_merged_chunk_has_at_most_so_many_bytes_and_frames() -> None:
    maker = ChunkMaker()
    found = merged_of(maker, [maker.data(os.urandom(300)) for _ in range(20)], merged_bytes=1000)
    assert [chunk.header.raw_length for chunk in found] == [900] * 6 + [600]
    maker = ChunkMaker()
    many = [(STDOUT, 0, b"x")] * (MAX_FRAMES // 2 - 1)
    chunks = []
    for _ in range(4):
        maker.time_ns += 1
        chunks.append(maker.frames(*many))
    chunks.append(maker.data(b"the next\n"))
    assert [chunk.merged for chunk in merged_of(maker, chunks)] == [2, 3]


def test_large_chunks_and_gaps_pass_and_are_never_merged_over() -> None:
    maker = ChunkMaker()
    chunks = [
        maker.data(b"a\n"),
        maker.data(b"b\n"),
        maker.gap(1000, 3),
        maker.data(b"c\n"),
        maker.gap(5),
        maker.gap(6),
        maker.data(b"d\n"),
        maker.data(b"e\n"),
        maker.data(os.urandom(2000)),
        maker.data(b"f\n"),
        maker.data(b"g\n"),
    ]
    found = merged_of(maker, chunks, large_bytes=2000)
    assert [chunk.merged for chunk in found] == [2, 1, 1, 1, 1, 2, 1, 2]
    assert [chunk.header.kind for chunk in found].count(KIND_GAP) == 3


def test_nothing_is_merged_over_a_hole() -> None:
    maker = ChunkMaker()
    chunks = [maker.data(b"a"), maker.data(b"b")]
    maker.offset += 10
    chunks += [maker.data(b"c"), maker.data(b"d")]
    # Newlines that were in no chunk.
    maker.lines += 3
    chunks += [maker.data(b"e"), maker.data(b"f")]
    assert [(chunk.offset, chunk.merged) for chunk in merged_of(maker, chunks)] == [(0, 2), (12, 2), (14, 2)]


def test_a_clock_that_goes_back() -> None:
    maker = ChunkMaker()
    chunks = [maker.data(b"a"), maker.data(b"b", seconds_later=-0.5), maker.data(b"c", seconds_later=0.25)]
    (found,) = merged_of(maker, chunks)
    times = [frame[2] for frame in read(maker.cipher, triples([found])).frames]
    assert times == [chunks[0][1].first_time_ns] * 3
    chunks += [maker.data(b"d", seconds_later=-3600), maker.data(b"e")]
    assert [chunk.merged for chunk in merged_of(maker, chunks)] == [3, 2]


def damaged(chunk: Chunk) -> Chunk:
    offset, header, sealed = chunk
    return offset, header, bytes(sealed[:-1]) + bytes([sealed[-1] ^ 1])


def test_damaged_chunks_are_left_and_told(caplog: pytest.LogCaptureFixture) -> None:
    maker = ChunkMaker()
    chunks = [maker.data(f"{number}\n".encode()) for number in range(7)]
    chunks[3] = damaged(chunks[3])
    # One whose header says other bytes than it holds, sealed so by its writer.
    offset, header, _ = chunks[5]
    lying = header._replace(crc32c=1)
    plain = maker.cipher.open(header.pack(), offset, chunks[5][2])
    chunks[5] = offset, lying, maker.cipher.seal(lying.pack(), offset, plain)
    told: list[int] = []
    found = list(merge_chunks(maker.cipher, chunks, on_damaged=lambda offset, _: told.append(offset)))
    assert [chunk.merged for chunk in found] == [3, 1, 1, 1, 1]
    assert triples(found[1:2]) == [chunks[3]]
    assert triples(found[3:4]) == [chunks[5]]
    assert told == [chunks[3][0], chunks[5][0]]
    assert "left as it is" in caplog.text


def test_what_merging_reads_is_bounded() -> None:
    maker = ChunkMaker()
    line = b"a line of text that is repeated, with a number: "

    def chunks() -> Iterator[Chunk]:
        for number in range(2000):
            yield maker.data(line * 100 + b"%d\n" % number)

    tracemalloc.start()
    raw = sum(chunk.header.raw_length for chunk in merge_chunks(maker.cipher, chunks()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert raw == maker.offset > 9 << 20
    assert peak < 8 << 20


@pytest.mark.parametrize("seed", range(20))
def test_random_logs(seed: int) -> None:
    chance = random.Random(seed)
    maker = ChunkMaker()
    chunks: list[Chunk] = []
    for _ in range(chance.randrange(1, 60)):
        kind = chance.random()
        maker.time_ns += chance.choice([0, 1, 999, 10**9, 10**12, -(10**8), -(10**10)])
        if kind < 0.1:
            chunks.append(maker.gap(chance.randrange(1, 10**6), chance.randrange(5)))
        elif kind < 0.15:
            maker.offset += chance.randrange(1, 100)
        else:
            times = sorted(chance.randrange(10**6) for _ in range(chance.randrange(1, 6)))
            frames = [
                (chance.choice([STDOUT, STDERR]), time_us - times[0], chance.choice([b"\n", b"text\n", b"z" * 200]))
                for time_us in times
            ]
            chunks.append(maker.frames(*frames, compress=chance.random() < 0.5))
    merged_of(maker, chunks, merged_bytes=chance.choice([100, 1000, 1 << 20]), large_bytes=chance.choice([300, 10**6]))


def stored_size(maker: ChunkMaker, merged: Sequence[MergedChunk]) -> int:
    logs = [(maker.uid, [(chunk.offset, chunk.value) for chunk in merged])]
    return sum(map(len, write_container(KIND_SEALED, logs)))


def test_a_day_of_a_hundred_bytes_a_second_takes_a_quarter_of_its_bytes() -> None:
    """One chunk a second, then one for each ten seconds, ten minutes and so on, as flushes and roll-ups make them."""
    chance = random.Random(1)
    maker = ChunkMaker()
    chunks: list[Chunk] = []
    for second in range(86_400):
        text = (
            f"2026-01-31 {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02} INFO trainer "
            f"epoch={second // 1000} step={second} loss={chance.random():.6f} lr=3.00e-04 "
            f"grad_norm={chance.random() * 3:.4f}\n"
        )
        chunks.append(maker.data(text.encode(), seconds_later=1 + chance.gauss(0, 0.003)))
    assert 8_000_000 < maker.offset < 9_000_000
    rolled: list[MergedChunk] = []
    for size in (10, 600, 86_400):
        parts = [chunks[at : at + size] for at in range(0, len(chunks), size)]
        rolled = [chunk for part in parts for chunk in merge_chunks(maker.cipher, part)]
        chunks = triples(rolled)
    assert len(rolled) <= 16
    assert all(header.kind == KIND_DATA for _, header, _ in chunks)
    assert stored_size(maker, rolled) / maker.offset <= 0.25
