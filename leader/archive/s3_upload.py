"""An object of a bucket that is put together of parts."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from joblog.errors import Corrupt, InvalidInput, NotFound, Unavailable
from joblog.leader.archive.objects import MAX_PARTS, Data, ObjectInfo, PreconditionFailed, pieces_of
from joblog.leader.archive.s3_errors import translated

if TYPE_CHECKING:
    from joblog.leader.archive.s3 import S3Store


class _Part(NamedTuple):
    etag: str
    size: int


class S3Upload:
    """A MultipartUpload. The server holds an MD5 against each part that comes from here."""

    def __init__(self, store: S3Store, key: str, metadata: Mapping[str, str]) -> None:
        self._store = store
        self._key = key
        self._full = store.full_key(key)
        self._lock = threading.Lock()
        self._parts: dict[int, _Part] = {}
        with translated(store.where(key)):
            reply = store.client.create_multipart_upload(
                Bucket=store.bucket, Key=self._full, Metadata=dict(metadata), **store.write_fields(key)
            )
        self._id: str = reply["UploadId"]
        self._is_open = True

    @property
    def key(self) -> str:
        return self._key

    def upload(self, number: int, data: Data) -> None:
        self._check(number)
        body = b"".join(pieces_of(data)) if not isinstance(data, bytes) else data
        with translated(self._store.where(self._key)):
            reply = self._store.client.upload_part(
                Bucket=self._store.bucket,
                Key=self._full,
                UploadId=self._id,
                PartNumber=number,
                Body=body,
                ContentMD5=base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode(),
                **self._store.customer_fields(),
            )
        with self._lock:
            self._parts[number] = _Part(reply["ETag"], len(body))

    def copy(self, number: int, source_key: str, start: int, length: int) -> None:
        self._check(number)
        source = self._store.head(source_key)
        if source is None:
            raise NotFound(f"{self._store.where(source_key)}: there is no such object")
        if start < 0 or length < 1 or start + length > source.size:
            raise Corrupt(f"{self._store.where(source_key)} ends before {start + length}, the end of what is copied")
        with translated(self._store.where(self._key)):
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
        etag = reply.get("CopyPartResult", {}).get("ETag", "")
        if not etag:
            raise Unavailable(f"{self._store.where(self._key)}: the store does not say that it has copied a part")
        with self._lock:
            self._parts[number] = _Part(etag, length)

    def complete(self, *, if_absent: bool = False) -> ObjectInfo:
        with self._lock:
            parts = [(number, part) for number, part in sorted(self._parts.items())]
        if not parts or [number for number, _ in parts] != list(range(1, len(parts) + 1)):
            raise InvalidInput(f"{self._key}: a part is missing")
        if if_absent and self._store.head(self._key) is not None:
            # Not every server looks at If-None-Match here.
            raise PreconditionFailed(f"{self._store.where(self._key)} is there already")
        with translated(self._store.where(self._key)):
            self._store.client.complete_multipart_upload(
                Bucket=self._store.bucket,
                Key=self._full,
                UploadId=self._id,
                MultipartUpload={"Parts": [{"PartNumber": number, "ETag": part.etag} for number, part in parts]},
                **({"IfNoneMatch": "*"} if if_absent else {}),
                **self._store.customer_fields(),
            )
        self._is_open = False
        info = self._store.head(self._key)
        size = sum(part.size for _, part in parts)
        if info is None or info.size != size:
            raise Corrupt(f"{self._store.where(self._key)}: the store has not put the parts together: {size} bytes")
        return info

    def abort(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        with suppress(NotFound), translated(self._store.where(self._key)):
            self._store.client.abort_multipart_upload(Bucket=self._store.bucket, Key=self._full, UploadId=self._id)

    def _check(self, number: int) -> None:
        if not self._is_open:
            raise InvalidInput(f"{self._key}: the upload is over")
        if not 1 <= number <= MAX_PARTS:
            raise InvalidInput(f"{self._key}: part {number} is not one of 1 to {MAX_PARTS}")
