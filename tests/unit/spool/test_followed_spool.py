"""A spool that is taken up: by a new process, wherever the one before it was killed."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from joblog.batch import Frames, pack_frames
from joblog.errors import Conflict, Unavailable
from joblog.worker.spool.bound import SpoolBounds
from joblog.worker.spool.followed import FollowedWriter
from joblog.worker.spool.format import FOLLOWED, SpoolTask
from joblog.worker.spool.reader import SpoolReader
from joblog.worker.spool.record import raw_bytes
from joblog.worker.spool.sealing import SpoolKey, new_key

BOUNDS = SpoolBounds(64 << 10, segment_bytes=4 << 10)


def task() -> SpoolTask:
    return SpoolTask(writer_id=b"w" * 16, namespace="n", run="r", task="t", kind=FOLLOWED, max_spool_bytes=64 << 10)


def append(writer: FollowedWriter, raw: bytes, position: str) -> bool:
    frames = pack_frames(Frames(b"\1", [0], [len(raw)])) if raw else b""
    return writer.append_decoded(raw, frames, 1000, position.encode())


def read_all(folder: Path, key: SpoolKey | None = None) -> tuple[bytes, SpoolReader]:
    reader = SpoolReader(folder, lambda _id: key)
    return b"".join(raw_bytes(record) for record in reader.read(1 << 30)), reader


def test_it_goes_on_where_it_was_cut_at_any_byte(tmp_path: Path, sealing: bool) -> None:
    """What is left of the newest segment, down to nothing, always leads to a position and the bytes up to it."""
    key = new_key() if sealing else None
    pieces = [bytes([65 + at]) * random.Random(at).randrange(1, 900) + b"\n" for at in range(12)]
    for cut in range(0, 3000, 17):
        folder = tmp_path / f"spools{cut}" / "a"
        writer = FollowedWriter(folder, BOUNDS, task(), key=key)
        for at, piece in enumerate(pieces):
            assert append(writer, piece, f"behind {at}")
        writer.close()
        newest = max(folder.glob("*.seg"))
        # Whoever ships it may have let the others go.
        if cut % 2:
            for segment in sorted(folder.glob("*.seg"))[:-1]:
                segment.unlink()
        os.truncate(newest, max(newest.stat().st_size - cut, 16 + 200))
        again = FollowedWriter(folder, BOUNDS, keys=lambda _id: key)
        found = again.recovered
        assert found is not None
        at = int(found.position.split()[-1])
        assert found.position_offset == sum(map(len, pieces[: at + 1]))
        # Of what the position does not speak of, at most one record is there: to be skipped.
        assert found.length - found.position_offset in (0, len(pieces[at + 1]) if at + 1 < len(pieces) else 0)
        rest = b"".join(pieces)[found.length :]
        assert again.length == found.length
        assert again.lines == b"".join(pieces)[: found.length].count(b"\n")
        assert not rest or append(again, rest, "end")
        assert again.end({"kind": 0})
        if not cut % 2:
            raw, reader = read_all(folder, key)
            assert raw == b"".join(pieces)
            assert reader.ended is not None
            assert reader.ended.sha256 == b""
            assert reader.ended.newlines == 12


def test_a_writer_that_is_gone_is_not_the_end_of_the_log(tmp_path: Path) -> None:
    folder = tmp_path / "spools" / "a"
    writer = FollowedWriter(folder, BOUNDS, task())
    append(writer, b"one\n", "1")
    with pytest.raises(Conflict, match="another process"):
        FollowedWriter(folder, BOUNDS)
    writer.close()
    raw, reader = read_all(folder)
    assert raw == b"one\n"
    assert reader.alive()
    again = FollowedWriter(folder, BOUNDS)
    append(again, b"", "1b")
    append(again, b"two\n", "2")
    again.end({"kind": 0})
    assert not reader.alive()
    assert b"".join(map(raw_bytes, reader.read(100))) == b"two\n"
    assert reader.ended is not None
    with pytest.raises(Conflict, match="ended"):
        FollowedWriter(folder, BOUNDS)


def test_what_is_discarded_is_a_gap_of_its_length_and_the_position_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "spools" / "a"
    writer = FollowedWriter(folder, BOUNDS, task())
    while append(writer, os.urandom(3000), "full"):
        pass
    length = writer.length
    writer.discard_decoded(b"gone\n", b"behind what is gone")
    writer.discard_decoded(b"gone\n" * 3, b"behind more")
    assert writer.note()
    writer.close()
    again = FollowedWriter(folder, BOUNDS)
    assert again.recovered is not None
    assert again.recovered.position == b"behind more"
    assert again.length == length + 20
    assert again.end({"kind": 0})
    records = SpoolReader(folder).read(1 << 30)
    assert [(record.offset, record.raw_length, record.newlines) for record in records if record.kind == 2] == [
        (length, 20, 4)
    ]


def test_a_sealed_one_waits_for_its_key(tmp_path: Path) -> None:
    folder = tmp_path / "spools" / "a"
    FollowedWriter(folder, BOUNDS, task(), key=new_key()).close()
    with pytest.raises(Unavailable, match="not at hand"):
        FollowedWriter(folder, BOUNDS)
