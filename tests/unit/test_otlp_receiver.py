"""What receives logs, over spools on a disk: retries, restarts, quiet logs, bounds."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from joblog.batch import STDOUT
from joblog.errors import Unavailable
from joblog.identity import LogName
from joblog.worker.following.spools import RECEIVED, FollowedSpools
from joblog.worker.kubernetes.pods import LogTarget
from joblog.worker.otlp.receiver import ReceiveLimits, Receiver
from joblog.worker.otlp.records import Part
from joblog.worker.spool.bound import SpoolBounds
from joblog.worker.spool.followed import FollowedWriter
from joblog.worker.spool.pieces import Line
from joblog.worker.spool.reader import SpoolReader
from joblog.worker.spool.record import raw_bytes

SOURCE = RECEIVED + '["default","r","t",0,""]'


class Place:
    """A folder of spools, and whoever receives into it."""

    def __init__(
        self, root: Path, *, task_bytes: int = 8 << 20, max_logs: int = 10, quiet_seconds: float = 1e6
    ) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        self.bounds = SpoolBounds(task_bytes, segment_bytes=64 << 10)
        self.limits = ReceiveLimits(max_logs, quiet_seconds)
        self.adopted: list[str] = []
        self.receiver = self.open()

    def open(self) -> Receiver:
        spools = FollowedSpools(
            self.root,
            self.bounds,
            lambda _id: None,
            b"s" * 32,
            host="h",
            mine=lambda source: source.startswith(RECEIVED),
        )
        return Receiver(spools, self.limits, self.adopted.append)

    def take(self, *lines: bytes, source: str = SOURCE, at: int = 0) -> None:
        self.receiver.take({source: part(*lines, at=at)}, None)

    def restart(self) -> None:
        self.receiver.close()
        self.receiver = self.open()

    def written(self, spool_id: str) -> tuple[bytes, bool]:
        """A spool's bytes, and whether it has its end."""
        reader = SpoolReader(self.root / spool_id)
        data = b"".join(raw_bytes(record) for record in reader.read(1 << 30))
        return data, reader.ended is not None


def part(*lines: bytes, at: int = 0) -> Part:
    return Part(
        LogTarget(LogName("default", "r", "t", 0)), [Line(STDOUT, at + i + 1, raw) for i, raw in enumerate(lines)]
    )


@pytest.mark.parametrize("seed", range(5))
def test_each_part_is_there_once_through_retries_and_restarts(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    place = Place(tmp_path / "spools")
    expected = bytearray()
    for at in range(40):
        # Some are longer than what is written at once.
        sizes = [chance.choice([1, 50, 3000, 100_000]) for _ in range(chance.randrange(1, 6))]
        lines = [chance.randbytes(size - 1) + b"\n" for size in sizes]
        expected += b"".join(lines)
        for _ in range(chance.randrange(1, 4)):
            place.take(*lines, at=at * 100)
            if chance.random() < 0.3:
                place.restart()
    place.receiver.close()

    (spool_id,) = place.adopted
    assert place.written(spool_id) == (bytes(expected), False)


def test_what_a_full_spool_took_of_a_part_is_not_taken_again(tmp_path: Path) -> None:
    noise = random.Random(3)
    place = Place(tmp_path / "spools", task_bytes=1 << 20)
    lines = [noise.randbytes(60_000) for _ in range(40)]
    with pytest.raises(Unavailable, match="is full"):
        place.take(*lines)
    (spool_id,) = place.adopted
    before = place.written(spool_id)[0]
    assert before
    assert b"".join(lines).startswith(before)

    # There is room: the same again, also by who was started since.
    place.bounds.task_bytes = 64 << 20
    place.restart()
    place.take(*lines)
    place.take(*lines)
    place.receiver.close()
    assert place.written(spool_id)[0] == b"".join(lines)


def test_a_quiet_log_ends_and_what_comes_later_is_another_one(tmp_path: Path) -> None:
    place = Place(tmp_path / "spools", quiet_seconds=0.0)
    place.take(b"first\n")
    place.receiver.end_quiet()
    place.take(b"second\n", at=5)
    # One that nothing was sent to since the start ends likewise.
    place.restart()
    place.receiver.end_quiet()

    first, second = place.adopted
    assert place.written(first) == (b"first\n", True)
    assert place.written(second) == (b"second\n", True)


def test_a_log_that_can_not_be_ended_is_said_and_the_others_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = Place(tmp_path / "spools", quiet_seconds=0.0)
    place.take(b"a\n", source=SOURCE + "1")
    place.take(b"b\n", source=SOURCE + "2")
    first, second = place.adopted
    end = FollowedWriter.end

    def fail(writer: FollowedWriter, outcome: Mapping[str, object]) -> bool:
        if writer.spool_id == first:
            raise OSError(5, "Input/output error")
        return end(writer, outcome)

    with monkeypatch.context() as patch:
        patch.setattr(FollowedWriter, "end", fail)
        place.receiver.end_quiet()
    assert first in caplog.text
    assert "Input/output error" in caplog.text
    assert place.written(second) == (b"b\n", True)
    place.receiver.end_quiet()
    assert place.written(first) == (b"a\n", True)


def test_no_more_logs_than_allowed_are_open(tmp_path: Path) -> None:
    place = Place(tmp_path / "spools", max_logs=2)
    place.take(b"a\n", source=SOURCE + "1")
    place.take(b"b\n", source=SOURCE + "2")
    with pytest.raises(Unavailable, match=r"otlp\.max_logs"):
        place.take(b"c\n", source=SOURCE + "3")
    place.take(b"d\n", source=SOURCE + "2", at=5)
    place.receiver.close()

    assert place.written(place.adopted[1])[0] == b"b\nd\n"


def test_spools_of_followed_files_are_left_alone(tmp_path: Path) -> None:
    place = Place(tmp_path / "spools")
    place.take(b"a\n")
    place.receiver.close()
    followed = FollowedSpools(place.root, place.bounds, lambda _id: None, b"s" * 32, host="h")
    followed.look()

    assert followed.by_source == {}
