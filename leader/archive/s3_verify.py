"""What a server says of the bytes that it took, held against those that were sent."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from joblog.errors import Unavailable
from joblog.leader.archive.s3_body import PiecesFile

# In the metadata of an object of parts: which upload it was.
UPLOAD = "joblog-upload"
# An MD5 takes as much CPU as all else together: of larger objects the server has checked SHA-256 or CRC-32C.
_MD5_UP_TO_BYTES = 1 << 20
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_CRC32C_BYTES = 4


def header_of(checksum: str) -> str:
    """A checksum as S3 writes it."""
    return base64.b64encode(bytes.fromhex(checksum.removeprefix("crc32c:"))).decode()


def said_checksum(reply: Mapping[str, Any]) -> str:
    """The checksum of a whole object, or of one part, in a server's reply; "" when it gives none."""
    text = str(reply.get("ChecksumCRC32C", ""))
    # Of an object of parts it may be a checksum of their checksums, which not every server says.
    is_joined = "-" in str(reply.get("ETag", ""))
    if not text or "-" in text or reply.get("ChecksumType", "COMPOSITE" if is_joined else "") == "COMPOSITE":
        return ""
    try:
        value = base64.b64decode(text, validate=True)
    except ValueError:
        return ""
    return f"crc32c:{value.hex()}" if len(value) == _CRC32C_BYTES else ""


def check_said(where: str, reply: Mapping[str, Any], checksum: str) -> None:
    """Raises Unavailable when the server got other bytes than those with `checksum`."""
    said = said_checksum(reply)
    if said and checksum and said != checksum:
        raise Unavailable(f"{where}: the bytes were damaged on their way: the server has {said}, sent were {checksum}")


def check_etag(where: str, reply: Mapping[str, Any], body: bytes | PiecesFile) -> None:
    """Raises Unavailable when the etag is an MD5, and that of other bytes. Where it costs little."""
    found = _MD5.fullmatch(str(reply.get("ETag", "")))
    if not found or isinstance(body, PiecesFile) or len(body) > _MD5_UP_TO_BYTES:
        return
    if found[1] != hashlib.md5(body, usedforsecurity=False).hexdigest():
        raise Unavailable(f"{where}: the server's etag is that of other bytes than were sent")


def check_joined_etag(where: str, etag: str, parts: Sequence[str]) -> None:
    """Raises Unavailable when an object's etag is made of parts' etags, and of others than these."""
    digests = [found[1] for part in parts if (found := _MD5.fullmatch(part))]
    joined, dash, count = etag.strip('"').rpartition("-")
    if not dash or len(digests) != len(parts) or not _MD5.fullmatch(joined):
        return
    expected = hashlib.md5(bytes.fromhex("".join(digests)), usedforsecurity=False).hexdigest()
    if (joined, count) != (expected, str(len(parts))):
        raise Unavailable(f"{where}: the server has put other parts together than were sent")
