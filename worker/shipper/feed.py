"""One spool on its way to the leader: what is read, what is sent and not acked, and what comes next."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import random
import time
from collections import deque
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from joblog.v1 import ingest_pb2, types_pb2
from joblog.worker.shipper.packing import Packing
from joblog.worker.shipper.resending import Resending
from joblog.worker.spool.format import DATA, EVENT, FOLLOWED, GAP, SPOOL_FULL
from joblog.worker.spool.reader import SpoolReader
from joblog.worker.spool.record import EndRecord, Record
from joblog.worker.spool.split import split

log = logging.getLogger(__name__)

CLAIM_FILE = "ship.lock"
# A batch that the leader finds damaged this often at one offset is damaged on the disk: it becomes a gap.
CORRUPT_TRIES = 3
# A quota is asked about no more often than that.
QUOTA_RETRY_SECONDS = 1.0


class FeedState(Enum):
    """Where a spool stands with the leader: not known on this stream; asked to be opened; open; close sent; kept; over.

    Kept: the leader has all of it, and the spool waits until the archive has it too.
    """

    UNOPENED = 1
    OPENING = 2
    OPEN = 3
    CLOSING = 4
    KEPT = 5
    DONE = 6


class Taken(NamedTuple):
    """What is to be sent next of a log."""

    appends: list[ingest_pb2.Append]
    events: list[ingest_pb2.LogEvent]
    close: ingest_pb2.CloseLog | None
    payload_bytes: int


def claim(folder: Path) -> int | None:
    """Takes a spool for this process: the lock's file descriptor, or None when another one ships it. Raises OSError."""
    try:
        fd = os.open(folder / CLAIM_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It may have been removed by the one who had it before.
        if os.stat(folder / CLAIM_FILE).st_ino == os.fstat(fd).st_ino:
            return fd
    except OSError:
        pass
    os.close(fd)
    return None


class Feed:
    """A claimed spool. Belongs to the shipper's thread."""

    def __init__(self, reader: SpoolReader, spool_id: str, claim_fd: int) -> None:
        self.reader = reader
        self.spool_id = spool_id
        self.state = FeedState.UNOPENED
        self.handle = 0
        self.attempt = reader.task.attempt
        self.watched = False
        # The spool is kept until the archive has it; the leader's Welcome tells.
        self.until_archived = False
        self.acked_offset = 0
        self.inflight_bytes = 0
        self.retry_at = 0.0
        self.refusal = ""
        # Why the leader does not take it now, and what it had not when it said so.
        self.waiting = ""
        self._waiting_at = -1
        # Why it could not be shipped the last time.
        self.failure = ""
        self._claim_fd = claim_fd
        self._released_offset = 0
        self._inflight: deque[tuple[int, int]] = deque()
        self._hash_known = True
        # The attempt that was wished for is taken: the next free one will do.
        self._any_attempt = False
        self._corrupt: tuple[int, int] = (-1, 0)
        self._damaged_at = -1
        self._events: list[types_pb2.Event] = []
        # What the leader has lost.
        self.resending = Resending(reader)

    @property
    def name(self) -> str:
        """NAMESPACE:RUN/TASK[/ATTEMPT], for messages."""
        task = self.reader.task
        return f"{task.namespace}:{task.run}/{task.task}" + (f"/{self.attempt}" if self.attempt else "")

    def disconnect(self) -> None:
        """The stream is gone: everything not acked has to be agreed on again."""
        if self.state is not FeedState.DONE:
            self.state = FeedState.UNOPENED
        # The next stream counts anew: there the number may be that of another feed.
        self.handle = 0
        self.watched = False
        self.resending.close()
        self._forget_inflight()

    def _forget_inflight(self) -> None:
        self._inflight.clear()
        self.inflight_bytes = 0

    def open_request(self, handle: int) -> ingest_pb2.OpenLog:
        """Asks the leader to open the log under `handle`."""
        self.handle = handle
        self.state = FeedState.OPENING
        task = self.reader.task
        return ingest_pb2.OpenLog(
            handle=handle,
            id=types_pb2.LogId(
                namespace=task.namespace, run=task.run, task=task.task, attempt=0 if self._any_attempt else task.attempt
            ),
            writer_id=task.writer_id,
            start=types_pb2.TaskStart(
                command=task.command, host=task.host, cwd=task.cwd, started_ns=task.started_ns, labels=task.labels
            ),
        )

    def opened(self, opened: ingest_pb2.Opened) -> None:
        """The leader says where to go on."""
        self.attempt = opened.id.attempt
        self.watched = opened.watched
        if self._waiting_at != opened.next_offset or opened.completed:
            self.waiting = ""
        if opened.completed:
            self._forget_inflight()
            self._note_acked(opened.next_offset)
            self.state = FeedState.KEPT if self.until_archived and not opened.sealed else FeedState.DONE
            return
        self.state = FeedState.OPEN
        self._forget_inflight()
        if opened.next_offset < self.acked_offset:
            # A leader that lost its disk: what it had acked counts no more.
            self._note_acked(opened.next_offset)
        self.reader.seek(opened.next_offset, opened.newlines)

    def rewind(self, next_offset: int) -> None:
        """Goes on at next_offset: what was sent beyond it was not taken."""
        if self.state is FeedState.CLOSING:
            self.state = FeedState.OPEN
        self._forget_inflight()
        self.reader.seek(next_offset)

    def has_news(self) -> bool:
        """Whether there may be something to send."""
        if self.state is not FeedState.OPEN:
            return False
        return self.reader.length > self.reader.offset or self.reader.ended is not None or not self.reader.alive()

    def is_left(self) -> bool:
        """Whether there is something of it that the leader is not known to have: bytes, or the log's end."""
        if self.state in (FeedState.KEPT, FeedState.DONE):
            return False
        if self.state is FeedState.OPEN:
            return self.has_news() or bool(self._inflight)
        return self.reader.pending_bytes() > 0 or not self.reader.alive()

    def is_put_off_until(self, moment: float) -> bool:
        """Whether it is not tried again before the moment (monotonic), whatever comes."""
        return self.state is FeedState.UNOPENED and self.retry_at > moment

    def take(self, max_raw_bytes: int, max_batch_bytes: int) -> Taken:
        """The next bytes of the log, ready to be sent; empty when there is nothing new."""
        packing = Packing(self.handle, max_batch_bytes)
        events: list[ingest_pb2.LogEvent] = []
        for record in self.reader.read(max_raw_bytes):
            if record.kind == DATA and record.offset != self._damaged_at:
                for part in split(record, max_batch_bytes):
                    packing.add(part)
                continue
            packing.flush()
            if record.kind == EVENT:
                events.append(ingest_pb2.LogEvent(handle=self.handle, event=_event(record)))
            else:
                packing.appends.append(self._gap(record))
        packing.flush()
        payload = 0
        for append in packing.appends:
            sent = len(append.batch.payload)
            payload += sent
            self._inflight.append((append.offset + (append.batch.raw_length or append.gap.length), sent))
        self.inflight_bytes += payload
        close = None if packing.appends else self._close(events)
        events.extend(ingest_pb2.LogEvent(handle=self.handle, event=event) for event in self._events)
        self._events.clear()
        return Taken(packing.appends, events, close, payload)

    def _gap(self, record: Record) -> ingest_pb2.Append:
        full = record.kind == GAP and json.loads(record.body).get("reason") == SPOOL_FULL
        code = types_pb2.GAP_REASON_SPOOL_FULL if full else types_pb2.GAP_REASON_LOST
        gap = types_pb2.Gap(offset=record.offset, length=record.raw_length, reason=code, newlines=record.newlines)
        self._hash_known = False
        return ingest_pb2.Append(handle=self.handle, offset=record.offset, gap=gap)

    def _close(self, events: list[ingest_pb2.LogEvent]) -> ingest_pb2.CloseLog | None:
        if self.reader.ended is None:
            if self.reader.alive():
                return None
            # It may have written between the last read and its death.
            where = self.reader.offset
            if self.reader.read(1):
                self.reader.seek(where)
                return None
        end = self.reader.ended or self._orphaned(events)
        self.state = FeedState.CLOSING
        return ingest_pb2.CloseLog(
            handle=self.handle,
            length=end.length,
            sha256=end.sha256 if self._hash_known else b"",
            newlines=end.newlines,
            outcome=types_pb2.Outcome(**end.outcome),  # type: ignore[arg-type]
        )

    def _orphaned(self, events: list[ingest_pb2.LogEvent]) -> EndRecord:
        """What is known of a task whose supervisor died before it could say how the task ended."""
        now = time.time_ns()
        message = "the task's supervisor died; what it had captured by then is here, how the task ended is not known"
        event = types_pb2.Event(offset=self.reader.offset, time_ns=now, kind="supervisor_died", message=message)
        events.append(ingest_pb2.LogEvent(handle=self.handle, event=event))
        return EndRecord(
            self.reader.offset,
            b"",
            self.reader.lines,
            {
                "kind": types_pb2.OUTCOME_KIND_SUPERVISOR_DIED,
                "started_ns": self.reader.task.started_ns,
                "ended_ns": now,
                "message": message,
            },
        )

    def acked(self, ack: ingest_pb2.Ack) -> bool:
        """The leader has every byte below the offsets in `ack`: those that are safe enough may go.

        True when the log is over with it: nothing is left to do but to remove the spool.
        """
        while self._inflight and self._inflight[0][0] <= ack.stored_offset:
            self.inflight_bytes -= self._inflight.popleft()[1]
        if ack.stored_offset > self.acked_offset:
            self._note_acked(ack.stored_offset)
        safe = ack.archived_offset if self.until_archived else ack.stored_offset
        if safe > self._released_offset:
            self._released_offset = safe
            self.reader.release(safe)
        if ack.sealed and self.state in (FeedState.CLOSING, FeedState.KEPT):
            self.state = FeedState.DONE
            return True
        return False

    def closed(self) -> bool:
        """The leader has the whole log; True when it is over with that."""
        if self.state is FeedState.DONE:
            return False
        self._forget_inflight()
        self.state = FeedState.KEPT if self.until_archived else FeedState.DONE
        return not self.until_archived

    def _note_acked(self, stored_offset: int) -> None:
        self.acked_offset = stored_offset
        if stored_offset > self._waiting_at:
            self.waiting = ""
        self.reader.set_acked(stored_offset)

    def refused(self, refusal: ingest_pb2.Refusal) -> bool:
        """Does what a refusal asks for; False when nothing can be done: the log stays in the spool, set aside."""
        code = refusal.code
        if code == ingest_pb2.REFUSAL_CODE_CORRUPT:
            self._leave_out(refusal)
        elif code == ingest_pb2.REFUSAL_CODE_OFFSET:
            self.rewind(refusal.next_offset)
        elif code == ingest_pb2.REFUSAL_CODE_SEAL and self._hash_known:
            # The bytes stand; that they are not those that were hashed at the task is for the record.
            self._hash_known = False
            self.rewind(self.reader.offset)
            self._note("hash_mismatch", refusal.message)
        elif code == ingest_pb2.REFUSAL_CODE_QUOTA:
            self._wait(refusal)
        elif self._may_take_another_attempt(code):
            log.warning("%s: %s; it becomes the next free attempt", self.name, refusal.message)
            self._any_attempt = True
            self.state = FeedState.UNOPENED
        elif not refusal.permanent or (self.until_archived and code == ingest_pb2.REFUSAL_CODE_COMPLETED):
            # Opened again, the leader says whether a completed log is sealed as well.
            self.state = FeedState.UNOPENED
            self.retry_at = time.monotonic() + 0.2
        elif code in (ingest_pb2.REFUSAL_CODE_DELETED, ingest_pb2.REFUSAL_CODE_COMPLETED):
            log.warning("%s: %s", self.name, refusal.message)
            self.state = FeedState.DONE
        else:
            return False
        return True

    def _may_take_another_attempt(self, code: ingest_pb2.RefusalCode) -> bool:
        """Whether the log is that of a container whose namesake was there before: a pod that was made anew."""
        return (
            code == ingest_pb2.REFUSAL_CODE_OTHER_WRITER
            and self.state is FeedState.OPENING
            and self.reader.task.kind == FOLLOWED
            and not self._any_attempt
        )

    def _wait(self, refusal: ingest_pb2.Refusal) -> None:
        """A quota is used up: nothing is sent before the leader said, and then not by all logs at once."""
        if not self.waiting:
            log.warning("%s waits: %s", self.name, refusal.message)
        self.waiting = refusal.message
        # A log that could not be opened has nothing yet.
        self._waiting_at = -1 if self.state is FeedState.OPENING else refusal.next_offset
        self.state = FeedState.UNOPENED
        seconds = max(QUOTA_RETRY_SECONDS, refusal.retry_seconds)
        self.retry_at = time.monotonic() + seconds * random.uniform(1.0, 1.25)  # noqa: S311 - spreads load

    def _leave_out(self, refusal: ingest_pb2.Refusal) -> None:
        offset, tries = self._corrupt
        tries = tries + 1 if offset == refusal.next_offset else 1
        self._corrupt = (refusal.next_offset, tries)
        log.error("%s: the leader found a batch damaged (try %d): %s", self.name, tries, refusal.message)
        self.rewind(refusal.next_offset)
        if tries >= CORRUPT_TRIES:
            self._damaged_at = refusal.next_offset

    def _note(self, kind: str, message: str) -> None:
        self._events.append(
            types_pb2.Event(offset=self.reader.offset, time_ns=time.time_ns(), kind=kind, message=message[:2000])
        )

    def is_outlived(self) -> bool:
        """Whether the log is over for the leader, and its task still writes it."""
        return self.reader.ended is None and self.reader.alive()

    def make_room(self) -> None:
        """The task of a log that is over goes on: what nobody takes must not fill its spool and hold it up."""
        if self.refusal:
            self.reader.allow_release(self.reader.length)
        else:
            self.reader.release(self.reader.length)

    def finish(self) -> None:
        """The leader has all of it: the spool goes."""
        self.state = FeedState.DONE
        self._forget_inflight()
        self.resending.close()
        try:
            self.reader.remove()
        except OSError as error:
            log.warning("%s: its spool could not be removed: %s", self.name, error)
        self._unclaim()

    def release(self) -> None:
        """Lets go of the spool, which stays."""
        self.resending.close()
        self.reader.close()
        self._unclaim()

    def _unclaim(self) -> None:
        os.close(self._claim_fd)


def _event(record: Record) -> types_pb2.Event:
    said = json.loads(record.body)
    return types_pb2.Event(
        offset=record.offset,
        time_ns=record.first_time_ns,
        kind=str(said.get("kind", ""))[:100],
        message=str(said.get("message", ""))[:2000],
    )
