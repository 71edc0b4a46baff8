from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joblog.errors import Corrupt
from joblog.leader.crypto.envelope import OVERHEAD_BYTES, LogCipher

DEK, UID = bytes(range(32)), bytes(range(16))
HEADER = bytes(40)


def test_what_was_sealed_opens_again_and_is_not_in_clear() -> None:
    cipher = LogCipher(DEK, UID)
    plain = b"a task's output" * 100
    sealed = cipher.seal(HEADER, 7, plain)
    assert len(sealed) == len(plain) + OVERHEAD_BYTES
    assert plain[:15] not in sealed
    assert LogCipher(DEK, UID).open(HEADER, 7, sealed) == plain


def test_the_same_bytes_sealed_twice_differ() -> None:
    cipher = LogCipher(DEK, UID)
    assert len({cipher.seal(HEADER, 7, b"same")[:12] for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("dek", "uid", "header", "offset"),
    [
        (bytes(32), UID, HEADER, 7),
        (DEK, bytes(16), HEADER, 7),
        (DEK, UID, HEADER[:-1] + b"\1", 7),
        (DEK, UID, HEADER[:-1], 7),
        (DEK, UID, HEADER, 8),
        (DEK, UID, b"\x07" + HEADER[1:], 0),
    ],
)
def test_a_chunk_of_another_log_offset_or_header_does_not_open(
    dek: bytes, uid: bytes, header: bytes, offset: int
) -> None:
    sealed = LogCipher(DEK, UID).seal(HEADER, 7, b"plain")
    with pytest.raises(Corrupt):
        LogCipher(dek, uid).open(header, offset, sealed)


@given(st.binary(max_size=300), st.integers(0, 2**64 - 1), st.data())
def test_any_flipped_bit_and_any_cut_is_noticed(plain: bytes, offset: int, data: st.DataObject) -> None:
    cipher = LogCipher(DEK, UID)
    sealed = cipher.seal(HEADER, offset, plain)
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    flipped = bytearray(sealed)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Corrupt, match=f"offset {offset} "):
        cipher.open(HEADER, offset, bytes(flipped))
    with pytest.raises(Corrupt):
        cipher.open(HEADER, offset, sealed[: data.draw(st.integers(0, len(sealed) - 1))])
    assert cipher.open(HEADER, offset, sealed) == plain


def test_keys_of_a_wrong_length_are_refused() -> None:
    for dek, uid in ((os.urandom(16), UID), (DEK, os.urandom(8))):
        with pytest.raises(Corrupt, match="must be 32 and 16"):
            LogCipher(dek, uid)
