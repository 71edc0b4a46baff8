"""Putting objects: announced in the store before, verified after, so that none is ever lost sight of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from joblog.errors import Corrupt, Unavailable
from joblog.leader.archive.objects import (
    MIN_PART_BYTES,
    Bytes,
    MultipartUpload,
    ObjectInfo,
    ObjectStore,
    PreconditionFailed,
    size_of,
)
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import Store

# More of one object at once only takes memory.
PARTS_AT_ONCE = 4


class Putter:
    """Writes the archiver's objects. Thread-safe.

    multipart_bytes: larger objects go in parts of that size, some at once.
    """

    def __init__(self, store: Store, objects: ObjectStore, *, multipart_bytes: int) -> None:
        self.objects = objects
        self.part_bytes = max(multipart_bytes, MIN_PART_BYTES)
        self._store = store
        self._pool = ThreadPoolExecutor(PARTS_AT_ONCE, thread_name_prefix="archive-part")

    def close(self) -> None:
        """Waits for what is under way."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def announce(self, keys: Iterable[str]) -> None:
        """Notes durably that these objects may be there soon: unless they come into use they will be deleted."""
        changes = Changes()
        changes.announce_objects(keys)
        self._store.write(changes)

    def put_new(self, key: str, pieces: Sequence[Bytes], metadata: Mapping[str, str] | None = None) -> ObjectInfo:
        """Puts an object under a key that was never used. Raises PreconditionFailed when there is one."""
        if size_of(pieces) <= self.part_bytes:
            return _verified(self.objects.put(key, pieces, if_absent=True, metadata=metadata), size_of(pieces))
        upload = self.objects.start_multipart(key, metadata)
        try:
            self.send_parts(upload, cut(pieces, self.part_bytes))
            return self.complete(upload, size_of(pieces))
        except BaseException:
            upload.abort()
            raise

    def put_over(
        self, key: str, data: Bytes | Sequence[Bytes], metadata: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        """Puts an object under a key of which an earlier try may have left one, which it then replaces."""
        try:
            return _verified(self.objects.put(key, data, if_absent=True, metadata=metadata), size_of(data))
        except PreconditionFailed:
            there = self.objects.head(key)
            if there is None:
                raise Unavailable(f"archive object {key} is there, and is not: try again") from None
            put = self.objects.put(key, data, if_match=there.etag, metadata=metadata)
            return _verified(put, size_of(data))

    def submit(self, work: Callable[..., None], *arguments: object) -> Future[None]:
        """Sends one part beside others."""
        return self._pool.submit(work, *arguments)

    @staticmethod
    def complete(upload: MultipartUpload, size: int) -> ObjectInfo:
        """Makes an object of `size` bytes appear of its parts."""
        return _verified(upload.complete(if_absent=True), size)

    def send_parts(self, upload: MultipartUpload, parts: Iterable[Sequence[Bytes]]) -> None:
        """Sends parts, numbered from 1, some at once."""
        under_way = []
        try:
            for number, part in enumerate(parts, 1):
                under_way.append(self._pool.submit(upload.upload, number, part))
                if len(under_way) >= PARTS_AT_ONCE:
                    under_way.pop(0).result()
        finally:
            # All of them, also when one failed: an upload is not aborted under parts that are still coming.
            failures = [failure for one in under_way if (failure := one.exception()) is not None]
        if failures:
            raise failures[0]


def cut(pieces: Iterable[Bytes], part_bytes: int) -> Iterator[list[Bytes]]:
    """The pieces in lists of exactly part_bytes each; the last is what is left."""
    part: list[Bytes] = []
    size = 0
    for piece in pieces:
        view = memoryview(piece)
        while size + view.nbytes >= part_bytes:
            part.append(view[: part_bytes - size])
            yield part
            view = view[part_bytes - size :]
            part, size = [], 0
        if view.nbytes:
            part.append(view)
            size += view.nbytes
    if part:
        yield part


def _verified(info: ObjectInfo, size: int) -> ObjectInfo:
    """The store has held the bytes against their checksum; this is the last look before others rely on it."""
    if info.size != size:
        raise Corrupt(f"archive object {info.key} has {info.size} bytes, {size} were put")
    return info
