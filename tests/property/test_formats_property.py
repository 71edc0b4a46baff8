"""The codecs of other programs' log files against models that look at one line after the other."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from joblog.batch import unpack_frames
from joblog.worker.formats.cri import Cri
from joblog.worker.formats.decoded import Decoded, Format
from joblog.worker.formats.docker_json import DockerJson

NOW_NS = 1_800_000_000_000_000_000
AFTER_NS = 1_500_000_000_000_000_000

times = st.integers(AFTER_NS, NOW_NS)
zones = st.sampled_from(["Z", "+00:00", "+02:00", "-03:30"])
streams = st.sampled_from(["stdout", "stderr"])


def stamp(time_ns: int, zone: str = "Z") -> str:
    """As Go writes RFC3339Nano: no zeros at the end of the fraction."""
    ahead = 0 if zone == "Z" else int(zone[0] + "1") * (int(zone[1:3]) * 3600 + int(zone[4:6]) * 60)
    whole = datetime.fromtimestamp(time_ns // 10**9 + ahead, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{time_ns % 10**9:09d}".rstrip("0")
    return whole + ("." + fraction if fraction else "") + zone


@st.composite
def cri_lines(draw: st.DrawFn) -> tuple[bytes, bytes, int, int]:
    """(line in the file, bytes in the log, stream, time or 0)."""
    text = draw(st.binary(max_size=60)).replace(b"\n", b" ")
    if draw(st.integers(0, 9)) == 0:
        odd = draw(
            st.sampled_from([b"", b"no cri", b"2026-01-31T12:00:00Z stdin F x", b"2026-01-31T12:00:00Z stdout X x"])
        )
        return odd + b"\n", odd + b"\n", 1, 0
    time_ns, stream = draw(times), draw(streams)
    tag = draw(st.sampled_from(["F", "F", "F", "P", "F:x", "P:tag:more"]))
    line = f"{stamp(time_ns, draw(zones))} {stream} {tag} ".encode() + text + b"\n"
    return line, text + (b"\n" if tag[0] == "F" else b""), 1 if stream == "stdout" else 2, time_ns


def check_frames(decoded: Decoded, expected: list[tuple[bytes, int, int]]) -> None:
    """Every byte has its stream, and a time that is that of a line of its frame, none before the one before it."""
    if not decoded.raw:
        return
    frames = unpack_frames(decoded.frames, len(decoded.raw))
    by_byte = b"".join(bytes([stream]) * length for stream, length in zip(frames.streams, frames.lengths, strict=True))
    assert by_byte == b"".join(bytes([stream]) * len(raw) for raw, stream, _ in expected)
    ends, last = [], AFTER_NS
    for raw, _, time_ns in expected:
        ends.extend([time_ns] * len(raw))
    at = 0
    for time_us, length in zip(frames.times_us, frames.lengths, strict=True):
        found = decoded.first_time_ns + time_us * 1000
        # To the hundredth of a second, or where it would fall, that of the one before.
        allowed = [time_ns for time_ns in ends[at : at + length] if time_ns]
        assert not allowed or max(min(allowed), last) - 1000 <= found <= max(*allowed, last), (found, allowed, last)
        last, at = max(last, found), at + length
    assert decoded.last_time_ns <= NOW_NS


def decode(codec: Format, data: bytes, *, whole: bool = False) -> Decoded:
    return codec.decode(data, whole=whole, after_ns=AFTER_NS, now_ns=NOW_NS)


@given(st.lists(cri_lines(), max_size=40), st.binary(max_size=20).map(lambda tail: tail.replace(b"\n", b"")))
@example([], b"")
def test_cri_is_decoded_line_by_line(lines: list[tuple[bytes, bytes, int, int]], tail: bytes) -> None:
    file = b"".join(line[0] for line in lines)
    decoded = decode(Cri(), file + tail)
    assert decoded.consumed == len(file)
    assert decoded.raw == b"".join(line[1] for line in lines)
    assert decoded.odd_lines == sum(line[3] == 0 for line in lines)
    check_frames(decoded, [(raw, stream, time) for _, raw, stream, time in lines])
    whole = decode(Cri(), file + tail, whole=True)
    assert whole.consumed == len(file + tail)
    assert whole.raw == decoded.raw + tail


@given(st.lists(cri_lines(), min_size=1, max_size=20), st.data())
def test_it_is_the_same_wherever_the_file_is_cut(
    lines: list[tuple[bytes, bytes, int, int]], data: st.DataObject
) -> None:
    file = b"".join(line[0] for line in lines)
    raw, position = b"", 0
    while position < len(file):
        block = file[position : position + data.draw(st.integers(1, len(file)))]
        decoded = decode(Cri(), block)
        if not decoded.consumed:
            decoded = decode(Cri(), file[position:])
        raw, position = raw + decoded.raw, position + decoded.consumed
    assert raw == b"".join(line[1] for line in lines)


@given(st.binary(max_size=400), st.booleans())
def test_no_bytes_make_a_codec_fail_or_lose_any(data: bytes, whole: bool) -> None:
    for codec in (Cri(), DockerJson()):
        decoded = decode(codec, data, whole=whole)
        assert decoded.consumed == (len(data) if whole else data.rfind(b"\n") + 1)
        if decoded.raw:
            unpack_frames(decoded.frames, len(decoded.raw))


def test_a_fragment_without_its_newline_at_the_end_of_a_file() -> None:
    file = b"2026-01-31T12:00:00.5Z stdout F one\n2026-01-31T12:00:00.6Z stderr F tw"
    decoded = decode(Cri(), file, whole=True)
    assert decoded.raw == b"one\ntw"
    assert bytes(unpack_frames(decoded.frames, 6).streams) == b"\1\2"
    assert decoded.first_time_ns == 1769860800_500_000_000


def test_times_that_no_clock_shows_are_held_between_the_last_one_and_now() -> None:
    lines = [
        b"9999-01-31T12:00:00Z stdout F a\n",
        b"0001-01-31T12:00:00Z stdout F b\n",
        b"2026-99-99T12:00:00Z stdout F c\n",
    ]
    for line in lines:
        decoded = decode(Cri(), line)
        assert decoded.raw == line[-2:]
        assert AFTER_NS <= decoded.first_time_ns <= NOW_NS


docker_texts = st.text(max_size=30).map(lambda text: text.encode(errors="replace").decode())


@given(st.lists(st.tuples(docker_texts, st.booleans(), streams, times, st.integers(0, 9)), max_size=30))
def test_docker_json_is_decoded_line_by_line(entries: list[tuple[str, bool, str, int, int]]) -> None:
    lines, expected = [], []
    for text, ended, stream, time_ns, odd in entries:
        if odd == 0:
            lines.append(b'{"no log": 1}\n')
            expected.append((lines[-1], 1, 0))
            continue
        log = text + ("\n" if ended else "")
        lines.append(json.dumps({"log": log, "stream": stream, "time": stamp(time_ns)}).encode() + b"\n")
        expected.append((log.encode(), 1 if stream == "stdout" else 2, time_ns))
    decoded = decode(DockerJson(), b"".join(lines))
    assert decoded.raw == b"".join(raw for raw, _, _ in expected)
    assert decoded.odd_lines == sum(entry[4] == 0 for entry in entries)
    check_frames(decoded, expected)
