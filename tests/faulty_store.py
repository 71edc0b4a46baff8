"""An object store that fails as S3 does: by a plan that a seed makes, or as a test says."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from joblog.errors import Denied, NotFound, Unavailable
from joblog.leader.archive.objects import Data, MultipartUpload, ObjectInfo, ObjectStore

T = TypeVar("T")

_WRITES = frozenset({"put", "delete", "part", "copy", "complete", "start"})


@dataclass(frozen=True, slots=True)
class Faults:
    """How likely each fault is with each request, 0 to 1.

    before: it never got there. after: it was done, and the answer is lost. truncated: a body ends early and the
    connection with it. damaged: a body has another byte, and nobody on the way notices. denied: 403. slow_seconds: what
    each request takes at most. keys: they befall only requests for keys that end like this.
    """

    before: float = 0.0
    after: float = 0.0
    truncated: float = 0.0
    damaged: float = 0.0
    denied: float = 0.0
    slow_seconds: float = 0.0
    keys: str = ""


NO_FAULTS = Faults()
STORM = Faults(before=0.9)


class FaultyStore:
    """Wraps a store. `faults` may be set at any time; `gone`: the bucket is not there; `down`: nothing answers.

    Counts requests by what they are in `requests`, and faults in `hit`.
    """

    def __init__(self, inner: ObjectStore, seed: int = 0) -> None:
        self.inner = inner
        self.faults = NO_FAULTS
        self.gone = False
        self.down = False
        self.requests: Counter[str] = Counter()
        self.hit: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        # Also those of which nobody was told; the server drops them some day.
        self._uploads: list[MultipartUpload] = []

    @property
    def name(self) -> str:
        return self.inner.name

    def request(self, what: str, key: str, work: Callable[[], T]) -> T:
        """One request, with whatever befalls it."""
        with self._lock:
            self.requests[what] += 1
            faults = self.faults
            chance, pause = self._random.random(), self._random.random() * faults.slow_seconds
        if pause:
            time.sleep(pause)
        if self.down:
            raise self._fault("down", Unavailable(f"{key}: no answer: EndpointConnectionError"))
        if self.gone:
            raise self._fault("gone", NotFound(f"{key}: NoSuchBucket: there is no such object, upload or bucket"))
        if not key.endswith(faults.keys):
            return work()
        if chance < faults.before:
            raise self._fault("before", Unavailable(f"{key}: SlowDown: the store can't take it now"))
        chance -= faults.before
        if chance < faults.denied:
            raise self._fault("denied", Denied(f"{key}: AccessDenied: these credentials do not allow {what}"))
        chance -= faults.denied
        done = work()
        if chance < faults.after and what in _WRITES:
            raise self._fault("after", Unavailable(f"{key}: no answer: ReadTimeoutError"))
        return self._body(done, key, chance) if what == "get" else done

    def _body(self, data: Any, key: str, chance: float) -> Any:
        if not data:
            return data
        if chance < self.faults.truncated:
            raise self._fault("truncated", Unavailable(f"{key}: no answer: IncompleteReadError"))
        if chance - self.faults.truncated < self.faults.damaged:
            self._fault("damaged", Unavailable())
            wrong = bytearray(data)
            wrong[len(wrong) // 2] ^= 0x10
            return bytes(wrong)
        return data

    def _fault(self, what: str, error: Exception) -> Exception:
        with self._lock:
            self.hit[what] += 1
        return error

    def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        return self.request(
            "put", key, lambda: self.inner.put(key, data, if_absent=if_absent, if_match=if_match, metadata=metadata)
        )

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        return self.request("get", key, lambda: self.inner.get(key, start, length))

    def head(self, key: str) -> ObjectInfo | None:
        if self.gone:
            # A head can't tell a missing bucket from a missing object.
            return None
        return self.request("head", key, lambda: self.inner.head(key))

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> tuple[list[ObjectInfo], bool]:
        return self.request("list", prefix, lambda: self.inner.list(prefix, after, limit))

    def delete(self, keys: Sequence[str]) -> None:
        self.request("delete", ", ".join(keys)[:80], lambda: self.inner.delete(keys))

    def keeps_versions(self) -> bool:
        return self.inner.keeps_versions()

    def purge(self, keys: Sequence[str]) -> Mapping[str, int]:
        return self.request("purge", ", ".join(keys)[:80], lambda: self.inner.purge(keys))

    def start_multipart(self, key: str, metadata: Mapping[str, str] | None = None) -> MultipartUpload:
        def start() -> MultipartUpload:
            upload = self.inner.start_multipart(key, metadata)
            self._uploads.append(upload)
            return upload

        return _FaultyUpload(self, self.request("start", key, start))

    def drop_uploads(self, older_than_seconds: float) -> int:
        return self.request("drop", "", lambda: self.inner.drop_uploads(older_than_seconds))

    def set_lifecycle(self, *, live_days: int, upload_days: int) -> bool:
        return self.inner.set_lifecycle(live_days=live_days, upload_days=upload_days)

    def check(self, *, create: bool) -> None:
        self.request("check", "", lambda: self.inner.check(create=create))

    def close(self) -> None:
        for upload in self._uploads:
            upload.abort()
        self.inner.close()


class _FaultyUpload:
    def __init__(self, store: FaultyStore, upload: MultipartUpload) -> None:
        self._store = store
        self._upload = upload

    @property
    def key(self) -> str:
        return self._upload.key

    def upload(self, number: int, data: Data) -> None:
        self._store.request("part", self.key, lambda: self._upload.upload(number, data))

    def copy(self, number: int, source_key: str, start: int, length: int) -> None:
        self._store.request("copy", self.key, lambda: self._upload.copy(number, source_key, start, length))

    def complete(self, *, if_absent: bool = False) -> ObjectInfo:
        return self._store.request("complete", self.key, lambda: self._upload.complete(if_absent=if_absent))

    def abort(self) -> None:
        self._store.request("abort", self.key, self._upload.abort)
