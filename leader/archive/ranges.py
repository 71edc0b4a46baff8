"""Many ranges of objects read at once: neighbours in one request, some requests side by side."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from joblog.errors import Corrupt, NotFound
from joblog.leader.archive.objects import ObjectStore

# Reading over a hole of this size is quicker than one more request.
JOIN_BYTES = 256 << 10
MAX_REQUEST_BYTES = 16 << 20


class Range(NamedTuple):
    """Bytes [start, start + length) of an object."""

    key: str
    start: int
    length: int


def read_ranges(objects: ObjectStore, pool: ThreadPoolExecutor, wanted: Iterable[Range]) -> dict[Range, bytes]:
    """The bytes of all ranges, in memory; those of objects that are gone or too short are left out.

    Raises what the object store raises otherwise.
    """
    rows = _rows(sorted(set(wanted)))
    found: dict[Range, bytes] = {}
    coming = [(row, pool.submit(_read, objects, row)) for row in rows]
    for row, data in coming:
        bytes_ = data.result()
        if bytes_ is not None:
            start = row[0].start
            found.update((one, bytes_[one.start - start : one.start - start + one.length]) for one in row)
    return found


def _rows(wanted: list[Range]) -> list[list[Range]]:
    rows: list[list[Range]] = []
    end = 0
    for one in wanted:
        near = rows and rows[-1][0].key == one.key and one.start - end <= JOIN_BYTES
        if near and one.start + one.length - rows[-1][0].start <= MAX_REQUEST_BYTES:
            rows[-1].append(one)
            end = max(end, one.start + one.length)
        else:
            rows.append([one])
            end = one.start + one.length
    return rows


def _read(objects: ObjectStore, row: list[Range]) -> bytes | None:
    start = row[0].start
    try:
        return objects.get(row[0].key, start, max(one.start + one.length for one in row) - start)
    except (Corrupt, NotFound):
        # The store as a whole is not to blame when it knows what it has of the object.
        objects.head(row[0].key)
        return None
