"""Entries and cursors as journalctl writes them; whose word counts, and what becomes of odd ones."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from joblog.batch import STDERR, STDOUT
from joblog.errors import InvalidInput, Unavailable
from joblog.worker.journald.cursor import Cursor
from joblog.worker.journald.entry import FAILURE_RESULT, JournalEntry, parse_entry
from joblog.worker.journald.place import ReadPlace
from joblog.worker.journald.reader import JournalPlace, JournalReader
from joblog.worker.journald.units import Units, end_of

A, B = "a" * 32, "b" * 32


def cursor(number: int, *, sequence: str = A, boot: str = B, digest: str = "1") -> Cursor:
    return Cursor.parse(f"s={sequence};i={number:x};b={boot};m={number * 10:x};t={number * 100:x};x={digest}")


def entry(**fields: Any) -> JournalEntry:
    return parse_entry(json.dumps({"__CURSOR": cursor(1).text, **fields}).encode())


def test_a_cursor_says_which_came_first_and_which_is_the_same_wherever_it_lies() -> None:
    assert cursor(2).is_behind(cursor(1))
    assert not cursor(1).is_behind(cursor(1))
    assert not cursor(1).is_behind(cursor(2))
    moved = cursor(2, sequence="c" * 32)
    assert moved.is_same(cursor(2)._replace(number=9))
    assert not moved.is_behind(cursor(2))
    assert moved.is_behind(cursor(1))
    assert not cursor(2, digest="2").is_same(cursor(2))
    for text in ("", "s=1", None, cursor(1).text + ";y=1", "-" + cursor(1).text, cursor(1).text + "\n"):
        with pytest.raises(InvalidInput):
            Cursor.parse(text)


def test_a_units_line_is_its_bytes() -> None:
    found = entry(_SYSTEMD_UNIT="a.service", _SYSTEMD_INVOCATION_ID=A, MESSAGE="x", PRIORITY="6")
    assert (found.unit, found.invocation, found.data, found.stream, found.said) == ("a.service", A, b"x\n", STDOUT, "")
    assert found.time_ns == 100_000
    assert entry(_SYSTEMD_UNIT="a", MESSAGE=[120, 255], PRIORITY="3").data == b"x\xff\n"
    assert entry(_SYSTEMD_UNIT="a", PRIORITY="3").stream == STDERR
    assert entry(_SYSTEMD_UNIT="a", MESSAGE=["one", "two"]).data == b"one\n"
    assert entry(_SYSTEMD_UNIT="a", MESSAGE="half", _LINE_BREAK="eof").data == b"half"
    assert entry(_SYSTEMD_UNIT="a", MESSAGE=None).data == b"\n"
    assert entry(_SYSTEMD_UNIT="a", MESSAGE=[300, -1]).data == b"\n"
    assert entry(MESSAGE="of no unit").unit == ""
    assert entry(_SYSTEMD_UNIT="x" * 10_000, MESSAGE="x").unit == ""


def test_only_process_1_speaks_for_units_and_only_this_machine() -> None:
    said = {"MESSAGE_ID": FAILURE_RESULT, "UNIT": "a.service", "INVOCATION_ID": A, "UNIT_RESULT": "oom-kill"}
    found = entry(**said, _PID="1", _SYSTEMD_UNIT="init.scope")
    assert (found.unit, found.said, found.result) == ("a.service", "ended", "oom-kill")
    found = entry(**said, _PID="2", _SYSTEMD_UNIT="evil.service", MESSAGE="x")
    assert (found.unit, found.said, found.data) == ("evil.service", "", b"x\n")
    dropped = {"MESSAGE_ID": "a596d6fe7bfa4994828e72309e95d61e", "OBJECT_SYSTEMD_UNIT": "a.service", "N_DROPPED": "7"}
    found = entry(**dropped, _TRANSPORT="driver")
    assert (found.unit, found.said, found.dropped) == ("a.service", "dropped", 7)
    assert entry(**dropped, _TRANSPORT="journal", _SYSTEMD_UNIT="evil.service").unit == "evil.service"
    line = json.dumps({"__CURSOR": cursor(1).text, "_SYSTEMD_UNIT": "a", "_MACHINE_ID": A}).encode()
    assert parse_entry(line, A).unit == "a"
    assert parse_entry(line, B).unit == ""


@pytest.mark.parametrize("line", [b"", b"[]", b"{", b"{}", b'{"__CURSOR":7}', b"[" * 100_000, b"\xff"])
def test_what_is_no_entry_is_refused(line: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_entry(line)


def test_names_come_from_the_units_name() -> None:
    units = Units(["a*", "b@*.service"], "ns", "{prefix}-{host}", "{instance}", "h")
    assert units.wants("abc.service")
    assert not units.wants("b.service")
    named = entry(_SYSTEMD_UNIT="b@x@../y.service", _SYSTEMD_INVOCATION_ID=A, MESSAGE="")
    name = units.target(named).name
    assert (name.namespace, name.run, name.attempt) == ("ns", "b-h", 0)
    assert name.task.startswith("x-..-y~")
    assert Units(["*"]).target(entry(_SYSTEMD_UNIT="init.scope")).name == ("default", "init", "init", 0)
    for template in ("", "{nothing}", "}{", "{prefix"):
        with pytest.raises(InvalidInput):
            Units(["*"], "ns", template)
    with pytest.raises(InvalidInput):
        Units(["*"], "@audit2")


def test_how_a_unit_ended() -> None:
    assert end_of("success", -1, 0, 5).exit_code == 0
    assert end_of("success", 143, 0, 5).exit_code == 143
    assert end_of("start-limit-hit", -1, 0, 5).exit_code is None
    killed = end_of("oom-kill", -1, 9, 5)
    assert (killed.exit_code, killed.signal, killed.oom_killed, killed.ended_ns) == (137, 9, True, 5)
    assert end_of("timeout", -1, 15, 5).reason == "DeadlineExceeded"


async def test_what_journalctl_warns_of_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    program = shutil.which("journalctl")
    if program is None:
        pytest.skip("journalctl is not installed")
    (tmp_path / "damaged.journal").write_bytes(b"no journal")
    reader = JournalReader(program, JournalPlace(str(tmp_path), "all"), None)
    await reader.start()
    reading = asyncio.create_task(reader.read())
    async with asyncio.timeout(20):
        while "ignoring file" not in caplog.text:
            await asyncio.sleep(0.01)
    assert not reading.done()
    reading.cancel()
    await reader.stop()
    gone = JournalReader(program, JournalPlace(str(tmp_path / "none"), "all"), None)
    await gone.start()
    with pytest.raises(Unavailable, match=r"journalctl ended: .*No such file"):
        await gone.read()
    await gone.stop()


async def test_an_entry_that_is_too_long_is_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joblog.worker.journald.reader.MAX_LINE_BYTES", 1000)
    reader = JournalReader("journalctl", JournalPlace(), None)
    line = json.dumps({"__CURSOR": cursor(1).text, "_SYSTEMD_UNIT": "a", "MESSAGE": "x"}).encode()
    found = []
    for data in (line + b"\n" + b'{"MESSAGE":"', b"y" * 5000, b"y" * 5000, b'"}\n-- a remark --\n', line, b"\n"):
        reader._take(data)
        found += reader._lines()
    assert found == [line, line]
    assert reader.too_long == 1


def test_reading_begins_where_it_was_and_earlier_on_a_machine_that_lost_its_power(tmp_path: Path) -> None:
    boot, now = tmp_path / "boot", [0.0]
    boot.write_text("one\n")
    path = tmp_path / "journal.json"

    def place() -> ReadPlace:
        return ReadPlace(path, lambda: now[0], boot)

    first = place()
    assert first.cursor is None
    for number in range(1, 100):
        now[0] += 10
        first.note(cursor(number))
    assert place().cursor == cursor(99)
    boot.write_text("two\n")
    older = place().cursor
    assert older is not None
    assert 6 <= 99 - older.number <= 12
    second = place()
    second.note(cursor(100))
    second.write()
    # It has not been there for long enough to know better.
    boot.write_text("three\n")
    assert place().cursor == older
    path.write_text('{"boot": "three", "cursor": "x", "older": "y"}')
    assert place().cursor is None
