from __future__ import annotations

import pytest

from joblog.errors import Corrupt, InvalidInput, WrongVersion
from joblog.leader.buffer.chunk import HEADER_BYTES, ChunkHeader, gap_header, pack_gap, unpack_chunk, unpack_header


def test_layout_is_as_documented() -> None:
    header = ChunkHeader(1, 2, 3, 4, 5, 6, 7, 8)
    packed = header.pack()
    fields = [(1, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (6, 8), (7, 4), (8, 4)]
    assert packed == b"".join(value.to_bytes(size, "big") for value, size in fields)
    assert len(packed) == HEADER_BYTES == 40
    assert unpack_chunk(packed + b"sealed") == (header, b"sealed")
    assert header.lines_after == 8


def test_a_gap_keeps_more_newlines_than_32_bits() -> None:
    header = gap_header(raw_length=2**50, reason=2, newlines=2**40, lines_before=3, first_time_ns=9)
    value = pack_gap(header)
    assert len(value) == 49
    assert unpack_chunk(value) == (header, b"")


def test_what_is_no_chunk_is_refused() -> None:
    good = ChunkHeader(1, 2, 3, 4, 5, 6, 7, 8).pack()
    with pytest.raises(Corrupt):
        unpack_header(good[:-1])
    with pytest.raises(WrongVersion, match="version 9"):
        unpack_header(b"\x09" + good[1:])
    with pytest.raises(Corrupt, match="kind 7"):
        unpack_header(b"\x01\x07" + good[2:])
    with pytest.raises(Corrupt):
        unpack_header(b"\x01\x02" + good[2:])
    with pytest.raises(InvalidInput):
        ChunkHeader(1, 2, 3, 2**64, 5, 6, 7, 8).pack()
