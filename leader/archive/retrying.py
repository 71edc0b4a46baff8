"""An object store that tries again what failed in passing, and finds out what became of a write before repeating it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Protocol, TypeVar

from joblog.errors import OutOfSpace, Unavailable
from joblog.leader.archive.objects import (
    Data,
    MultipartUpload,
    ObjectInfo,
    ObjectStore,
    PreconditionFailed,
    checksum_of,
    size_of,
)

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0


def retried(
    work: Callable[[], T],
    retry_seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> T:
    """What `work` gives, which is tried again for so long while it raises Unavailable; then that is raised."""
    until = clock() + retry_seconds
    pause = _FIRST_PAUSE_SECONDS
    for tried in count(1):
        try:
            return work()
        except Unavailable:
            # One that took all the time to fail is tried once more: what became of it is not known yet.
            if clock() + pause > until and (tried > 1 or not retry_seconds):
                raise
        sleep(pause * (0.5 + 0.5 * jitter()))
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    raise AssertionError("it is tried for ever")


class _Retry(Protocol):
    """RetryingStore's way to try something again."""

    def __call__(self, work: Callable[[], T]) -> T: ...


class RetryingStore:
    """Wraps a store. retry_seconds: how long a request is repeated; then its error is raised.

    A write that failed in passing may have happened. So what is there is looked up before it is repeated, and when it
    is what should be written, the write counts as done.
    """

    def __init__(
        self,
        inner: ObjectStore,
        retry_seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._inner = inner
        self._retry_seconds = retry_seconds
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter

    @property
    def name(self) -> str:
        return self._inner.name

    def _retry(self, work: Callable[[], T]) -> T:
        return retried(work, self._retry_seconds, clock=self._clock, sleep=self._sleep, jitter=self._jitter)

    def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        unknown = False

        def put() -> ObjectInfo:
            nonlocal unknown
            if unknown and (found := self._found(key, data, metadata)) is not None:
                return found
            try:
                return self._inner.put(key, data, if_absent=if_absent, if_match=if_match, metadata=metadata)
            except (Unavailable, OutOfSpace):
                unknown = True
                raise
            except PreconditionFailed:
                # The earlier try may have become visible only now.
                if unknown and (found := self._found(key, data, metadata)) is not None:
                    return found
                raise

        return self._retry(put)

    def _found(self, key: str, data: Data, metadata: Mapping[str, str] | None) -> ObjectInfo | None:
        """What is there, when it is just what was to be written."""
        info = self._inner.head(key)
        if info is None or info.size != size_of(data) or dict(info.metadata) != dict(metadata or {}):
            return None
        return info if info.checksum == checksum_of(data) else None

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        return self._retry(lambda: self._inner.get(key, start, length))

    def head(self, key: str) -> ObjectInfo | None:
        return self._retry(lambda: self._inner.head(key))

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> tuple[list[ObjectInfo], bool]:
        return self._retry(lambda: self._inner.list(prefix, after, limit))

    def delete(self, keys: Sequence[str]) -> None:
        self._retry(lambda: self._inner.delete(keys))

    def keeps_versions(self) -> bool:
        return self._retry(self._inner.keeps_versions)

    def purge(self, keys: Sequence[str]) -> Mapping[str, int]:
        return self._retry(lambda: self._inner.purge(keys))

    def start_multipart(self, key: str, metadata: Mapping[str, str] | None = None) -> RetryingUpload:
        return RetryingUpload(self._retry(lambda: self._inner.start_multipart(key, metadata)), self._retry)

    def drop_uploads(self, older_than_seconds: float) -> int:
        return self._retry(lambda: self._inner.drop_uploads(older_than_seconds))

    def set_lifecycle(self, *, live_days: int, upload_days: int) -> bool:
        return self._retry(lambda: self._inner.set_lifecycle(live_days=live_days, upload_days=upload_days))

    def check(self, *, create: bool) -> None:
        self._retry(lambda: self._inner.check(create=create))

    def close(self) -> None:
        self._inner.close()


class RetryingUpload:
    """Wraps an upload: parts may be sent again, and the inner upload looks up what became of its completion."""

    def __init__(self, inner: MultipartUpload, retry: _Retry) -> None:
        self._inner = inner
        self._retry = retry

    @property
    def key(self) -> str:
        return self._inner.key

    def upload(self, number: int, data: Data) -> None:
        self._retry(lambda: self._inner.upload(number, data))

    def copy(self, number: int, source_key: str, start: int, length: int) -> None:
        self._retry(lambda: self._inner.copy(number, source_key, start, length))

    def complete(self, *, if_absent: bool = False) -> ObjectInfo:
        return self._retry(lambda: self._inner.complete(if_absent=if_absent))

    def abort(self) -> None:
        self._inner.abort()
