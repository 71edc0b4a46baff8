from __future__ import annotations

import io

import pytest

from joblog.cli.output import _Shown
from joblog.cli.terminal import LogOutput, TerminalFilter, shown_text


def filtered(data: bytes, **options: bool) -> bytes:
    made = TerminalFilter(**options)
    return made.feed(data) + made.finish()


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (b"\x1b[2J", b"^[[2J"),
        (b"\x1b[1A\x1b[2K", b"^[[1A^[[2K"),
        (b"\x1b]0;title\x07", b"^[]0;title^G"),
        (b"\x1b]52;c;ZXZpbA==\x1b\\", b"^[]52;c;ZXZpbA==^[\\"),
        (b"\x1b]8;;http://evil\x1b\\here\x1b]8;;\x1b\\", b"^[]8;;http://evil^[\\here^[]8;;^[\\"),
        (b"\x1b[c\x1b[6n\x1b[>0q\x05", b"^[[c^[[6n^[[>0q^E"),
        (b"\x1bPq\x1b\\\x1b_a\x1b\\\x1b^p\x1b\\\x1bXs\x1b\\", b"^[Pq^[\\^[_a^[\\^[^p^[\\^[Xs^[\\"),
        (b"\x1bc\x1b#8\x1b7\x1b8", b"^[c^[#8^[7^[8"),
        (b"\x9b2J\x9d0;t\x9c", b"\\x9b2J\\x9d0;t\\x9c"),
        ("\x9b2J".encode(), b"<U+009B>2J"),
        (b"a\x08b\x0bc\x0cd\x7fe\x00", b"a^Hb^Kc^Ld^?e^@"),
        ("if \u202e\u2066admin\u2069".encode(), b"if <U+202E><U+2066>admin<U+2069>"),
        (b"\xe2\x9b\x1b[2J caf\xe9", b"\\xe2\\x9b^[[2J caf\\xe9"),
        # Not colours that are known, or not colours at all.
        (b"\x1b[8mhidden\x1b[11m\x1b[?25m\x1b[>4;2m\x1b[38;5m", b"^[[8mhidden^[[11m^[[?25m^[[>4;2m^[[38;5m"),
        (b"\x1b[" + b"1;" * 40 + b"m", b"^[[" + b"1;" * 40 + b"m"),
        (b"\x1b[1", b"^[[1"),
        (b"\x1b", b"^["),
    ],
)
def test_what_steers_a_terminal_is_shown(given: bytes, shown: bytes) -> None:
    assert filtered(given) == shown


@pytest.mark.parametrize(
    "given",
    [
        b"plain\ttext\n",
        b"a\r\nb\r\r\n\rc",
        "naïve → 語 \U0001f600 עברית\n".encode(),
        b"\x1b[1;31mred\x1b[0m \x1b[m",
        b"\x1b[38;5;208;48;2;1;22;255ma\x1b[38:2::1:2:3mb\x1b[4:3;58;5;1mc\x1b[;mq\x1b[01;39;49m\x1b[0m",
        b"\x1b(B\x1b[m",
    ],
)
def test_what_only_prints_and_colours_passes(given: bytes) -> None:
    assert filtered(given) == given


def test_colours_end_with_the_log() -> None:
    assert filtered(b"\x1b[31mred") == b"\x1b[31mred\x1b[0m"
    assert filtered(b"\x1b[31mred\x1b[0m.") == b"\x1b[31mred\x1b[0m."


def test_a_line_is_never_overwritten() -> None:
    assert filtered(b" 10%\r 20%\r100%\n\rnext\r") == b" 10%\r\n 20%\r\n100%\n\rnext\r\n"
    # As grep and gcc print: nothing is there to be erased.
    assert filtered(b"\x1b[01;31m\x1b[Kerror:\x1b[m\x1b[K\x1b[K\n") == b"\x1b[01;31merror:\x1b[m^[[K\n"


def test_a_sequence_is_waited_for_no_longer_than_it_can_be_one() -> None:
    made = TerminalFilter()
    assert made.feed(b"a\x1b[3") == b"a"
    assert made.feed(b"1mred") == b"\x1b[31mred"
    assert made.feed(b"\x1b[" + b"1" * 60) == b""
    assert made.feed(b"1" * 60) == b"^[[" + b"1" * 120
    assert made.feed(b"\xe2\x80") == b""
    assert made.feed(b"\xae") == b"<U+202E>"


def test_a_terminal_without_utf8_gets_ascii() -> None:
    assert filtered("é\x9b\x1b[1mx\x1b[m".encode(), utf8=False) == b"\\xc3\\xa9\\xc2\\x9b\x1b[1mx\x1b[m"


def test_messages_keep_lines_and_colours_only() -> None:
    assert shown_text("one\ntwo \x1b]0;x\x07 \x1b[1mz") == "one\ntwo ^[]0;x^G \x1b[1mz\x1b[0m"
    to = io.StringIO()
    _Shown(to).write("label \x1b[2J\x9b")
    assert to.getvalue() == "label ^[[2J<U+009B>"


def test_bytes_stay_as_they_are_where_no_terminal_is(capfd: pytest.CaptureFixture[str]) -> None:
    with LogOutput() as output:
        output.write(1, b"\x1b[2J\x07")
    assert capfd.readouterr().out == "\x1b[2J\x07"
