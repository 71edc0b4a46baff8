"""Changes: what one atomic write of the store does. Plain data; may be written again after a failure."""

from __future__ import annotations

from joblog.leader.buffer.chunk import gap_header, pack_gap
from joblog.v1.types_pb2 import Event, Gap, LogRecord


class Changes:
    """Collects what Store.write() then does at once or not at all. Used by one thread at a time.

    The same object may be given to Store.write() again when that raised; doing it twice has no further effect.
    """

    __slots__ = (
        "chunk_drops",
        "chunks",
        "deks",
        "deleted_logs",
        "deleted_runs",
        "events",
        "gap_drops",
        "gaps",
        "logs",
        "size_bytes",
    )

    def __init__(self) -> None:
        self.chunks: list[tuple[int, int, bytes]] = []
        self.chunk_drops: list[tuple[int, int, int]] = []
        self.gaps: list[tuple[int, Gap]] = []
        self.gap_drops: list[tuple[int, int, int]] = []
        self.events: list[tuple[int, Event]] = []
        self.deks: list[tuple[int, bytes]] = []
        self.logs: dict[int, LogRecord] = {}
        self.deleted_logs: list[int] = []
        self.deleted_runs: list[tuple[str, str]] = []
        self.size_bytes = 0

    def put_chunk(self, number: int, offset: int, value: bytes) -> None:
        """The chunk of log `number` at `offset`: packed header and sealed bytes."""
        self.chunks.append((number, offset, value))
        self.size_bytes += len(value)

    def put_gap(self, number: int, gap: Gap, lines_before: int, declared_ns: int) -> None:
        """A gap of log `number`: its chunk, and its entry in Store.gaps()."""
        header = gap_header(gap.length, gap.reason, gap.newlines, lines_before, declared_ns)
        self.put_chunk(number, gap.offset, pack_gap(header))
        self.gaps.append((number, gap))

    def delete_chunks(self, number: int, from_offset: int, to_offset: int) -> None:
        """Drops the chunks of log `number` that start in [from_offset, to_offset)."""
        self.chunk_drops.append((number, from_offset, to_offset))

    def replace_by_gap(self, number: int, gap: Gap, lines_before: int, declared_ns: int) -> None:
        """Drops all that starts in the gap's range, gaps and what was put before into this object too, for the gap."""
        before = gap.offset + gap.length
        self.chunks = [chunk for chunk in self.chunks if chunk[0] != number or not gap.offset <= chunk[1] < before]
        self.gaps = [one for one in self.gaps if one[0] != number or not gap.offset <= one[1].offset < before]
        self.delete_chunks(number, gap.offset, before)
        self.gap_drops.append((number, gap.offset, before))
        self.put_gap(number, gap, lines_before, declared_ns)

    def put_log(self, record: LogRecord) -> None:
        """A new log, or a new state of one. Its run's counters, state and index follow in the same write.

        id, uid, number, writer_id and created_ns of a log never change once written.
        """
        self.logs[record.number] = record

    def put_dek(self, number: int, wrapped: bytes) -> None:
        """The wrapped DEK of log `number`; goes with the first put_log()."""
        self.deks.append((number, wrapped))

    def put_event(self, number: int, event: Event) -> None:
        """An event of log `number`; the same offset, time and kind again replaces it, so that a repeat adds nothing."""
        self.events.append((number, event))

    def delete_log(self, number: int) -> None:
        """Everything of log `number`, its DEK among it; a tombstone for its writer id stays."""
        self.deleted_logs.append(number)

    def delete_run(self, namespace: str, run: str) -> None:
        """delete_log() for every log of the run."""
        self.deleted_runs.append((namespace, run))

    def numbers(self) -> set[int]:
        """Logs that it adds to, apart from chunks."""
        items: list[tuple[int, object]] = [*self.deks, *self.events, *self.gaps]
        return {number for number, _ in items} | {number for number, _, _ in self.chunk_drops}

    def has_records(self) -> bool:
        """It changes records of logs, which those of runs and the indexes follow."""
        return bool(self.logs or self.deleted_logs or self.deleted_runs)

    def __bool__(self) -> bool:
        return self.has_records() or any((self.chunks, self.chunk_drops, self.gaps, self.events, self.deks))
