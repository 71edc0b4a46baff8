"""What a request to S3 sends, when it is not joined first."""

from __future__ import annotations

import io
import random

from hypothesis import given
from hypothesis import strategies as st

from joblog.leader.archive.objects import Bytes
from joblog.leader.archive.s3_body import PiecesFile, body_of

PIECES = st.lists(st.binary(min_size=0, max_size=9), max_size=8)


def read_all(file: PiecesFile) -> bytes:
    return b"".join(iter(lambda: bytes(file.read(3)), b""))


@given(PIECES, st.integers(-5, 80), st.sampled_from([io.SEEK_SET, io.SEEK_CUR, io.SEEK_END]), st.integers(0, 3))
def test_it_reads_as_a_file_does(pieces: list[bytes], offset: int, whence: int, reads: int) -> None:
    # An empty piece would pass for the end.
    pieces = [piece for piece in pieces if piece]
    joined = b"".join(pieces)
    file = PiecesFile([memoryview(piece) for piece in pieces])
    assert len(file) == len(joined)
    got = b"".join(bytes(file.read(1)) for _ in range(reads))
    assert joined.startswith(got)
    assert file.tell() == len(got)
    base = {io.SEEK_SET: 0, io.SEEK_CUR: len(got), io.SEEK_END: len(joined)}[whence]
    at = min(max(base + offset, 0), len(joined))
    assert file.seek(offset, whence) == file.tell() == at
    assert read_all(file) == joined[at:]
    assert file.tell() == len(joined)
    assert file.read(1) == b""
    # As boto3 does to send again.
    file.seek(0)
    assert bytes(file.read()) == joined
    file.seek(at)
    assert bytes(file.read(-1)) == joined[at:]


def test_small_pieces_go_together_and_large_ones_as_they_are() -> None:
    rng = random.Random(1)
    large = rng.randbytes(1 << 20)
    pieces = [rng.randbytes(rng.choice([0, 16, 100, 5000])) for _ in range(500)]
    data: list[Bytes] = [b"", *pieces[:100], memoryview(large), b"", bytearray(large), *pieces[100:], large, b"", b""]
    body = body_of(data)
    assert isinstance(body, PiecesFile)
    sent = [bytes(piece) for piece in iter(lambda: body.read(16384), b"")]
    assert b"".join(sent) == b"".join(data)
    assert len(sent) < 30
    assert large in sent
    # Nothing is gained where there is little.
    assert body_of([b"a", memoryview(b"b")]) == b"ab"
    assert body_of(large) is large
