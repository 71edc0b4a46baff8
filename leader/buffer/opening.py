"""Opening a log's chunks, wherever they come from: checked against key, header and checksum."""

from __future__ import annotations

from joblog.batch import CODEC_NONE, CODEC_ZSTD, MAX_BATCH_BYTES, open_payload
from joblog.errors import Corrupt, InvalidInput
from joblog.leader.buffer.chunk import ChunkHeader, Sealed
from joblog.leader.crypto.envelope import LogCipher


def open_bytes(cipher: LogCipher, offset: int, header: ChunkHeader, sealed: Sealed) -> bytes:
    """The log's bytes in a data chunk. Raises Corrupt."""
    if not 1 <= header.raw_length <= MAX_BATCH_BYTES or header.codec not in (CODEC_NONE, CODEC_ZSTD):
        raise Corrupt(f"chunk at offset {offset}: its header gives {header.raw_length} bytes in codec {header.codec}")
    plain = cipher.open(header.pack(), offset, sealed)
    try:
        return open_payload(header.codec, plain[header.frames_length :], header.raw_length, header.crc32c)
    except InvalidInput as error:
        raise Corrupt(f"chunk at offset {offset}: {error}") from None
