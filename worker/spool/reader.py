"""Reads a spool back: checked records in order, what is missing declared as gaps, torn tails cut.

One reader per spool at a time (the shipper). All calls are synchronous and quick; none waits.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from joblog.worker.spool.format import SpoolTask


class Record(NamedTuple):
    """One piece of a log. kind: DATA, GAP or EVENT (worker.spool.format).

    DATA: `payload` holds raw_length bytes packed by `codec`; `frames` their packed columns; crc32c of the raw bytes, 0
    when it was not computed. GAP: raw_length and newlines say how much is missing (newlines 0 where that is not known);
    `body` is JSON {"reason": "spool_full"|"lost"}. EVENT: `body` is JSON {"kind", "message"}, its time first_time_ns.
    """

    kind: int
    offset: int
    raw_length: int
    codec: int
    payload: bytes
    frames: bytes
    newlines: int
    lines_before: int
    first_time_ns: int
    crc32c: int
    body: bytes


class EndRecord(NamedTuple):
    """The log's last word. sha256 is empty where bytes were dropped. outcome: the fields of proto Outcome, by name."""

    length: int
    sha256: bytes
    newlines: int
    outcome: dict[str, object]


class SpoolReader:
    """A spool folder opened for reading, at offset 0.

    `task`: what task.json says. Raises NotFound when the folder has none (yet), Corrupt, WrongVersion.
    """

    task: SpoolTask

    def __init__(self, folder: Path) -> None:
        raise NotImplementedError

    @property
    def offset(self) -> int:
        """Where the next read goes on."""
        raise NotImplementedError

    @property
    def lines(self) -> int:
        """Newlines in the log before `offset`, as far as known."""
        raise NotImplementedError

    @property
    def length(self) -> int:
        """The log's length so far, as the supervisor last said."""
        raise NotImplementedError

    @property
    def ended(self) -> EndRecord | None:
        """The end record, once the reader has come to it; then nothing follows."""
        raise NotImplementedError

    def seek(self, offset: int) -> None:
        """Goes on at `offset`, also inside a record (the next read splits it) or before what is still kept (a gap).

        Events tied to `offset` come again.
        """
        raise NotImplementedError

    def read(self, max_bytes: int) -> list[Record]:
        """The next records, up to max_bytes raw bytes together but at least one where there is one; [] at the end.

        When the supervisor is dead, a torn tail is cut, and what it is known to have captured beyond it is a gap.
        """
        raise NotImplementedError

    def alive(self) -> bool:
        """Whether the supervisor lives. Dead, `read` returning [] and `ended` None: the log ends at `offset`."""
        raise NotImplementedError

    def arm(self, wake_at: int) -> bool:
        """Asks the supervisor for one datagram to D/worker/notify.sock once the log's length is >= wake_at, or at its end.

        Returns True when that is so already (then none may come: read on).
        """
        raise NotImplementedError

    def set_acked(self, offset: int) -> None:
        """Notes that the leader has every byte below `offset`, for those who show a status."""
        raise NotImplementedError

    def release(self, acked_offset: int) -> None:
        """Unlinks the segments all of whose bytes lie below acked_offset and which are no longer written to."""
        raise NotImplementedError

    def pending_bytes(self) -> int:
        """Bytes of the log captured and not yet acked."""
        raise NotImplementedError

    def disk_bytes(self) -> int:
        """Bytes that the spool's segments take on disk."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes the files; the spool stays."""
        raise NotImplementedError

    def remove(self) -> None:
        """Closes, and deletes the folder with all it holds. For after the leader's Closed."""
        raise NotImplementedError


def list_spools(spool_root: Path) -> list[Path]:
    """The spool folders below D/worker/spool that have a task.json, oldest first. [] when there is no such folder."""
    raise NotImplementedError
