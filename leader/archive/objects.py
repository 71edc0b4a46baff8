"""What the archive needs of an object store, and no more.

Keys are relative to the store's prefix: parts joined by "/", none of them empty or starting with ".". Every method may
be called from many threads at once, and blocks. What a write did is certain only when it returns or raises something
permanent: after Unavailable or OutOfSpace the object may be there, now or a little later.

Errors of all implementations: NotFound (no such object), PreconditionFailed, Denied, Corrupt (bytes are not what was
put, or not there), InvalidInput (a key or an argument), OutOfSpace, Unavailable. Messages name store and key, never
credentials.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from google_crc32c import extend

from joblog.errors import Conflict, Corrupt, InvalidInput

Bytes = bytes | bytearray | memoryview
Data = Bytes | Sequence[Bytes]

MIN_PART_BYTES = 5 << 20
MAX_PARTS = 10_000
MAX_KEY_BYTES = 1024
MAX_DELETES = 1000
_MAX_PART_OF_KEY_BYTES = 255
_WALK_PAGE = 10_000


class PreconditionFailed(Conflict):
    """A conditional write was refused: the object is there already, or is not the one that was expected."""


class ObjectInfo(NamedTuple):
    """What a store says about an object.

    etag: opaque; changes with every write. checksum: "crc32c:<8 hex digits>" of all its bytes, or "" when the store
    does not know it. metadata: what was put with it. In a listing both may be left out, and a folder on a file system
    without extended attributes keeps neither.
    """

    key: str
    size: int
    etag: str
    checksum: str = ""
    modified_ns: int = 0
    metadata: Mapping[str, str] = {}


class MultipartUpload(Protocol):
    """An object put together of parts; invisible until complete(). Parts may come from many threads, in any order.

    Part numbers count from 1 without holes. Every part but the last has at least MIN_PART_BYTES; there are at most
    MAX_PARTS. A part that failed may be sent again under its number.
    """

    @property
    def key(self) -> str:
        """Where the object will be."""
        ...

    def upload(self, number: int, data: Data) -> None:
        """Sends a part."""
        ...

    def copy(self, number: int, source_key: str, start: int, length: int) -> None:
        """Takes a part from an object of the same store, without its bytes coming here. Raises NotFound, Corrupt."""
        ...

    def complete(self, *, if_absent: bool = False) -> ObjectInfo:
        """Makes the object appear, whole and verified.

        if_absent: raises PreconditionFailed when there is one already. Some servers can't do this in one step; an
        object that appears at the very same moment is then replaced. After Unavailable it may be called again: it looks
        up whether this upload has become the object, and then returns as the first call would have. Raises NotFound
        when the upload is gone and has not: its parts have to be sent anew.
        """
        ...

    def abort(self) -> None:
        """Drops what was sent; nothing happens when it is completed or aborted already."""
        ...


class ObjectStore(Protocol):
    """A flat store of immutable objects with conditional writes. Every implementation passes one test suite."""

    @property
    def name(self) -> str:
        """What it is called in messages: its URL, without secrets."""
        ...

    def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        """Writes an object whole, or not at all; returns once it is durable and verified.

        if_absent: only when there is none. if_match: only when the present one has that etag. Else PreconditionFailed.
        metadata: short ASCII values under lower-case names.
        """
        ...

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object: `length` from `start`, or all from there. A negative start counts from the end.

        A read from the end gives the whole object when that is shorter. Any other range must lie within the object:
        raises Corrupt when it ends earlier. A read of the whole object is held against its checksum.
        """
        ...

    def head(self, key: str) -> ObjectInfo | None:
        """What is known about an object; None when there is none."""
        ...

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> tuple[list[ObjectInfo], bool]:
        """Objects whose key starts with `prefix` and is greater than `after`, in the order of the keys' bytes.

        At most `limit`, or fewer at the store's choice, but at least one if there is one; and whether there are more.
        prefix: "" or the start of a key.
        """
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Deletes objects, in batches; those that are not there are fine. Some may be gone when it raises."""
        ...

    def keeps_versions(self) -> bool:
        """Whether what was deleted or written over stays as an older version. Asks the store, once."""
        ...

    def purge(self, keys: Sequence[str]) -> Mapping[str, int]:
        """Deletes all versions of objects that were deleted, in batches.

        Gives those of which versions are left, as a lock or a denial keeps them: until when, in ns, or for how long it
        is of no use to ask again. Does nothing where versions are not kept. Raises Unavailable for what failed in
        passing; it may be asked again.
        """
        ...

    def start_multipart(self, key: str, metadata: Mapping[str, str] | None = None) -> MultipartUpload:
        """Begins an object that is put together of parts."""
        ...

    def drop_uploads(self, older_than_seconds: float) -> int:
        """Drops what was sent of objects that were begun so long ago and never completed; returns how many."""
        ...

    def set_lifecycle(self, *, live_days: int, upload_days: int) -> bool:
        """Has the store itself delete unfinished uploads after so many days; 0: never. Rules that others made stay.

        live_days: the same for old versions of objects below _live/ that were deleted, where the bucket keeps versions;
        what is there now never goes by its age. Returns False when the store has no such thing.
        """
        ...

    def check(self, *, create: bool) -> None:
        """Raises unless the bucket or folder is there and can be used: NotFound, Denied, Unavailable.

        create: it is made when it is missing.
        """
        ...

    def close(self) -> None:
        """Ends connections; the store is not used afterwards."""
        ...


def walk(store: ObjectStore, prefix: str, after: str = "") -> Iterator[ObjectInfo]:
    """All objects below `prefix`, in the order of their keys, page by page."""
    more = True
    while more:
        page, more = store.list(prefix, after, _WALK_PAGE)
        yield from page
        if page:
            after = page[-1].key


def check_key(key: str) -> str:
    """Returns `key` when it is the key of an object; raises InvalidInput."""
    problem = _problem(key)
    if problem:
        raise InvalidInput(f"{key[:200]!r} is not a key of an object: {problem}")
    return key


def check_prefix(prefix: str) -> str:
    """Returns `prefix` when keys may start with it: "", or the start of a key; raises InvalidInput."""
    if prefix:
        check_key(prefix + "x" if prefix.endswith("/") else prefix)
    return prefix


def _problem(key: str) -> str:
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "it is not Unicode text"
    if not 0 < size <= MAX_KEY_BYTES:
        return f"it has {size} bytes, not 1 to {MAX_KEY_BYTES}"
    if not key.isprintable() or "\\" in key:
        return "it has characters that do not print, or a backslash"
    for part in key.split("/"):
        if not part or part.startswith("."):
            return 'a part between "/" is empty or starts with "."'
        if len(part.encode()) > _MAX_PART_OF_KEY_BYTES:
            return f'a part between "/" has more than {_MAX_PART_OF_KEY_BYTES} bytes'
    return ""


def pieces_of(data: Data) -> Sequence[Bytes]:
    """`data` as a sequence of pieces."""
    return (data,) if isinstance(data, bytes | bytearray | memoryview) else data


def size_of(data: Data) -> int:
    """The number of bytes in `data`."""
    return sum(memoryview(piece).nbytes for piece in pieces_of(data))


def checksum_of(data: Data) -> str:
    """The checksum of `data` as ObjectInfo has it."""
    value = 0
    for piece in pieces_of(data):
        value = extend(value, piece if isinstance(piece, bytes) else bytes(piece))
    return checksum_text(value)


def checksum_text(crc32c: int) -> str:
    """A CRC-32C as ObjectInfo has it."""
    return f"crc32c:{crc32c:08x}"


def get_bounded(objects: ObjectStore, key: str, max_bytes: int) -> bytes:
    """A whole object that must have no more than max_bytes. Raises Corrupt, without reading more than that, and what
    get() raises. Its checksum is not looked at: for what is sealed or checked otherwise.
    """
    # From the end: that gives the whole of what is shorter.
    data = objects.get(key, -(max_bytes + 1))
    if len(data) > max_bytes:
        raise Corrupt(f"{objects.name}: {key} has more than {max_bytes} bytes, which nothing of its kind has")
    return data
