from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from joblog.batch import STDERR, STDOUT, Frames
from joblog.leader.reading.selection import (
    after_newline,
    before_last_newlines,
    cut_frames,
    cut_range,
    cut_stream,
    stream_ranges,
)

FRAMES = st.lists(
    st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(min_size=1, max_size=5)), min_size=1, max_size=20
)


def columns(frames: list[tuple[int, bytes]]) -> Frames:
    lengths = array("I", (len(data) for _, data in frames))
    return Frames(bytes(stream for stream, _ in frames), array("Q", range(len(frames))), lengths)


@given(FRAMES, st.sampled_from([STDOUT, STDERR, None]), st.data())
def test_cuts_are_what_a_byte_by_byte_filter_gives(
    frames: list[tuple[int, bytes]], stream: int | None, data: st.DataObject
) -> None:
    raw = b"".join(part for _, part in frames)
    of = b"".join(bytes([stream]) * len(part) for stream, part in frames)
    start = data.draw(st.integers(0, len(raw)))
    limit = data.draw(st.none() | st.integers(1, 30))
    chosen = [place for place in range(start, len(raw)) if stream is None or of[place] == stream][:limit]
    found = columns(frames)
    cut = cut_stream(raw, stream_ranges(found, stream), start, limit) if stream else cut_range(raw, start, limit)
    assert b"".join(cut.parts) == bytes(raw[place] for place in chosen)
    assert cut.size == len(chosen)
    if chosen:
        assert cut.first == chosen[0]
        # Going on at the end gives what follows, no byte twice and none left out.
        assert cut.end > chosen[-1]
        assert not any(stream is None or of[place] == stream for place in range(chosen[-1] + 1, cut.end))
    cells = cut_frames(found, 1000, 0, start=start, end=cut.end, stream=stream)
    covered = [
        place for low, size in zip(cells.offsets, cells.lengths, strict=True) for place in range(low, low + size)
    ]
    assert covered == [1000 + place for place in chosen]
    assert all(of[low - 1000] == shown for low, shown in zip(cells.offsets, cells.streams, strict=True))
    assert all(size > 0 for size in cells.lengths)


@given(st.binary(max_size=200).map(lambda raw: raw.replace(b"a", b"\n")), st.data())
def test_newlines_are_found_from_both_ends(raw: bytes, data: st.DataObject) -> None:
    places = [place + 1 for place, byte in enumerate(raw) if byte == 10]
    if places:
        index = data.draw(st.integers(1, len(places)))
        assert after_newline(raw, index) == places[index - 1]
        assert before_last_newlines(raw, index) == places[-index]
