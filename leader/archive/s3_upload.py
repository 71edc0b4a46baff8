"""An object of a bucket that is put together of parts."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from joblog.errors import Corrupt, InvalidInput, NotFound, Unavailable
from joblog.leader.archive.crc import combine_crc32c
from joblog.leader.archive.objects import (
    MAX_PARTS,
    Data,
    ObjectInfo,
    PreconditionFailed,
    checksum_of,
    checksum_text,
)
from joblog.leader.archive.s3_body import body_of
from joblog.leader.archive.s3_errors import translated
from joblog.leader.archive.s3_verify import UPLOAD, check_etag, check_joined_etag, check_said, header_of, said_checksum

if TYPE_CHECKING:
    from joblog.leader.archive.s3 import S3Store


class _Part(NamedTuple):
    """crc32c: -1 when it is not known, as of a part that was copied at the server."""

    etag: str
    size: int
    crc32c: int


class S3Upload:
    """A MultipartUpload. What goes with a part and what is checked of it is as with an object."""

    def __init__(self, store: S3Store, key: str, metadata: Mapping[str, str]) -> None:
        self._store = store
        self._key = key
        self._full = store.full_key(key)
        self._lock = threading.Lock()
        self._parts: dict[int, _Part] = {}
        # Tells its object from any other one that may come to lie under the key.
        self._token = secrets.token_hex(8)
        # Completing it was asked for, and how that ended is not known.
        self._is_unknown = False
        with translated(store.where(key), store):
            reply = store.client.create_multipart_upload(
                Bucket=store.bucket,
                Key=self._full,
                Metadata={**metadata, UPLOAD: self._token},
                ChecksumAlgorithm="CRC32C",
                ChecksumType="FULL_OBJECT",
                **store.write_fields(key),
            )
        self._id: str = reply["UploadId"]
        self._is_open = True

    @property
    def key(self) -> str:
        return self._key

    def upload(self, number: int, data: Data) -> None:
        self._check(number)
        body, checksum = body_of(data), checksum_of(data)
        where = f"{self._store.where(self._key)}, part {number}"
        with translated(self._store.where(self._key), self._store):
            reply = self._store.client.upload_part(
                Bucket=self._store.bucket,
                Key=self._full,
                UploadId=self._id,
                PartNumber=number,
                Body=body,
                ChecksumAlgorithm="CRC32C",
                ChecksumCRC32C=header_of(checksum),
                **self._store.customer_fields(),
            )
        check_said(where, reply, checksum)
        if self._store.is_plain:
            check_etag(where, reply, body)
        with self._lock:
            self._parts[number] = _Part(reply["ETag"], len(body), _number(checksum))

    def copy(self, number: int, source_key: str, start: int, length: int) -> None:
        self._check(number)
        source = self._store.head(source_key)
        if source is None:
            raise NotFound(f"{self._store.where(source_key)}: there is no such object")
        if start < 0 or length < 1 or start + length > source.size:
            raise Corrupt(f"{self._store.where(source_key)} ends before {start + length}, the end of what is copied")
        with translated(self._store.where(self._key), self._store):
            reply = self._store.client.upload_part_copy(
                Bucket=self._store.bucket,
                Key=self._full,
                UploadId=self._id,
                PartNumber=number,
                CopySource={"Bucket": self._store.bucket, "Key": self._store.full_key(source_key)},
                CopySourceRange=f"bytes={start}-{start + length - 1}",
                **self._store.customer_fields(),
                **self._store.customer_fields("CopySourceSSECustomer"),
            )
        result = reply.get("CopyPartResult", {})
        etag = result.get("ETag", "")
        if not etag:
            raise Unavailable(f"{self._store.where(self._key)}: the store does not say that it has copied a part")
        with self._lock:
            self._parts[number] = _Part(etag, length, _number(said_checksum(result)))

    def complete(self, *, if_absent: bool = False) -> ObjectInfo:
        with self._lock:
            parts = [(number, part) for number, part in sorted(self._parts.items())]
        if not parts or [number for number, _ in parts] != list(range(1, len(parts) + 1)):
            raise InvalidInput(f"{self._key}: a part is missing")
        size, checksum = _joined([part for _, part in parts])
        etags = [part.etag for _, part in parts]
        # Not every server looks at If-None-Match here.
        found = self._store.seen(self._key) if self._is_unknown or if_absent else None
        if self._is_unknown and self._is_mine(found, size, checksum):
            return self._verified({}, etags, size, checksum)
        if if_absent and found is not None:
            raise PreconditionFailed(f"{self._store.where(self._key)} is there already")
        try:
            reply = self._complete(parts, size, checksum, if_absent=if_absent)
        except (NotFound, PreconditionFailed, InvalidInput):
            # The upload is gone because the earlier call came through meanwhile?
            if not (self._is_unknown and self._is_mine(self._store.seen(self._key), size, checksum)):
                raise
            reply = {}
        except Unavailable:
            self._is_unknown = True
            raise
        self._is_unknown = True
        return self._verified(reply, etags, size, checksum)

    def _complete(
        self, parts: Sequence[tuple[int, _Part]], size: int, checksum: str, *, if_absent: bool
    ) -> Mapping[str, Any]:
        whole = {"ChecksumCRC32C": header_of(checksum), "ChecksumType": "FULL_OBJECT"} if checksum else {}
        with translated(self._store.where(self._key), self._store) as client:
            reply: Mapping[str, Any] = client.complete_multipart_upload(
                Bucket=self._store.bucket,
                Key=self._full,
                UploadId=self._id,
                MultipartUpload={"Parts": [{"PartNumber": number, "ETag": part.etag} for number, part in parts]},
                MpuObjectSize=size,
                **whole,
                **({"IfNoneMatch": "*"} if if_absent else {}),
                **self._store.customer_fields(),
            )
        return reply

    def _is_mine(self, found: tuple[ObjectInfo, str] | None, size: int, checksum: str) -> bool:
        """Whether the object that was seen is this upload's."""
        if found is None or found[0].size != size:
            return False
        info, token = found
        # A server that keeps no metadata of uploads can only be asked for the bytes.
        return token == self._token if token else bool(checksum) and info.checksum == checksum

    def _verified(self, reply: Mapping[str, Any], etags: Sequence[str], size: int, checksum: str) -> ObjectInfo:
        where = self._store.where(self._key)
        info = self._store.head(self._key)
        if info is None:
            raise Unavailable(f"{where}: the store does not show what it has just put together")
        if info.size != size:
            raise Corrupt(f"{where}: the store has put {info.size} bytes together from parts of {size}")
        # Some servers give none here.
        etag = str(reply.get("ETag", "")).strip('"')
        if etag and etag != info.etag.strip('"'):
            raise Unavailable(f"{where}: the store shows another object than the one it has just put together")
        if self._store.is_plain:
            check_joined_etag(where, info.etag, etags)
        if info.checksum and checksum and info.checksum != checksum:
            raise Corrupt(f"{where}: the store has {info.checksum}, the parts together have {checksum}")
        self._store.lock(self._key)
        self._is_open = False
        return info._replace(checksum=info.checksum or checksum)

    def abort(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        with suppress(NotFound), translated(self._store.where(self._key), self._store):
            self._store.client.abort_multipart_upload(Bucket=self._store.bucket, Key=self._full, UploadId=self._id)

    def _check(self, number: int) -> None:
        if not self._is_open:
            raise InvalidInput(f"{self._key}: the upload is over")
        if not 1 <= number <= MAX_PARTS:
            raise InvalidInput(f"{self._key}: part {number} is not one of 1 to {MAX_PARTS}")


def _number(checksum: str) -> int:
    return int(checksum.removeprefix("crc32c:"), 16) if checksum else -1


def _joined(parts: Sequence[_Part]) -> tuple[int, str]:
    """Size and checksum of the whole; no checksum when that of a part is not known."""
    size = crc32c = 0
    is_known = True
    for part in parts:
        size += part.size
        is_known = is_known and part.crc32c >= 0
        crc32c = combine_crc32c(crc32c, part.crc32c, part.size) if is_known else 0
    return size, checksum_text(crc32c) if is_known else ""
