"""Rosters: identities and wrapped keys of live logs, in the bucket before any of their chunks count as archived.

Layout: docs/format.md, "Roster". With rosters and the KMS a leader that lost its disk knows its live logs again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import zstandard

from joblog.errors import Corrupt, WrongVersion
from joblog.leader.archive.metadata import MAX_METADATA_BYTES, Metadata, parse_metadata

MAGIC = b"JLROST1\n"
MAX_ROSTER_BYTES = 1 << 30
_LENGTH_BYTES = 4
_SHA256_BYTES = 32
_LEVEL = 3


def pack_roster(documents: Iterable[bytes]) -> bytes:
    """The roster that holds these metadata documents (joblog.leader.archive.metadata)."""
    raw = b"".join(len(document).to_bytes(_LENGTH_BYTES, "big") + document for document in documents)
    body = MAGIC + zstandard.ZstdCompressor(level=_LEVEL).compress(raw)
    return body + hashlib.sha256(body).digest()


def parse_roster(data: bytes) -> Iterator[Metadata]:
    """What a roster says of each log. Raises Corrupt or WrongVersion; a damaged roster as a whole, before the first."""
    if data[: len(MAGIC)] != MAGIC:
        if data[:6] == MAGIC[:6]:
            raise WrongVersion(f"roster begins with {data[:8]!r}: this joblog knows {MAGIC!r}; use a newer joblog")
        raise Corrupt(f"roster begins with {data[:8]!r}, not with {MAGIC!r}: it is none of joblog's")
    body, digest = data[:-_SHA256_BYTES], data[-_SHA256_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise Corrupt(f"roster of {len(data)} bytes: it is damaged or cut short")
    try:
        size = zstandard.frame_content_size(body[len(MAGIC) :])
        if not 0 <= size <= MAX_ROSTER_BYTES:
            raise Corrupt(f"roster: inflates to {size} bytes, at most {MAX_ROSTER_BYTES} are allowed")
        raw = zstandard.ZstdDecompressor().decompress(body[len(MAGIC) :])
    except zstandard.ZstdError as error:
        raise Corrupt(f"roster: does not inflate: {error}") from None
    at = 0
    while at < len(raw):
        length = int.from_bytes(raw[at : at + _LENGTH_BYTES], "big")
        at += _LENGTH_BYTES
        if length > MAX_METADATA_BYTES or at + length > len(raw):
            raise Corrupt(f"roster: a document says {length} bytes, {len(raw) - at} are left")
        yield parse_metadata(raw[at : at + length])
        at += length
