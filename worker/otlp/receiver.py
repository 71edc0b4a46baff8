"""Writes what came into the spools of its logs, each record once, whatever senders try again."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from joblog.errors import JoblogError, Unavailable
from joblog.identity import new_run_id
from joblog.worker.following.outcome import outcome_of
from joblog.worker.following.spools import PART, FollowedSpools, key_of_source
from joblog.worker.otlp.records import Part
from joblog.worker.spool.followed import FollowedWriter
from joblog.worker.spool.pieces import Piece, append_piece, pieces
from joblog.worker.spool.sealing import SpoolKey

log = logging.getLogger(__name__)

# Parts of requests that a log remembers. A sender tries one again before it sends its next; many share a log at times.
_REMEMBERED = 32
# How long the keys of sealed spools that were left are waited for.
_KEYS_SECONDS = 60.0


class _Log:
    """One that is open. begun: the part of which `done` bytes are written, and the rest is not."""

    __slots__ = ("begun", "done", "heard_at", "last_ns", "taken", "writer")

    def __init__(self, writer: FollowedWriter) -> None:
        self.writer = writer
        self.taken: deque[str] = deque(maxlen=_REMEMBERED)
        self.begun = ""
        self.done = 0
        self.last_ns = 0
        self.heard_at = time.monotonic()
        if writer.recovered is not None:
            self._resume(writer.recovered.position)
            self.last_ns = writer.recovered.last_time_ns

    @property
    def source(self) -> str:
        """By this its spool is known again."""
        return self.writer.task.source

    def _resume(self, position: bytes) -> None:
        try:
            said = json.loads(position or b"{}")
            self.taken.extend(str(digest) for digest in said.get("taken", []))
            self.begun, self.done = str(said.get("begun", "")), int(said.get("done", 0))
        except (ValueError, TypeError, AttributeError):
            log.warning("%s: what it remembers of requests can't be read", self.writer.folder)

    def position(self) -> bytes:
        return json.dumps({"taken": list(self.taken), "begun": self.begun, "done": self.done}).encode()


@dataclass(frozen=True, slots=True)
class ReceiveLimits:
    """max_logs: open at once. quiet_seconds: after so long without a record a log ends."""

    max_logs: int
    quiet_seconds: float


class Receiver:
    """Belongs to one thread. spools: of received logs alone. adopt: told of each new spool, so that it is shipped."""

    def __init__(self, spools: FollowedSpools, limits: ReceiveLimits, adopt: Callable[[str], None]) -> None:
        self._spools = spools
        self._limits = limits
        self._adopt = adopt
        self._logs: dict[str, _Log] = {}
        self._began = time.monotonic()
        spools.look()
        self._take_up()

    def _take_up(self) -> None:
        """Opens the logs that were left, where they are not ended."""
        known = {entry.source for entry in self._logs.values()}
        for source, writer in self._spools.left(known):
            if writer is not None:
                self._logs[key_of_source(source)] = _Log(writer)

    def take(self, parts: Mapping[str, Part], key: SpoolKey | None) -> None:
        """Writes parts of a request. Raises Unavailable where there is no room now, OutOfSpace, InvalidInput: what
        was written by then is not written again when the request comes again.
        """
        self._find_sealed()
        for source, part in parts.items():
            self._write(self._open(source, part, key), part)

    def _find_sealed(self) -> None:
        if self._spools.unread:
            self._spools.look(set(self._spools.unread))
            self._take_up()
            # A log whose spool may be among them must not get a second one.
            if self._spools.unread and time.monotonic() - self._began < _KEYS_SECONDS:
                raise Unavailable("the keys of this worker's spools are on their way")

    def _open(self, source: str, part: Part, key: SpoolKey | None) -> _Log:
        if (found := self._logs.get(source)) is not None:
            return found
        if len(self._logs) >= self._limits.max_logs:
            raise Unavailable(f"{self._limits.max_logs} logs are open, as many as otlp.max_logs allows")
        # The spool of the one before may still be there.
        own = f"{source}{PART}{new_run_id()}"
        writer = self._spools.make(own, part.target, 1, key, is_certain=False)
        found = self._logs[source] = _Log(writer)
        self._adopt(writer.spool_id)
        return found

    def _write(self, entry: _Log, part: Part) -> None:
        entry.heard_at = time.monotonic()
        digest = part.digest
        if digest and digest in entry.taken:
            return
        size = sum(len(line.data) for line in part.lines)
        if not (digest and digest == entry.begun):
            entry.begun, entry.done = digest, 0
        for piece in pieces(part.lines, entry.done, entry.writer.record_bytes):
            before = entry.begun, entry.done
            if piece.end == size:
                entry.begun, entry.done = "", 0
                if digest:
                    entry.taken.append(digest)
            else:
                entry.done = piece.end
            if not self._append(entry, piece):
                if piece.end == size and digest:
                    entry.taken.pop()
                entry.begun, entry.done = before
                raise Unavailable(f"the spool of {entry.writer.task.run}/{entry.writer.task.task} is full")

    @staticmethod
    def _append(entry: _Log, piece: Piece) -> bool:
        last_ns = append_piece(entry.writer, piece, entry.last_ns, entry.position())
        if last_ns is not None:
            entry.last_ns = last_ns
        return last_ns is not None

    def end_quiet(self) -> None:
        """Ends logs for which nothing has come for long."""
        now = time.monotonic()
        seconds = self._limits.quiet_seconds
        for key, entry in list(self._logs.items()):
            if now - entry.heard_at < seconds:
                continue
            writer = entry.writer
            try:
                ended = writer.end(outcome_of(None, f"nothing came for {seconds:g} s", writer.task.started_ns))
            except (OSError, JoblogError) as error:
                log.error("%s: can't be ended now: %s", writer.folder, error)
                # It is tried again when it has been quiet for as long again.
                entry.heard_at, ended = now, False
            if ended:
                del self._logs[key], self._spools.by_source[entry.source]

    def close(self) -> None:
        """Lets go of all logs; they go on where they are taken up again."""
        for entry in self._logs.values():
            entry.writer.close()
        self._logs.clear()
