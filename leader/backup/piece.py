"""A piece as an object: compressed where it pays, sealed, and bound to the id that its content gives.

Layout: docs/format.md, "Piece".
"""

from __future__ import annotations

import hmac
import struct

import zstandard

from joblog.errors import Corrupt, WrongVersion
from joblog.leader.backup.keys import NONCE_BYTES, TAG_BYTES, BackupKeys

MAGIC = b"JLPIECE"
VERSION = 1
MAX_PIECE_BYTES = 64 << 20
CODEC_NONE, CODEC_ZSTD = 1, 2
_HEAD = struct.Struct(">7sBB3xI")
MAX_PACKED_BYTES = _HEAD.size + NONCE_BYTES + MAX_PIECE_BYTES + TAG_BYTES
_DOMAIN = b"joblog backup piece 1"
_SAMPLE_BYTES = 64 << 10
_LEVEL = 3
# Chunks are sealed and do not shrink; that shows at once.
_WORTH = 0.9


def pack_piece(keys: BackupKeys, piece_id: bytes, data: bytes | bytearray | memoryview) -> list[bytes | bytearray]:
    """The object, in parts, for a piece whose id is keys.name(data)."""
    view = memoryview(data)
    codec, packed = CODEC_NONE, data
    if view.nbytes and _pays(view):
        smaller = zstandard.ZstdCompressor(level=_LEVEL).compress(view)
        if len(smaller) < view.nbytes * _WORTH:
            codec, packed = CODEC_ZSTD, smaller
    head = _HEAD.pack(MAGIC, VERSION, codec, view.nbytes)
    nonce, sealed = keys.seal_piece(packed, _DOMAIN + piece_id + head)
    return [head + nonce, sealed]


def _pays(view: memoryview) -> bool:
    sample = view[:_SAMPLE_BYTES]
    return len(zstandard.ZstdCompressor(level=1).compress(sample)) < sample.nbytes * _WORTH


def unpack_piece(keys: BackupKeys, piece_id: bytes, packed: bytes) -> bytes | bytearray:
    """The piece in an object. Raises Corrupt, also when it is another piece than `piece_id`, WrongVersion."""
    if len(packed) < _HEAD.size + NONCE_BYTES:
        raise Corrupt("it is cut short")
    magic, version, codec, length = _HEAD.unpack_from(packed)
    if magic != MAGIC:
        raise Corrupt("it is no piece of a backup")
    if version != VERSION:
        raise WrongVersion(
            f"it has version {version}; this joblog knows version {VERSION}: use the joblog that wrote it"
        )
    if codec not in (CODEC_NONE, CODEC_ZSTD) or length > MAX_PIECE_BYTES:
        raise Corrupt(f"its head says {length} bytes in codec {codec}")
    at = _HEAD.size + NONCE_BYTES
    bound = _DOMAIN + piece_id + packed[: _HEAD.size]
    data: bytes | bytearray = keys.open_piece(packed[_HEAD.size : at], memoryview(packed)[at:], bound)
    if codec == CODEC_ZSTD:
        try:
            data = zstandard.ZstdDecompressor().decompress(data, max_output_size=length)
        except zstandard.ZstdError as error:
            raise Corrupt(f"it does not inflate: {error}") from None
    if len(data) != length or not hmac.compare_digest(keys.name(data), piece_id):
        raise Corrupt("it holds other bytes than its name says")
    return data
