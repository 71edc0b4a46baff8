"""Opening a log's chunks, wherever they come from: checked against key, header and checksum."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from joblog.batch import CODEC_NONE, CODEC_ZSTD, MAX_BATCH_BYTES, open_payload
from joblog.errors import Corrupt, InvalidInput, Unavailable
from joblog.leader.buffer.chunk import ChunkHeader, Sealed
from joblog.leader.crypto.envelope import LogCipher

# The payload says where the bytes lie (ForeignRange in archive.proto). No worker can send it.
CODEC_FOREIGN = 3
_CODECS = frozenset({CODEC_NONE, CODEC_ZSTD, CODEC_FOREIGN})


class SourceChanged(Corrupt):
    """The foreign object with an adopted log's text is not what was adopted, or is gone."""


class SourceUnreachable(Unavailable):
    """The foreign object with an adopted log's text can't be read now, or not as the leader is set up."""


class ForeignText(Protocol):
    """Gives the text of adopted logs, which lies in objects that are not joblog's own."""

    def text(self, place: bytes, length: int, crc32c: int) -> bytes:
        """The `length` bytes at `place`, a serialized ForeignRange, which must have this CRC-32C.

        Raises SourceChanged, SourceUnreachable, Corrupt when `place` is none.
        """
        ...


class Plain(NamedTuple):
    """A data chunk in clear: its packed frames, and the log's bytes."""

    frames: bytes
    raw: bytes


def open_data(
    cipher: LogCipher, offset: int, header: ChunkHeader, sealed: Sealed, foreign: ForeignText | None = None
) -> Plain:
    """A data chunk in clear, checked against its header. foreign: gives the bytes of an adopted log.

    Raises Corrupt, InvalidInput, and of an adopted log what ForeignText raises.
    """
    if not 1 <= header.raw_length <= MAX_BATCH_BYTES or header.codec not in _CODECS:
        raise Corrupt(f"chunk at offset {offset}: its header gives {header.raw_length} bytes in codec {header.codec}")
    plain = memoryview(cipher.open(header.pack(), offset, sealed))
    packed, payload = bytes(plain[: header.frames_length]), bytes(plain[header.frames_length :])
    if header.codec != CODEC_FOREIGN:
        return Plain(packed, open_payload(header.codec, payload, header.raw_length, header.crc32c))
    if foreign is None:
        raise Corrupt(f"chunk at offset {offset}: the log was adopted, and nothing here reads its text where it lies")
    return Plain(packed, foreign.text(payload, header.raw_length, header.crc32c))


def open_bytes(
    cipher: LogCipher, offset: int, header: ChunkHeader, sealed: Sealed, foreign: ForeignText | None = None
) -> bytes:
    """The log's bytes in a data chunk. Raises Corrupt, and of an adopted log what ForeignText raises."""
    try:
        return open_data(cipher, offset, header, sealed, foreign).raw
    except InvalidInput as error:
        raise Corrupt(f"chunk at offset {offset}: {error}") from None
