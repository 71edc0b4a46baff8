"""A store around another one: the base of those that count, limit or disturb requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from joblog.leader.archive.objects import Data, MultipartUpload, ObjectInfo, ObjectStore, size_of

T = TypeVar("T")


class Request(NamedTuple):
    """One call. operation: put, get, head, list, delete, or start, part, copy, complete, abort of a multipart upload.

    sent_bytes: of objects, as far as it sends any. keys: how many it is about.
    """

    operation: str
    key: str
    sent_bytes: int = 0
    keys: int = 1


class WrappedStore:
    """An ObjectStore that hands every request on; subclasses override around()."""

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner

    def around(self, request: Request, work: Callable[[], T]) -> T:  # noqa: ARG002 - what subclasses look at
        """Does the request by calling `work`."""
        return work()

    @property
    def name(self) -> str:
        return self.inner.name

    def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        return self.around(
            Request("put", key, size_of(data)),
            lambda: self.inner.put(key, data, if_absent=if_absent, if_match=if_match, metadata=metadata),
        )

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        return self.around(Request("get", key), lambda: self.inner.get(key, start, length))

    def head(self, key: str) -> ObjectInfo | None:
        return self.around(Request("head", key), lambda: self.inner.head(key))

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> tuple[list[ObjectInfo], bool]:
        return self.around(Request("list", prefix), lambda: self.inner.list(prefix, after, limit))

    def delete(self, keys: Sequence[str]) -> None:
        if keys:
            self.around(Request("delete", keys[0], keys=len(keys)), lambda: self.inner.delete(keys))

    def keeps_versions(self) -> bool:
        return self.inner.keeps_versions()

    def purge(self, keys: Sequence[str]) -> Mapping[str, int]:
        if not keys or not self.keeps_versions():
            return {}
        return self.around(Request("list", keys[0], keys=len(keys)), lambda: self.inner.purge(keys))

    def start_multipart(self, key: str, metadata: Mapping[str, str] | None = None) -> WrappedUpload:
        inner = self.around(Request("start", key), lambda: self.inner.start_multipart(key, metadata))
        return WrappedUpload(self, inner)

    def drop_uploads(self, older_than_seconds: float) -> int:
        return self.around(Request("abort", ""), lambda: self.inner.drop_uploads(older_than_seconds))

    def set_lifecycle(self, *, live_days: int, upload_days: int) -> bool:
        return self.inner.set_lifecycle(live_days=live_days, upload_days=upload_days)

    def check(self, *, create: bool) -> None:
        self.around(Request("check", ""), lambda: self.inner.check(create=create))

    def close(self) -> None:
        self.inner.close()


class WrappedUpload:
    """A MultipartUpload whose requests go through around() of its store."""

    def __init__(self, store: WrappedStore, inner: MultipartUpload) -> None:
        self._store = store
        self._inner = inner

    @property
    def key(self) -> str:
        return self._inner.key

    def upload(self, number: int, data: Data) -> None:
        self._store.around(Request("part", self.key, size_of(data)), lambda: self._inner.upload(number, data))

    def copy(self, number: int, source_key: str, start: int, length: int) -> None:
        self._store.around(Request("copy", self.key), lambda: self._inner.copy(number, source_key, start, length))

    def complete(self, *, if_absent: bool = False) -> ObjectInfo:
        return self._store.around(Request("complete", self.key), lambda: self._inner.complete(if_absent=if_absent))

    def abort(self) -> None:
        self._store.around(Request("abort", self.key), self._inner.abort)
