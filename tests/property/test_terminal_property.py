"""Whatever a log holds, and however it is cut: a terminal gets text and colours, nothing else."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from joblog.cli.terminal import TerminalFilter

PIECES = [
    b"\x1b",
    b"[",
    b"]52;c;eA==",
    b"m",
    b"1;31",
    b"38;5;",
    b":",
    b"\x1b[",
    b"\x1b[0m",
    b"\x1b[K",
    b"\x1b(B",
    b"2J",
    b"\r",
    b"\n",
]
PIECES += [
    b"\x9b",
    b"\x9d",
    b"\xc2\x9b",
    b"\xc2",
    b"\xe2\x80",
    b"\xae",
    b"\x07",
    b"\x08",
    b"\x7f",
    b"P",
    b"\\",
    b"x",
    b"8m",
]
HOSTILE = st.lists(st.sampled_from(PIECES) | st.binary(max_size=6), max_size=40).map(b"".join)
BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}


def filtered(pieces: list[bytes]) -> bytes:
    made = TerminalFilter()
    return b"".join(map(made.feed, pieces)) + made.finish()


def check(output: bytes) -> None:
    """Reads the output as a terminal does."""
    text = output.decode()
    at, column = 0, 0
    while at < len(text):
        char = text[at]
        if char == "\x1b":
            if text.startswith("\x1b(B", at):
                at += 3
                continue
            assert text[at + 1] == "[", text[at : at + 9]
            end = text.index("m", at)
            assert set(text[at + 2 : end]) <= set("0123456789;:")
            assert end - at < 80
            at = end + 1
            continue
        if char == "\r":
            assert column == 0 or text[at:].lstrip("\r").startswith("\n"), text[:at][-20:]
        else:
            column = 0 if char == "\n" else column + 1
            assert char in "\t\n" or unicodedata.category(char) != "Cc", hex(ord(char))
            assert ord(char) not in BIDI
        at += 1


@given(HOSTILE, st.lists(st.integers(0, 200), max_size=8))
@example(b"abc\r\rdef", [])
@example(b"\x1b[8;8m\x1b[1m\x1b[K\r.", [])
def test_only_text_and_colours_reach_a_terminal(data: bytes, cuts: list[int]) -> None:
    whole = filtered([data])
    check(whole)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    assert filtered([data[a:b] for a, b in pairwise(places)]) == whole


@given(HOSTILE)
def test_byte_by_byte_is_the_same(data: bytes) -> None:
    assert filtered([data[at : at + 1] for at in range(len(data))]) == filtered([data])


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from("\t\n")), st.integers(0, 99))
def test_text_without_controls_is_unchanged(text: str, cut: int) -> None:
    data = "".join(char for char in text if ord(char) not in BIDI).encode()
    assert filtered([data[:cut], data[cut:]]) == data
