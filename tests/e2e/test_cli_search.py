"""`joblog search` against a leader and a worker that run."""

from __future__ import annotations

import json
import os
import pty
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.cli.searching import moment_ns
from joblog.errors import InvalidInput
from tests.e2e.machine import Machine


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="joblog.") as folder:
        made = Machine(Path(folder, "d"))
        made.start_up()
        made.run("one/build", "echo start; echo 'need''le here'; echo; echo NEED''LE; echo end")
        # The run log has the command line: it must not say it.
        made.run("two/test", "printf 'a need''le \\033]0;title\\007 \\377\\n' >&2", "--label", "team=a")
        yield made
        made.close()


def test_where_and_how(machine: Machine) -> None:
    done = machine.call("search", "needle")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"two/test/1:1:a needle \x1b]0;title\x07 \xff\none/build/1:2:needle here\n"
    assert machine.call("search", "-i", "-l", "needle").stdout == b"two/test/1\none/build/1\n"
    done = machine.call("search", "-E", "^NEED.E$", "one", "-C", "2")
    assert done.stdout == (b"one/build/1-2-needle here\none/build/1-3-\none/build/1:4:NEEDLE\none/build/1-5-end\n--\n")
    assert machine.call("search", "needle", "--stream", "stderr").stdout.startswith(b"two/test/1:1:")
    assert machine.call("search", "needle", "--label", "team=a", "--since", "1h", "-l").stdout == b"two/test/1\n"
    assert machine.call("search", "-i", "-l", "needle", "--last", "1").stdout == b"two/test/1\n"
    assert machine.call("search", "-l", "needle", "--run-text", "ON", "--last", "1").stdout == b"one/build/1\n"
    done = machine.call("search", "e", "--max", "1", check=False)
    assert b"raise --max" in done.stderr
    assert b"0 of 2 runs, " in done.stderr
    [hit] = map(json.loads, machine.call("search", "needle", "two/test", "--json").stdout.splitlines())
    assert (hit["line"], hit["stream"], hit["spans"], hit["text"][-1]) == (1, "stderr", [2, 8], "\ufffd")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nothing like it",), 1, b""),
        (("a(", "-E"), 2, b"regular expression"),
        (("a", "one/build", "--since", "1d"), 2, b"leave the path out"),
        (("a", "one", "--last", "3"), 2, b"leave the path out"),
        (("a", "--last", "0"), 2, b"--last"),
        (("a", "--since", "yesterday"), 2, b"is no time"),
        (("a", "none"), 3, b"no run default:none"),
    ],
)
def test_exit_codes(machine: Machine, arguments: tuple[str, ...], code: int, said: bytes) -> None:
    done = machine.call("search", *arguments, check=False)
    assert done.returncode == code
    assert said in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_terminal_gets_colours_and_nothing_else(machine: Machine) -> None:
    ours, theirs = pty.openpty()
    searching = machine.start("search", "needle", "two", stdout=theirs)
    assert searching.wait(60) == 0
    os.close(theirs)
    shown = os.read(ours, 1 << 16)
    os.close(ours)
    assert b"\x1b[1;31mneedle\x1b[0m" in shown
    assert b"\x1b]0;" not in shown


def test_a_terminal_is_told_how_far_it_is(machine: Machine) -> None:
    ours, theirs = pty.openpty()
    searching = machine.start("search", "needle", "--last", "500", stderr=theirs)
    assert searching.wait(60) == 0
    os.close(theirs)
    shown = os.read(ours, 1 << 16)
    os.close(ours)
    assert b"2 of 2 runs, " in shown
    assert b" searched" in shown
    # Nothing of it stays.
    assert shown.rstrip().endswith((b"\x1b[2K", b"\x1b[?25h"))


def test_times() -> None:
    now = 1_700_000_000 * 10**9
    assert moment_ns("90m", now) == now - 5400 * 10**9
    assert moment_ns("2023-11-14T22:13:20Z", now) == moment_ns("2023-11-14T23:13:20+01:00", now) == now
    assert moment_ns("2023-11-14", now) == 1_699_920_000 * 10**9
    assert moment_ns("3000w", now) == moment_ns("1960-01-01", now) == 1
    assert moment_ns("9999-12-31", now) == 2**63 - 1
    for text in ("", "3", "-1h", "12y", "2023-13-01"):
        with pytest.raises(InvalidInput):
            moment_ns(text, now)
