"""A bucket of somebody else's as a source of logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from joblog.errors import Corrupt, Denied, InvalidInput, NotFound
from joblog.leader.archive.foreign import GZIP_SUFFIX, ForeignInfo, unreachable
from joblog.leader.archive.objects import ObjectInfo
from joblog.leader.archive.options import S3Options
from joblog.leader.archive.s3 import S3Store, read_at_most
from joblog.leader.archive.s3_errors import translated
from joblog.leader.buffer.opening import SourceChanged

# What servers give for objects of a bucket that keeps no versions.
_NO_VERSION = "null"


class ForeignBucket:
    """A ForeignSource in a bucket below a prefix ("" or ending in "/")."""

    def __init__(self, bucket: str, prefix: str, options: S3Options) -> None:
        self._store = S3Store(bucket, prefix, options)

    @property
    def url(self) -> str:
        return self._store.name

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> tuple[Sequence[ObjectInfo], bool]:
        try:
            return self._store.list(prefix, after, limit)
        except (Denied, NotFound) as error:
            raise unreachable(self.url, error) from None

    def look(self, key: str) -> ForeignInfo:
        store = self._store
        full = store.full_key(key)
        try:
            with translated(store.where(key), store) as client:
                reply = client.head_object(Bucket=store.bucket, Key=full, **store.customer_fields())
        except NotFound:
            self._check()
            raise
        except Denied as error:
            raise unreachable(f"{self.url}/{key}", error) from None
        version = str(reply.get("VersionId", ""))
        return ForeignInfo(
            key,
            int(reply["ContentLength"]),
            str(reply["ETag"]),
            int(reply["LastModified"].timestamp() * 1e9),
            "" if version == _NO_VERSION else version,
            key.endswith(GZIP_SUFFIX) or reply.get("ContentEncoding") == "gzip",
        )

    def get(self, info: ForeignInfo, start: int, length: int) -> bytes:
        if not length:
            return b""
        where = f"{self.url}/{info.key}"
        try:
            return self._get(info, start, length, where)
        except Denied as error:
            raise unreachable(where, error) from None
        except NotFound:
            self._check()
            raise SourceChanged(f"{where} is not there any more") from None
        except (Corrupt, InvalidInput) as error:
            raise error if isinstance(error, SourceChanged) else SourceChanged(f"{where}: {error}") from None

    def _get(self, info: ForeignInfo, start: int, length: int, where: str) -> bytes:
        store = self._store
        fields: dict[str, Any] = {"Range": f"bytes={start}-{start + length - 1}", **store.customer_fields()}
        if info.version_id:
            fields["VersionId"] = info.version_id
        with translated(store.where(info.key), store) as client:
            reply: Mapping[str, Any] = client.get_object(Bucket=store.bucket, Key=store.full_key(info.key), **fields)
            # Not by If-Match: servers differ in what they make of an etag's quotes.
            if reply.get("ETag") != info.etag:
                reply["Body"].close()
                raise SourceChanged(f"{where} was changed since it was adopted")
            data = read_at_most(reply, length, where)
        if len(data) != length or (start > 0 and not str(reply.get("ContentRange", "")).startswith(f"bytes {start}-")):
            raise SourceChanged(f"{where}: the server gave {len(data)} bytes, not the {length} from {start} on")
        return data

    def _check(self) -> None:
        """A bucket that is not there is no reason to believe that logs are gone."""
        try:
            self._store.check(create=False)
        except (Denied, NotFound) as error:
            raise unreachable(self.url, error) from None

    def close(self) -> None:
        self._store.close()
