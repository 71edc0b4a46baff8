from __future__ import annotations

import base64
import json
import random

import pytest

from joblog.formats import CRI_PIECE_BYTES, JSON_PIECE_BYTES, Cri, Json, Renderer, Timestamps, rfc3339_nano
from joblog.v1 import logs_pb2, types_pb2

OUT, ERR = types_pb2.STREAM_STDOUT, types_pb2.STREAM_STDERR
SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
Written = tuple[types_pb2.Stream, bytes]


def parts_of(written: list[Written], per_part: int = 3, start: int = 0) -> list[logs_pb2.ReadResponse]:
    """Answers to a read, with up to per_part writes in each; write number n came at second n."""
    parts, offset, line = [], start, 1
    for first in range(0, len(written), per_part):
        part = logs_pb2.ReadResponse(offset=offset, line=line)
        for number, (stream, data) in enumerate(written[first : first + per_part], first):
            part.frames.add(stream=stream, time_ns=T0 + number * SECOND, offset=offset, length=len(data))
            part.data += data
            offset += len(data)
            line += data.count(b"\n")
        part.next_offset = offset
        parts.append(part)
    return parts


def gap_at(offset: int, length: int) -> logs_pb2.ReadResponse:
    gap = types_pb2.Gap(offset=offset, length=length, reason=types_pb2.GAP_REASON_SPOOL_FULL)
    return logs_pb2.ReadResponse(offset=offset, gap=gap, next_offset=offset + length)


def render(renderer: Renderer, parts: list[logs_pb2.ReadResponse]) -> bytes:
    return b"".join(map(renderer.render, parts)) + renderer.finish()


def time(number: int) -> bytes:
    return rfc3339_nano(T0 + number * SECOND).encode()


def test_rfc3339_keeps_nine_digits() -> None:
    assert rfc3339_nano(1_700_000_000_000_000_007) == "2023-11-14T22:13:20.000000007Z"


@pytest.mark.parametrize("per_part", [1, 2, 100])
def test_cri_has_one_line_per_line_of_each_stream(per_part: int) -> None:
    written = [(OUT, b"one\ntw"), (ERR, b"oops\n"), (OUT, b"o\n\n"), (ERR, b"bye"), (OUT, b"\r\x00\xff\n")]
    lines = render(Cri(), parts_of(written, per_part)).split(b"\n")
    assert lines == [
        time(0) + b" stdout F one",
        time(1) + b" stderr F oops",
        time(0) + b" stdout F two",
        time(2) + b" stdout F ",
        time(4) + b" stdout F \r\x00\xff",
        time(3) + b" stderr P bye",
        b"",
    ]


def split_cri(text: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """(stream, tag, content) of each line; content may hold anything but a newline."""
    lines = text.split(b"\n")
    assert lines.pop() == b""
    return [tuple(line.split(b" ", 3)[1:]) for line in lines]  # type: ignore[misc]


def test_cri_cuts_long_lines_at_16_kib() -> None:
    line = random.Random(1).randbytes(3 * CRI_PIECE_BYTES + 5).replace(b"\n", b"x")
    pieces = split_cri(render(Cri(), parts_of([(OUT, line[:100]), (OUT, line[100:] + b"\nz\n")])))
    assert [(tag, len(content)) for _, tag, content in pieces[:-1]] == [
        (b"P", CRI_PIECE_BYTES),
        (b"P", CRI_PIECE_BYTES),
        (b"P", CRI_PIECE_BYTES),
        (b"F", 5),
    ]
    assert b"".join(content for _, _, content in pieces[:-1]) == line
    assert pieces[-1] == (b"stdout", b"F", b"z")


def test_cri_of_a_line_of_exactly_16_kib_is_one_full_line() -> None:
    line = b"x" * CRI_PIECE_BYTES
    assert split_cri(render(Cri(), parts_of([(OUT, line), (OUT, b"\n")]))) == [(b"stdout", b"F", line)]


@pytest.mark.parametrize("seed", range(20))
def test_cri_put_together_is_what_each_stream_wrote(seed: int) -> None:
    chance = random.Random(seed)
    written: list[Written] = []
    for _ in range(chance.randrange(1, 60)):
        size = chance.choice([1, 3, 50, 20_000])
        data = bytes(chance.choice(b"ab\n\r\x00 ") for _ in range(size)) if size < 100 else b"y" * size
        written.append((chance.choice([OUT, ERR]), data))
    found = {b"stdout": b"", b"stderr": b""}
    for stream, tag, content in split_cri(render(Cri(), parts_of(written, chance.randrange(1, 5)))):
        found[stream] += content + (b"\n" if tag == b"F" else b"")
    assert found[b"stdout"] == b"".join(data for stream, data in written if stream == OUT)
    assert found[b"stderr"] == b"".join(data for stream, data in written if stream == ERR)


def test_a_gap_ends_what_has_begun() -> None:
    parts = [*parts_of([(OUT, b"one\ntw")]), gap_at(6, 100), *parts_of([(OUT, b"ee\n")], start=106)]
    assert [(tag, content) for _, tag, content in split_cri(render(Cri(), parts))] == [
        (b"F", b"one"),
        (b"P", b"tw"),
        (b"F", b"ee"),
    ]


def test_json_says_where_each_line_lies() -> None:
    written = [(OUT, "süß\n".encode()), (ERR, b"a"), (OUT, b"\xff\xfe\n"), (ERR, b"b\nend")]
    objects = [json.loads(line) for line in render(Json(), parts_of(written, 2)).splitlines()]
    whole = b"".join(data for _, data in written)
    assert [one.get("text") for one in objects] == ["süß", None, "ab", "end"]
    assert base64.b64decode(objects[1]["base64"]) == b"\xff\xfe"
    assert [one["offset"] for one in objects] == [0, *map(whole.index, (b"\xff", b"a", b"end"))]
    assert [one["line"] for one in objects] == [1, 2, 2, 4]
    assert objects[0]["time"] == time(0).decode()
    assert [one.get("partial", False) for one in objects] == [False, False, False, True]


def test_json_without_line_numbers_where_a_stream_is_left_out() -> None:
    objects = [json.loads(line) for line in render(Json(filtered=True), parts_of([(OUT, b"a\nb\n")])).splitlines()]
    assert [set(one) for one in objects] == [{"offset", "time", "stream", "text"}] * 2


def test_json_offsets_of_a_cut_line() -> None:
    line = b"x" * (2 * JSON_PIECE_BYTES + 3)
    objects = [
        json.loads(text) for text in render(Json(), parts_of([(OUT, line[:7]), (OUT, line[7:] + b"\n")])).splitlines()
    ]
    assert [one["offset"] for one in objects] == [0, JSON_PIECE_BYTES, 2 * JSON_PIECE_BYTES]
    assert [one["line"] for one in objects] == [1, 1, 1]


def test_json_gap_is_an_object() -> None:
    objects = [json.loads(line) for line in render(Json(), [gap_at(6, 100)]).splitlines()]
    assert objects == [{"gap": {"offset": 6, "length": 100, "reason": "spool full"}}]


@pytest.mark.parametrize("per_part", [1, 2, 100])
def test_timestamps_before_each_line_and_nothing_else(per_part: int) -> None:
    written = [(OUT, b"one\ntw"), (ERR, b"o\n"), (OUT, b"\nthree\n"), (OUT, b"four")]
    assert render(Timestamps(), parts_of(written, per_part)).split(b"\n") == [
        time(0) + b" one",
        time(0) + b" two",
        time(2) + b" ",
        time(2) + b" three",
        time(3) + b" four",
    ]
