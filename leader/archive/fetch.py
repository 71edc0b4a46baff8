"""Extents read back: ranged GETs of what is needed, ahead and in parallel where a read goes on, bounded in memory."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor

from joblog.errors import Corrupt, NotFound, Unavailable
from joblog.leader.archive.cache import KEY_BYTES, RangeCache
from joblog.leader.archive.container import FOOTER_BYTES, LogEntries, read_footer, read_index
from joblog.leader.archive.layout import claim_key
from joblog.leader.archive.objects import ObjectStore
from joblog.leader.buffer.opening import ForeignText
from joblog.v1.archive_pb2 import Extent

DEFAULT_THREADS = 16
# Reads that may wait for the object store at once; those of the buffer never wait for them.
READERS = 16
DEFAULT_AHEAD_BYTES = 128 << 20
# The chunks of all indexes in memory; about 100 bytes each.
_MAX_INDEXED_CHUNKS = 200_000


class ObjectGone(NotFound):
    """An object is not there. It may have been replaced by another since the extents were read. key: the object's."""

    def __init__(self, key: str) -> None:
        super().__init__(f"archive object {key} is gone")
        self.key = key


class ExtentReader:
    """What reads of extents share: requests ahead, the cache, indexes. For any number of threads at once.

    ahead_bytes: what all reads together hold of bytes that were asked for ahead. foreign: gives the text of adopted
    logs, of which the archive only says where it lies.
    """

    def __init__(
        self,
        store: ObjectStore,
        cache: RangeCache,
        *,
        threads: int = DEFAULT_THREADS,
        ahead_bytes: int = DEFAULT_AHEAD_BYTES,
        foreign: ForeignText | None = None,
    ) -> None:
        self.foreign = foreign
        self.store = store
        self.cache = cache
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="archive-read")
        # For those who read: a thread that waits for what is asked for ahead must not be one that asks.
        self.readers = ThreadPoolExecutor(READERS, thread_name_prefix="archive-reader")
        self._lock = threading.Lock()
        self._ahead_left = ahead_bytes
        self._indexes: OrderedDict[tuple[str, int, bytes], LogEntries] = OrderedDict()
        self._indexed_chunks = 0

    def close(self) -> None:
        """Waits for requests that are under way."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.readers.shutdown(wait=True, cancel_futures=True)

    def get(self, key: str, start: int, length: int) -> bytes:
        """A range of an object. Raises ObjectGone, Corrupt; Unavailable where the archive as a whole is not there."""
        try:
            return self.store.get(key, start, length)
        except NotFound:
            if self.store.head(key) is None:
                self._check_archive()
                raise ObjectGone(key) from None
            return self.store.get(key, start, length)

    def _check_archive(self) -> None:
        """Raises Unavailable where there is no bucket or folder, or an empty one, as where a mount is missing."""
        try:
            self.store.check(create=False)
            if self.store.head(claim_key()) is not None or self.store.list("", limit=1)[0]:
                return
        except NotFound as error:
            raise Unavailable(f"the archive is not there: {error}") from None
        raise Unavailable(f"archive {self.store.name} is empty: is it the right one, and is its folder mounted?")

    def get_ahead(self, key: str, start: int, length: int) -> Future[bytes] | None:
        """The same, in another thread; None when too much is under way. Give back the bytes by release_ahead()."""
        with self._lock:
            if self._ahead_left < length:
                return None
            self._ahead_left -= length
        try:
            return self._pool.submit(self.get, key, start, length)
        except RuntimeError:
            self.release_ahead(length)
            return None

    def release_ahead(self, length: int) -> None:
        """The bytes are not held any more."""
        with self._lock:
            self._ahead_left += length

    def entries(self, extent: Extent, uid: bytes) -> LogEntries:
        """The chunks of log `uid` in the extent's object, from its index; kept for some time.

        Raises ObjectGone, Corrupt or WrongVersion.
        """
        place = extent.object, extent.index_position, uid
        with self._lock:
            found = self._indexes.get(place)
            if found is not None:
                self._indexes.move_to_end(place)
                return found
        begin, length = extent.index_position, extent.index_length
        try:
            end = self.get(extent.object, begin, length + FOOTER_BYTES)
            footer = read_footer(end, begin + len(end))
            if (footer.index_position, footer.index_length) != (begin, length):
                raise Corrupt(f"its index is at {footer.index_position}, the catalog has {begin}")
            entries = read_index(end[:length], footer).find(uid)
            if entries is None:
                raise Corrupt("it holds nothing of this log")
        except Corrupt as error:
            raise Corrupt(f"archive object {extent.object}: {error}") from None
        with self._lock:
            self._indexed_chunks += len(entries) if place not in self._indexes else 0
            self._indexes[place] = entries
            while self._indexed_chunks > _MAX_INDEXED_CHUNKS and len(self._indexes) > 1:
                self._indexed_chunks -= len(self._indexes.popitem(last=False)[1])
        return entries


def cache_key(extent: Extent, uid: bytes, position: int) -> bytes:
    """Of the records at `position` of the object; differs from that of an object that had the same key before."""
    place = f"{extent.object}\n{extent.object_bytes} {extent.index_position} {position}\n".encode()
    return hashlib.blake2b(place + uid, digest_size=KEY_BYTES).digest()
