"""From entries to spools: killed anywhere, begun again anywhere, each line is there once."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joblog.errors import Unavailable
from joblog.worker.following.finished import FinishedLogs
from joblog.worker.following.spools import FROM_JOURNAL, FollowedSpools
from joblog.worker.journald import recorder as recorder_module
from joblog.worker.journald.cursor import Cursor
from joblog.worker.journald.entry import JournalEntry
from joblog.worker.journald.recorder import Recorder
from joblog.worker.journald.units import Units
from joblog.worker.spool.bound import SharedBounds
from joblog.worker.spool.format import DATA, EVENT
from joblog.worker.spool.reader import SpoolReader
from joblog.worker.spool.record import raw_bytes

BOOT = "b" * 32
Begin = Callable[..., Recorder]


class Entries:
    """What a journal holds. printed: by unit and invocation."""

    def __init__(self) -> None:
        self.all: list[JournalEntry] = []
        self.printed: dict[str, bytes] = {}
        self.boot = BOOT

    def _cursor(self) -> Cursor:
        number = len(self.all) + 1
        return Cursor("s", "a" * 32, number, self.boot, number, 1_700_000_000_000_000 + number, "1")._replace(
            text=f"s={'a' * 32};i={number:x};b={self.boot};m={number:x};t={1_700_000_000_000_000 + number:x};x=1"
        )

    def line(self, unit: str, invocation: str, data: bytes) -> None:
        key = f"{unit}/{invocation}"
        self.printed[key] = self.printed.get(key, b"") + data
        self.all.append(JournalEntry(self._cursor(), unit, invocation, data))

    def say(self, unit: str, invocation: str, said: str, **more: int | str) -> None:
        self.printed.setdefault(f"{unit}/{invocation}", b"")
        self.all.append(JournalEntry(self._cursor(), unit, invocation, said=said, **more))  # type: ignore[arg-type]


@pytest.fixture
def journal() -> Entries:
    return Entries()


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    (tmp_path / "spools").mkdir()
    made: list[Recorder] = []

    def make(bounds: SharedBounds | None = None) -> Recorder:
        spools = FollowedSpools(
            tmp_path / "spools",
            bounds or SharedBounds(64 << 20, 1 << 30, 1 << 20),
            lambda _spool_id: None,
            b"secret",
            host="h",
            mine=lambda source: source.startswith(FROM_JOURNAL),
        )
        made.append(Recorder(spools, FinishedLogs(tmp_path / "journaled"), Units(["*.service"]), lambda _: None))
        return made[-1]

    yield make
    for recorder in made:
        recorder.close()


def logs(tmp_path: Path) -> dict[str, tuple[bytes, list[int], bytes]]:
    """(bytes, kinds of other records, events) by source."""
    found = {}
    for folder in (tmp_path / "spools").iterdir():
        reader = SpoolReader(folder)
        records = reader.read(1 << 40)
        found[reader.task.source.removeprefix(FROM_JOURNAL)] = (
            b"".join(raw_bytes(record) for record in records if record.kind == DATA),
            [record.kind for record in records if record.kind not in (DATA, EVENT)],
            b"".join(record.body for record in records if record.kind == EVENT),
        )
    return found


@pytest.mark.parametrize("seed", range(5))
def test_each_line_is_there_once_wherever_reading_begins_again(
    begin: Begin, journal: Entries, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "END_SETTLE_SECONDS", 0.0)
    rng = random.Random(seed)
    invocations = {f"u{number}.service": 0 for number in range(3)}
    for unit in invocations:
        journal.say(unit, "0", "started")
    for _ in range(200):
        unit = rng.choice(list(invocations))
        if rng.random() < 0.1:
            journal.say(unit, str(invocations[unit]), "ended", result="success")
            invocations[unit] += 1
            journal.say(unit, str(invocations[unit]), "started")
        else:
            size = 1_500_000 if rng.random() < 0.01 else rng.randrange(300)
            journal.line(unit, str(invocations[unit]), rng.randbytes(size) + b"\n")
    for unit, invocation in invocations.items():
        journal.say(unit, str(invocation), "ended", result="success")
    read = 0
    while read < len(journal.all):
        recorder = begin()
        at = max(0, read - rng.randrange(30))
        for _ in range(rng.randrange(1, 5)):
            size = rng.randrange(1, 20)
            recorder.take(journal.all[at : at + size], None)
            at = min(at + size, len(journal.all))
            if rng.random() < 0.5:
                recorder.end_ended()
        read = max(read, at)
        recorder.close()
    recorder = begin()
    recorder.take(journal.all[-20:], None)
    recorder.end_ended()
    assert recorder.open_logs == 0
    found = logs(tmp_path)
    assert {source: log[0] for source, log in found.items()} == journal.printed
    assert {(*log[1], log[2]) for log in found.values()} == {(b"",)}


def test_a_full_spool_waits_and_nothing_is_written_twice(begin: Begin, journal: Entries, tmp_path: Path) -> None:
    recorder = begin(SharedBounds(4 << 20, 1 << 30, 1 << 20))
    journal.line("a.service", "1", b"first\n")
    for _ in range(100):
        journal.line("a.service", "1", os.urandom(60_000).hex().encode() + b"\n")
    for _ in range(3):
        with pytest.raises(Unavailable, match="is full"):
            recorder.take(journal.all, None)
    recorder.close()
    recorder = begin()
    recorder.take(journal.all, None)
    assert logs(tmp_path)["a.service/1"][0] == journal.printed["a.service/1"]


def test_what_comes_after_an_end_is_another_attempt(
    begin: Begin, journal: Entries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "END_SETTLE_SECONDS", 0.0)
    recorder = begin()
    journal.say("a.service", "1", "started")
    journal.say("a.service", "1", "ended", result="success")
    recorder.take(journal.all, None)
    recorder.end_ended()
    journal.line("a.service", "1", b"late\n")
    recorder.take(journal.all, None)
    found = logs(tmp_path)
    assert [found[source][0] for source in sorted(found)] == [b"", b"late\n"]


def test_losses_are_said_in_open_logs_and_in_those_whose_start_was_not_read(
    begin: Begin, journal: Entries, tmp_path: Path
) -> None:
    recorder = begin()
    journal.line("open.service", "1", b"x\n")
    recorder.take(journal.all, None)
    recorder.lose("entries were deleted")
    journal.line("open.service", "1", b"y\n")
    journal.line("running.service", "1", b"z\n")
    journal.say("new.service", "1", "started")
    journal.line("new.service", "1", b"z\n")
    recorder.take(journal.all, None)
    found = logs(tmp_path)
    assert b"lost_lines" in found["open.service/1"][2]
    assert b"start_missing" in found["running.service/1"][2]
    assert found["new.service/1"][2] == b""


def test_a_unit_or_a_machine_that_was_started_again_ends_what_was_before(
    begin: Begin, journal: Entries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "END_SETTLE_SECONDS", 0.0)
    recorder = begin()
    journal.line("a.service", "1", b"x\n")
    journal.say("a.service", "2", "started")
    journal.line("b.service", "1", b"x\n")
    journal.boot = "c" * 32
    journal.line("c.service", "1", b"x\n")
    recorder.take(journal.all, None)
    recorder.end_ended()
    assert recorder.open_logs == 1
    recorder.close()
    # The older boot's entries come again: they end nothing of the younger one.
    recorder = begin()
    recorder.take(journal.all, None)
    recorder.end_ended()
    assert recorder.open_logs == 1
    assert len(logs(tmp_path)) == 4
