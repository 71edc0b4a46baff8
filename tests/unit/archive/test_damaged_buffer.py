"""A chunk that the buffer's disk does not give back: its log's loss, and nobody else's, on the way to the archive."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from joblog.identity import LogName
from joblog.leader.archive.flush import FlushLimits
from joblog.leader.archive.seal import SealResult
from joblog.leader.buffer import keys
from joblog.leader.buffer.engine import Operations
from joblog.leader.buffer.holes import find_hole
from joblog.leader.buffer.options import Spared
from joblog.v1.types_pb2 import GAP_REASON_LOST, TIER_ARCHIVE
from tests.archiving import WHOLE, ArchiveSite
from tests.damaging import flip_anywhere, flip_pattern
from tests.stored_log import StoredLog, fill

Start = Callable[..., ArchiveSite]
PATIENCE_SECONDS = 100.0


def texts_of(seed: int, sizes: list[int]) -> list[bytes]:
    return [random.Random(seed * 1000 + at).randbytes(size) + b"\n" for at, size in enumerate(sizes)]


def three_logs(site: ArchiveSite, sizes: list[int]) -> list[StoredLog]:
    logs = [site.leader.log(LogName("default", "run", f"t{at}", 1)) for at in range(3)]
    for each in zip(*(texts_of(log.number, sizes) for log in logs), strict=True):
        for log, text in zip(logs, each, strict=True):
            fill(log, [text])
    return logs


def sealed_part(log: StoredLog, offset: int) -> bytes:
    """Bytes that only the chunk at `offset` has in the store's files."""
    with log.store.view() as view:
        found, _, sealed = next(view.chunks(log.number, offset))
    assert found == offset
    return bytes(sealed[-40:-30])


def on_disk(site: ArchiveSite) -> Path:
    """Has all chunks in files, not in memory alone."""
    site.store._engine._family(keys.CHUNKS).flush()
    return site.store.path


@pytest.mark.parametrize("size", [200, 9000], ids=["table", "blob"])
async def test_the_others_are_flushed_and_sealed_as_if_nothing_was(start: Start, size: int) -> None:
    site = start(loss_patience_seconds=PATIENCE_SECONDS, limits=FlushLimits(merge=False))
    first, hurt, last = logs = three_logs(site, [size] * 5)
    flip_pattern(on_disk(site), sealed_part(hurt, 2 * (size + 1)))
    begin, end = 2 * (size + 1), 3 * (size + 1)
    done = site.flush(everything=True)
    # What a worker still has from there on it keeps: somebody may want it.
    assert done.archived == {first.number: 5 * (size + 1), hurt.number: begin, last.number: 5 * (size + 1)}
    assert site.store.damage.offsets(hurt.number) == [begin]
    for log in logs:
        expected = log.model.present(0, log.length, None)
        assert await site.text(log.number) == (expected[:begin] + expected[end:] if log is hurt else expected)
        assert [extent.end_offset for extent in site.store.extents(log.number)][-1] == log.length
        fill(log, texts_of(7, [50]))
    assert site.flush(everything=True).archived[hurt.number] == begin
    for log in logs:
        log.complete()
    assert site.sealer.seal(hurt.number).result is SealResult.LATER
    for log in (first, last):
        assert site.sealer.seal(log.number).result is SealResult.SEALED
        assert (await site.verify(log.number)).complete
    site.now += PATIENCE_SECONDS + 1
    assert not (await site.verify(hurt.number)).complete
    assert site.sealer.seal(hurt.number).result is SealResult.SEALED
    record = site.store.get_log(hurt.number)
    assert record is not None and record.tier == TIER_ARCHIVE
    assert [(gap.offset, gap.length, gap.reason) for gap in record.seal.gaps] == [(begin, end - begin, GAP_REASON_LOST)]
    assert (await site.verify(hurt.number)).complete
    present = hurt.model.present(0, hurt.length, None)
    assert await site.text(hurt.number) == present[:begin] + present[end:]
    events = {event.kind: event for event in site.store.events(hurt.number)}
    assert events["archive_loss"].offset == begin
    # Nothing of it is left in the buffer, and nothing is wrong with it any more.
    assert site.store.damage.warning() is None
    with site.store.view() as view:
        assert view.first_chunk_offset(hurt.number) is None


async def test_a_lost_end_of_a_completed_log_is_sealed_as_lost(start: Start) -> None:
    site = start(limits=FlushLimits(merge=False))
    first, hurt, last = logs = three_logs(site, [5000] * 3)
    for log in logs:
        log.complete()
    flip_pattern(on_disk(site), sealed_part(hurt, 2 * 5001))
    verdict = await site.verify(hurt.number)
    assert not verdict.complete
    assert any("offsets 10002 to 15003" in problem for problem in verdict.problems)
    site.seal()
    for log in (first, last):
        assert (await site.verify(log.number)).complete
        assert await site.text(log.number) == log.model.present(0, log.length, None)
    record = site.store.get_log(hurt.number)
    assert record is not None
    assert [(gap.offset, gap.length) for gap in record.seal.gaps] == [(10_002, 5001)]
    assert await site.text(hurt.number) == hurt.model.present(0, 10_002, None)
    with site.store.view() as view:
        assert view.first_chunk_offset(hurt.number) is None


async def test_patience_with_a_lost_chunk_ends(start: Start) -> None:
    site = start(limits=FlushLimits(merge=False, loss_patience_seconds=0.0))
    _, hurt, _ = three_logs(site, [5000] * 3)
    flip_pattern(on_disk(site), sealed_part(hurt, 5001))
    assert site.flush(everything=True).archived[hurt.number] == 15_003


@pytest.mark.parametrize("suffix", [".blob", ".sst"])
@pytest.mark.parametrize("seed", range(4))
async def test_a_byte_changed_anywhere_stops_no_flush(start: Start, suffix: str, seed: int) -> None:
    site = start()
    logs = three_logs(site, [100, 3000, 700, 20_000] * 8)
    numbers = [log.number for log in logs]
    path = on_disk(site)
    site = start("other")
    flip_anywhere(path, seed, suffix)
    site = start()
    site.flush(everything=True)
    whole = 0
    for number, log in zip(numbers, logs, strict=True):
        present = log.model.present(0, log.length, None)
        pieces = [piece async for piece in site.reader.read(number, WHOLE)]
        for piece in pieces:
            assert piece.data == (present[piece.offset : piece.next_offset] if piece.gap is None else b"")
        whole += b"".join(piece.data for piece in pieces) == present
        # Those who open it again go on where something follows, and bytes that were stored are not taken for missing.
        assert (await site.verify(number)).expected is None
    assert whole >= 2
    assert site.flush(everything=True).packs == 0


@pytest.mark.parametrize("at", [0, 2], ids=["first", "middle"])
async def test_a_chunk_whose_key_vanished_counts_as_damaged(start: Start, at: int) -> None:
    site = start(loss_patience_seconds=PATIENCE_SECONDS, limits=FlushLimits(merge=False))
    first, hurt, _ = three_logs(site, [9000] * 5)
    begin = at * 9001
    site.store._engine.write(Operations([], [(keys.CHUNKS, keys.chunk_key(hurt.number, begin))], []))
    assert site.store.damage.warning() is None
    done = site.flush(everything=True)
    # So its worker keeps what it still has of it, and is asked for it.
    assert (done.archived[hurt.number], done.archived[first.number]) == (begin, 5 * 9001)
    assert site.store.damage.offsets(hurt.number) == [begin]
    # No file is damaged that compactions would have to leave alone.
    assert site.store._engine._sparing.spared is Spared.NOTHING
    with site.store.view() as view:
        assert find_hole(view, hurt.number, begin) is not None
    hurt.complete()
    assert site.sealer.seal(hurt.number).result is SealResult.LATER
    site.now += PATIENCE_SECONDS + 1
    assert site.sealer.seal(hurt.number).result is SealResult.SEALED
    record = site.store.get_log(hurt.number)
    assert record is not None
    assert [(gap.offset, gap.length, gap.reason) for gap in record.seal.gaps] == [(begin, 9001, GAP_REASON_LOST)]


async def test_what_lies_in_the_archive_between_chunks_is_no_damage(start: Start) -> None:
    site = start(loss_patience_seconds=PATIENCE_SECONDS, limits=FlushLimits(merge=False))
    [log, *_] = three_logs(site, [9000] * 3)
    site.flush(everything=True)
    fill(log, texts_of(5, [9000]))
    with site.store.view() as view:
        assert [offset for offset, _, _ in view.chunks(log.number)] == [3 * 9001]
    site.flush(everything=True)
    assert await site.text(log.number) == log.model.present(0, log.length, None)
    assert site.store.damage.warning() is None
