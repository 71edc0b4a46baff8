"""What is in an archive, found from its objects alone: sealed logs, live logs, and where their bytes lie."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple, TypeVar

from joblog.errors import Corrupt, NotFound, WrongVersion
from joblog.identity import LogName, check_log_name
from joblog.leader.archive.container import (
    FOOTER_BYTES,
    MAGIC,
    Entry,
    Footer,
    Index,
    LogEntries,
    read_footer,
    read_index,
    read_record,
)
from joblog.leader.archive.layout import (
    LIVE_PREFIX,
    METADATA_NAME,
    log_prefix,
    metadata_key,
    parse_log_key,
    parse_pack_key,
    parse_roster_key,
    plain_key,
    run_prefix,
    sealed_key,
)
from joblog.leader.archive.metadata import Metadata, parse_metadata
from joblog.leader.archive.objects import ObjectInfo, ObjectStore, walk
from joblog.leader.archive.packing import extents_of
from joblog.leader.archive.roster import MAX_ROSTER_BYTES, parse_roster
from joblog.leader.buffer.chunk import KIND_GAP
from joblog.v1.archive_pb2 import EXTENT_KIND_SEALED, Extent
from joblog.v1.types_pb2 import Gap

T = TypeVar("T")
R = TypeVar("R")
# Most indexes come with the footer in one request of this size.
_TAIL_BYTES = 64 << 10
_AHEAD = 64
# problem(key, why): an object that can't be used.
Problem = Callable[[str, str], None]


class LiveLog(NamedTuple):
    """A log that is not sealed: what the newest roster says, that roster, its extents, and the gaps in them."""

    metadata: Metadata
    roster: str
    extents: list[Extent]
    gaps: list[Gap]


def parallel(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """work() of every item, in order, some ahead; takes no more items than it needs to."""
    waiting = iter(items)
    coming = deque(pool.submit(work, item) for item in islice(waiting, _AHEAD))
    try:
        while coming:
            yield coming.popleft().result()
            coming.extend(pool.submit(work, item) for item in islice(waiting, 1))
    finally:
        for one in coming:
            one.cancel()


def load_metadata(objects: ObjectStore, key: str) -> Metadata:
    """What a metadata.json says; its names must be those of its key. Raises NotFound, Corrupt, WrongVersion."""
    metadata = parse_metadata(objects.get(key))
    if metadata_key(metadata.name) != key:
        raise Corrupt(f"{key}: says that it belongs to log {metadata.name}: it was moved here")
    return metadata


def find_metadata(objects: ObjectStore, name: LogName) -> Metadata | None:
    """The metadata of a sealed log, with attempt 0 of the newest attempt; None when it is not sealed, or not there."""
    if not name.attempt:
        newest = max(attempts(objects, name), default=0)
        if not newest:
            return None
        name = name._replace(attempt=newest)
    try:
        return load_metadata(objects, metadata_key(name))
    except NotFound:
        return None


def attempts(objects: ObjectStore, name: LogName) -> set[int]:
    """Attempts of a task that have objects of their own."""
    prefix = f"{run_prefix(name.namespace, name.run)}{check_log_name(name, open_attempt=True).task}/"
    found: set[int] = set()
    after, more = "", True
    while more:
        page, more = objects.list(prefix, after)
        for info in page:
            parsed = parse_log_key(info.key)
            if parsed is not None:
                found.add(parsed.name.attempt)
        if page:
            after = page[-1].key
    return found


def sealed_extent(metadata: Metadata) -> Extent | None:
    """Where a sealed log's bytes lie, from its metadata alone; None when it is not sealed."""
    if metadata.sealed is None:
        return None
    footer, record = metadata.sealed.footer, metadata.record
    return Extent(
        offset=0,
        end_offset=record.seal.length,
        object=sealed_key(metadata.name),
        kind=EXTENT_KIND_SEALED,
        position=len(MAGIC),
        length=footer.index_position - len(MAGIC),
        chunks=footer.chunks,
        newlines=record.seal.newlines,
        first_time_ns=record.start.started_ns or record.created_ns,
        last_time_ns=record.last_append_ns,
        object_bytes=footer.size,
        index_position=footer.index_position,
        index_length=footer.index_length,
        object_logs=1,
        companions=[metadata_key(metadata.name), plain_key(metadata.name)],
    )


def load_index(objects: ObjectStore, info: ObjectInfo) -> tuple[Footer, Index]:
    """An object's footer and index, in one or two requests. Raises NotFound, Corrupt, WrongVersion."""
    size = info.size
    if size < FOOTER_BYTES:
        raise Corrupt(f"archive object {info.key} has {size} bytes, which is too few for one")
    start = max(0, size - _TAIL_BYTES)
    tail = objects.get(info.key, start, size - start)
    try:
        footer = read_footer(tail, size)
        if footer.index_position >= start:
            packed = tail[footer.index_position - start :][: footer.index_length]
        else:
            packed = objects.get(info.key, footer.index_position, footer.index_length)
        return footer, read_index(packed, footer)
    except Corrupt as error:
        raise Corrupt(f"archive object {info.key}: {error}") from None


def load_rosters(objects: ObjectStore, problem: Problem) -> dict[bytes, tuple[Metadata, str]]:
    """Logs that rosters name, by uid; of each what the newest one says, and that roster's key."""
    found: dict[bytes, tuple[Metadata, str]] = {}
    rosters = [(parsed[1], info) for info in walk(objects, LIVE_PREFIX) if (parsed := parse_roster_key(info.key))]
    for _, info in sorted(rosters, key=lambda roster: roster[0]):
        key = info.key
        try:
            if info.size > MAX_ROSTER_BYTES:
                raise Corrupt(f"it has {info.size} bytes, at most {MAX_ROSTER_BYTES} are allowed")
            for metadata in parse_roster(objects.get(key)):
                found[metadata.record.uid] = metadata, key
        except (Corrupt, WrongVersion, NotFound) as error:
            problem(key, str(error))
    return found


class Piece(NamedTuple):
    """One chunk of a log in one object. rank: later objects have higher ones."""

    entry: Entry
    info: ObjectInfo
    footer: Footer
    rank: int


def locate(
    objects: ObjectStore, pool: ThreadPoolExecutor, logs: dict[bytes, tuple[Metadata, str]], problem: Problem
) -> dict[bytes, LiveLog]:
    """Where the bytes of these logs, as load_rosters() gives them, lie in packs and segments."""
    infos = [info for info in walk(objects, LIVE_PREFIX) if parse_pack_key(info.key)]
    for metadata, _ in logs.values():
        prefix = log_prefix(metadata.name)
        infos += [info for info in walk(objects, prefix) if (key := parse_log_key(info.key)) and key.to_offset]

    def index_of(info: ObjectInfo) -> tuple[ObjectInfo, Footer, Index] | None:
        try:
            return (info, *load_index(objects, info))
        except (Corrupt, WrongVersion, NotFound) as error:
            problem(info.key, str(error))
            return None

    pieces: dict[bytes, list[Piece]] = {uid: [] for uid in logs}
    for loaded in parallel(pool, index_of, infos):
        if loaded is None:
            continue
        info, footer, index = loaded
        packed = parse_pack_key(info.key)
        for uid in index.logs.keys() & logs.keys():
            rank = packed[1] if packed else 0
            pieces[uid].extend(Piece(entry, info, footer, rank) for entry in index.logs[uid])
    located: dict[bytes, LiveLog] = {}
    for uid, found in pieces.items():
        extents, gaps = arrange(found)
        located[uid] = LiveLog(*logs[uid], extents, [gap for piece in gaps if (gap := _gap(objects, piece, problem))])
    return located


def _gap(objects: ObjectStore, piece: Piece, problem: Problem) -> Gap | None:
    key, entry = piece.info.key, piece.entry
    try:
        header = read_record(objects.get(key, entry.position, entry.length))[0].header
    except (Corrupt, WrongVersion, NotFound) as error:
        problem(key, str(error))
        return None
    return Gap(offset=entry.offset, length=entry.raw_length, newlines=entry.newlines, reason=header.reason)  # type: ignore[arg-type]


def arrange(pieces: Sequence[Piece]) -> tuple[list[Extent], list[Piece]]:
    """Extents, and the gaps among their chunks, that give each offset once where objects hold it several times.

    A gap counts more than bytes that it took the place of. Where there are several copies, that which goes on longest
    in its object is taken.
    """
    gaps = sorted({(piece.entry.offset, piece.entry.end) for piece in pieces if piece.entry.kind == KIND_GAP})
    kept = [piece for piece in pieces if piece.entry.kind == KIND_GAP or not _inside(piece.entry, gaps)]
    runs = _runs(kept)
    extents: list[Extent] = []
    found: list[Piece] = []
    at = 0
    while best := _next_run(runs, at):
        begin, run = best
        taken = [piece for piece in run if piece.entry.end > begin]
        extents.extend(_extents(taken, begin))
        found.extend(piece for piece in taken if piece.entry.kind == KIND_GAP)
        at = taken[-1].entry.end
    return extents, found


def _inside(entry: Entry, gaps: list[tuple[int, int]]) -> bool:
    return any(begin <= entry.offset and entry.end <= end for begin, end in gaps)


def _runs(pieces: Iterable[Piece]) -> list[list[Piece]]:
    """Chunks that follow each other in an object and in the log."""
    runs: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda one: (one.info.key, one.entry.position)):
        last = runs[-1][-1] if runs else None
        follows = last is not None and last.info.key == piece.info.key and last.entry.end == piece.entry.offset
        if follows:
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return sorted(runs, key=lambda run: run[0].entry.offset)


def _next_run(runs: list[list[Piece]], at: int) -> tuple[int, list[Piece]] | None:
    """The run to go on with at `at`: one with a chunk that begins there, else one that holds it, else the next one."""
    holding = [run for run in runs if run[0].entry.offset <= at < run[-1].entry.end]
    if holding:
        exact = [run for run in holding if any(piece.entry.offset == at for piece in run)]
        return at, max(exact or holding, key=lambda run: (run[-1].entry.end, run[0].rank))
    later = [run for run in runs if run[0].entry.offset > at]
    if not later:
        return None
    begin = min(run[0].entry.offset for run in later)
    candidates = [run for run in later if run[0].entry.offset == begin]
    return begin, max(candidates, key=lambda run: (run[-1].entry.end, run[0].rank))


def _extents(taken: list[Piece], begin: int) -> Iterator[Extent]:
    columns = tuple(zip(*(piece.entry for piece in taken), strict=True))
    for extent in extents_of(LogEntries(b"", columns), taken[0].footer, taken[0].info.key, 0):
        extent.offset = max(extent.offset, begin)
        yield extent


def sealed_keys(objects: ObjectStore, prefix: str = "") -> Iterator[str]:
    """Keys of all metadata.json below `prefix`."""
    for info in walk(objects, prefix):
        if info.key.endswith("/" + METADATA_NAME) and parse_log_key(info.key) is not None:
            yield info.key
