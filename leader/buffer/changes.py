"""Changes: what one atomic write of the store does. Plain data; may be written again after a failure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from joblog.leader.buffer.chunk import CHECK_BYTES, gap_header, pack_gap, pack_stored
from joblog.v1.archive_pb2 import Extent
from joblog.v1.types_pb2 import Event, Gap, LogRecord, Verification


class Changes:
    """Collects what Store.write() then does at once or not at all. Used by one thread at a time.

    The same object may be given to Store.write() again when that raised; doing it twice has no further effect.
    """

    __slots__ = (
        "announced",
        "chunk_drops",
        "chunks",
        "deaths",
        "deaths_told",
        "deks",
        "deleted_logs",
        "deleted_runs",
        "events",
        "expiring",
        "extent_drops",
        "extents",
        "gap_drops",
        "gaps",
        "gone",
        "guards",
        "half_logs",
        "locked",
        "logs",
        "merged",
        "refilled",
        "required",
        "rosters",
        "single_drops",
        "size_bytes",
        "verified",
    )

    def __init__(self) -> None:
        self.chunks: list[tuple[int, int, bytes]] = []
        self.chunk_drops: list[tuple[int, int, int]] = []
        self.gaps: list[tuple[int, Gap]] = []
        self.single_drops: list[tuple[int, int]] = []
        self.gap_drops: list[tuple[int, Gap, int]] = []
        self.extents: list[tuple[int, Extent]] = []
        self.extent_drops: list[tuple[int, int, int]] = []
        self.guards: dict[int, int] = {}
        self.required: set[int] = set()
        self.refilled: dict[int, tuple[int, int]] = {}
        self.rosters: list[tuple[int, str]] = []
        self.announced: list[str] = []
        self.gone: list[str] = []
        self.locked: list[tuple[str, int]] = []
        self.events: list[tuple[int, Event]] = []
        self.verified: list[tuple[int, Verification]] = []
        self.merged: dict[int, int | None] = {}
        self.deaths: list[int] = []
        self.deaths_told: list[int] = []
        self.deks: list[tuple[int, bytes]] = []
        self.logs: dict[int, LogRecord] = {}
        self.deleted_logs: list[int] = []
        self.half_logs: set[int] = set()
        self.deleted_runs: list[tuple[str, str]] = []
        self.expiring: dict[tuple[str, str], bool] = {}
        self.size_bytes = 0

    def put_chunk(self, number: int, offset: int, value: bytes) -> None:
        """The chunk of log `number` at `offset`: packed header and sealed bytes."""
        self.put_stored(number, offset, pack_stored(number, offset, value))

    def put_stored(self, number: int, offset: int, stored: bytes) -> None:
        """As put_chunk(), for what pack_stored() gave."""
        self.chunks.append((number, offset, stored))
        self.size_bytes += len(stored) - CHECK_BYTES

    def refill(self, number: int, offset: int, raw_length: int, stored: bytes) -> None:
        """As put_stored(), for bytes that are missing in the middle of a log; what can't be read there is dropped.

        Lets the write fail with Conflict when the log is sealed, not there, or has them in the archive. To be guarded:
        it counts as a rewrite itself, so that nobody goes by what was read before.
        """
        self.put_stored(number, offset, stored)
        self.delete_chunks(number, offset + 1, offset + raw_length)
        self.refilled[number] = offset, offset + raw_length

    def put_gap(self, number: int, gap: Gap, lines_before: int, declared_ns: int) -> None:
        """A gap of log `number`: its chunk, and its entry in Store.gaps()."""
        header = gap_header(gap.length, gap.reason, gap.newlines, lines_before, declared_ns)
        self.put_chunk(number, gap.offset, pack_gap(header))
        self.gaps.append((number, gap))

    def delete_chunks(self, number: int, from_offset: int, to_offset: int) -> None:
        """Drops the chunks of log `number` that start in [from_offset, to_offset)."""
        # RocksDB forgets the number of a write that was for nothing, and the store would miss it.
        if from_offset < to_offset:
            self.chunk_drops.append((number, from_offset, to_offset))

    def replace_by_gap(self, number: int, gap: Gap, lines_before: int, declared_ns: int) -> None:
        """Drops all that starts in the gap's range, gaps and what was put before into this object too, for the gap.

        What extents hold of the range is not theirs any more. The range begins and ends where chunks do.
        """
        before = gap.offset + gap.length
        self.chunks = [chunk for chunk in self.chunks if chunk[0] != number or not gap.offset <= chunk[1] < before]
        self.gaps = [one for one in self.gaps if one[0] != number or not gap.offset <= one[1].offset < before]
        self.delete_chunks(number, gap.offset, before)
        self.gap_drops.append((number, gap, lines_before))
        self.put_gap(number, gap, lines_before, declared_ns)

    def delete_chunk(self, number: int, offset: int) -> None:
        """Drops the chunk of log `number` that starts at `offset`. For a few; a long row goes by delete_chunks()."""
        self.single_drops.append((number, offset))

    def put_extent(self, number: int, extent: Extent) -> None:
        """Bytes of log `number` lie in the archive now; replaces an extent that starts at the same offset."""
        self.extents.append((number, extent))

    def delete_extents(self, number: int, from_offset: int, to_offset: int) -> None:
        """Drops the extents of log `number` that start in [from_offset, to_offset), before any are put."""
        self.extent_drops.append((number, from_offset, to_offset))

    def guard(self, number: int, rewrites: int) -> None:
        """Lets the write fail with Conflict unless Store.rewrites(number) is still that: the chunks are those read."""
        self.guards[number] = rewrites

    def require(self, number: int) -> None:
        """Lets the write fail with Conflict when log `number` is not there (any more)."""
        self.required.add(number)

    def put_roster(self, number: int, object_key: str) -> None:
        """The identity and wrapped DEK of the live log `number` lie in this archive object, and in no other one."""
        self.rosters.append((number, object_key))

    def announce_objects(self, object_keys: Iterable[str]) -> None:
        """These archive objects are about to be put: unless an extent or roster names them, they are unused."""
        self.announced.extend(object_keys)

    def forget_objects(self, object_keys: Iterable[str]) -> None:
        """These archive objects, which nothing names, are not there any more."""
        self.gone.extend(object_keys)

    def lock_objects(self, until_ns: Mapping[str, int]) -> None:
        """Of these archive objects, which are deleted, versions are kept until then: they are not unused any more."""
        self.gone.extend(until_ns)
        self.locked.extend(until_ns.items())

    def put_log(self, record: LogRecord) -> None:
        """A new log, or a new state of one. Its run's counters, state and index follow in the same write.

        id, uid, number, writer_id and created_ns of a log never change once written.
        """
        self.logs[record.number] = record

    def put_merged(self, number: int, stored_bytes: int | None) -> None:
        """The small chunks of the completed log `number` are merged; it takes so many bytes (None: as many as before).

        Does nothing when the log is not there any more.
        """
        self.merged[number] = stored_bytes

    def put_dek(self, number: int, wrapped: bytes) -> None:
        """The wrapped DEK of log `number`; goes with the first put_log()."""
        self.deks.append((number, wrapped))

    def put_event(self, number: int, event: Event) -> None:
        """An event of log `number`; the same offset, time and kind again replaces it, so that a repeat adds nothing."""
        self.events.append((number, event))

    def put_verified(self, number: int, verification: Verification) -> None:
        """What the last verification of log `number` has found; replaces that of the one before."""
        self.verified.append((number, verification))

    def put_death(self, number: int) -> None:
        """The death report of log `number`, an event of it, is still to be sent out."""
        self.deaths.append(number)

    def death_told(self, number: int) -> None:
        """It was sent out."""
        self.deaths_told.append(number)

    def delete_log(self, number: int) -> None:
        """Everything of log `number`, its DEK among it; a tombstone for its writer id stays."""
        self.deleted_logs.append(number)

    def drop_half(self, number: int) -> None:
        """delete_log() for a log of which only a part was put by whoever copied it here: no hold keeps that."""
        self.delete_log(number)
        self.half_logs.add(number)

    def delete_run(self, namespace: str, run: str) -> None:
        """delete_log() for every log of the run."""
        self.deleted_runs.append((namespace, run))

    def put_expiring(self, namespace: str, run: str, *, is_expiring: bool = True) -> None:
        """Notes that the run's deletion was begun and has to go on, or that it has not; goes when the run is gone."""
        self.expiring[namespace, run] = is_expiring

    def numbers(self) -> set[int]:
        """Logs that it adds to, apart from chunks."""
        items: list[tuple[int, object]] = [*self.deks, *self.events, *self.gaps, *self.verified]
        found = {number for number, _ in items} | {number for number, _, _ in self.chunk_drops} | set(self.deaths)
        return found | self.archived_numbers()

    def archived_numbers(self) -> set[int]:
        """Logs whose place in the archive changes."""
        found = {number for number, _ in self.extents} | {number for number, _ in self.rosters}
        return found | {number for number, _, _ in self.extent_drops}

    def dropping(self) -> set[int]:
        """Logs of which it drops chunks, apart from those it deletes."""
        return {number for number, _, _ in self.chunk_drops} | {number for number, _ in self.single_drops}

    def rewritten(self) -> set[int]:
        """Logs of which a range becomes a gap or comes back."""
        return {*self.refilled, *(number for number, _, _ in self.gap_drops)}

    def has_records(self) -> bool:
        """It changes what other entries follow: logs' records, extents, the objects in use."""
        records = self.logs, self.deleted_logs, self.deleted_runs, self.expiring
        return any((*records, self.merged, self.extents, self.extent_drops, self.gap_drops, self.rosters))

    def __bool__(self) -> bool:
        plain = self.chunks, self.chunk_drops, self.single_drops, self.gaps, self.events, self.deks, self.verified
        return self.has_records() or any((*plain, self.announced, self.gone, self.deaths, self.deaths_told))
