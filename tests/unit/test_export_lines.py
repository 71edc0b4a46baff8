"""Lines that are cut out of a log for its export: each stream's whole, none missing, none twice, wherever it stops."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from joblog.leader.buffer.exports import Exported
from joblog.leader.export import lines as cutting
from joblog.leader.export.lines import MAX_BEHIND_BYTES, MAX_LINE_BYTES, Cutter, Line
from joblog.leader.reading.piece import NO_FRAMES, FrameColumns, Piece
from joblog.v1 import types_pb2

Frame = tuple[int, bytes]


def pieces_of(frames: list[Frame], begin: int, piece_bytes: int) -> list[Piece]:
    """What a reader gives of a log with these frames, from an offset on."""
    found: list[Piece] = []
    at = 0
    for stream, data in frames:
        skip = max(0, begin - at)
        offset = at + skip
        at += len(data)
        rest = data[skip:]
        while rest:
            part, rest = rest[:piece_bytes], rest[piece_bytes:]
            columns = FrameColumns(bytes([stream]), [1000 + offset], [offset], [len(part)])
            found.append(Piece(offset, offset + len(part), 1, part, frames=columns))
            offset += len(part)
    return found


def cut(
    frames: list[Frame], exported: Exported, *, max_lines: int = 1000, patient: bool = False, piece_bytes: int = 1000
) -> cutting.Lines:
    cutter = Cutter(exported, max_lines)
    for piece in pieces_of(frames, exported.offset, piece_bytes):
        cutter.add(piece)
    return cutter.finish(patient=patient)


def text(lines: list[Line], stream: int) -> bytes:
    return b"".join(line.data + b"\n" * line.is_ended for line in lines if line.stream == stream)


FRAMES = st.lists(
    st.tuples(
        st.sampled_from([1, 2]),
        st.lists(st.sampled_from([b"a", b"bc\n", b"\n", "é€😀".encode(), b"x" * 40, b"\xff"]), min_size=1).map(
            b"".join
        ),
    ),
    min_size=1,
    max_size=12,
)


@given(FRAMES, st.integers(1, 5), st.integers(1, 50), st.data())
def test_however_it_is_cut_each_byte_is_there_once(
    frames: list[Frame], max_lines: int, piece_bytes: int, data: st.DataObject
) -> None:
    length = sum(len(part) for _, part in frames)
    exported, found = Exported(), list[Line]()
    while exported.offset < length:
        patient = data.draw(st.booleans())
        part = cut(frames, exported, max_lines=max_lines, patient=patient, piece_bytes=piece_bytes)
        if part.exported == exported:
            assert patient and part.waits and not part.lines
            continue
        assert part.exported.stdout >= exported.stdout and part.exported.stderr >= exported.stderr
        found += part.lines
        exported = part.exported
    whole = b"".join(part for _, part in frames)
    for stream in (1, 2):
        assert text(found, stream) == b"".join(part for number, part in frames if number == stream)
        offsets = [line.offset for line in found if line.stream == stream]
        assert offsets == sorted(set(offsets))
    for line in found:
        assert whole[line.offset : line.offset + 1] == (line.data or b"\n")[:1]


def test_a_line_that_another_stream_interrupts_is_one() -> None:
    frames = [(1, b"first ha"), (2, b"warning\n"), (1, b"lf\n")]
    found = cut(frames, Exported(), patient=True)
    assert [(line.stream, line.offset, line.data, line.is_ended) for line in found.lines] == [
        (2, 8, b"warning", True),
        (1, 0, b"first half", True),
    ]
    assert found.exported == Exported(19, 19) and not found.waits


def test_the_end_of_a_line_is_waited_for_and_nothing_comes_twice() -> None:
    frames = [(1, b"half"), (2, b"warning\n")]
    found = cut(frames, Exported(), patient=True)
    assert [line.data for line in found.lines] == [b"warning"]
    assert found.exported == Exported(0, 12) and found.waits
    rest = cut([*frames, (1, b" more\n")], found.exported, patient=True)
    assert [line.data for line in rest.lines] == [b"half more"]
    given_up = cut(frames, found.exported, patient=False)
    assert given_up.lines == [Line(1, 0, 1000, b"half", is_ended=False)]
    assert given_up.exported == Exported(12, 12)


def test_a_line_without_an_end_holds_up_no_other() -> None:
    frames = [(1, b"half"), *[(2, b"w" * 999 + b"\n")] * 200]
    found = cut(frames, Exported(), patient=True, max_lines=10_000)
    assert found.lines[-1].data == b"half" and not found.lines[-1].is_ended
    assert found.exported.offset == 4 + 200_000 > MAX_BEHIND_BYTES


def test_a_long_line_is_cut_between_characters() -> None:
    line = ("é" * MAX_LINE_BYTES).encode()
    found = cut([(1, b"x" + line + b"\n")], Exported(), piece_bytes=1 << 20)
    assert [line.is_ended for line in found.lines] == [False, False, True]
    assert all(len(line.data) <= MAX_LINE_BYTES and line.data.decode() for line in found.lines)
    assert text(found.lines, 1) == b"x" + line + b"\n"


def test_a_gap_is_told_and_ends_the_lines_before_it() -> None:
    cutter = Cutter(Exported(), 100)
    cutter.add(pieces_of([(1, b"half")], 0, 100)[0])
    gap = types_pb2.Gap(offset=4, length=1000)
    cutter.add(Piece(4, 1004, 1, gap=gap), "spool full")
    cutter.add(Piece(1004, 1010, 1, b"after\n", frames=FrameColumns(b"\x02", [7], [1004], [6])))
    found = cutter.finish(patient=True)
    assert found.lines == [
        Line(1, 0, 1000, b"half", is_ended=False),
        Line(0, 4, 1000, b"spool full", missing=1000),
        Line(2, 1004, 7, b"after"),
    ]
    assert found.exported == Exported(1010, 1010)


def test_bytes_whose_frames_are_damaged_are_lines_all_the_same() -> None:
    cutter = Cutter(Exported(), 100)
    cutter.add(Piece(0, 8, 1, b"one\ntwo\n", frames=NO_FRAMES))
    assert [line.data for line in cutter.finish(patient=True).lines] == [b"one", b"two"]
