"""What the store remembers of logs that are not completed, and what it checks by that before a write."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from joblog.errors import Conflict
from joblog.leader.buffer import keys
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import GAP_CHUNK_BYTES, unpack_header
from joblog.leader.buffer.damage import Damage
from joblog.leader.buffer.engine import Engine, Operations
from joblog.leader.buffer.extents import read_extents
from joblog.leader.buffer.ledger import read_log
from joblog.leader.buffer.view import Head
from joblog.v1 import types_pb2


class OpenLogs:
    """Logs that are known to be there and not completed, so that a chunk costs no look-up; filled as they are met.

    Changed only in the callbacks of Engine.write(), which are never called by two threads at once; read by any thread.
    """

    def __init__(self, engine: Engine, damage: Damage) -> None:
        self._engine = engine
        self._damage = damage
        self._numbers: set[int] = set()
        # Their last chunks: (offset, the value's first bytes).
        self._tails: dict[int, tuple[int, bytes]] = {}
        # How often a range of a log's chunks was replaced by a gap, or came back, since the store was opened.
        self._rewrites: dict[int, int] = {}
        # Bytes of chunks that were put since the store was opened.
        self.put_bytes = 0

    def tail(self, number: int) -> Head | None:
        """(offset, header) of the chunk that was written to the log last, where that is known."""
        tail = self._tails.get(number)
        return None if tail is None else (tail[0], unpack_header(tail[1]))

    def rewrites(self, number: int) -> int:
        """How often a range of the log became a gap or came back."""
        return self._rewrites.get(number, 0)

    def without(self, numbers: Iterable[int]) -> set[int]:
        """Those of `numbers` of which it is not known that they are open."""
        return set(numbers) - self._numbers

    def commit(self, changes: Changes, operations: Operations, deleted: set[int]) -> None:
        """Does the write, not synced: the chunks of `changes`, and `operations` for all else that is in it.

        deleted: the logs that it deletes. Raises Conflict, and what Engine.write() does.
        """
        tails: dict[int, tuple[int, bytes]] = {}
        for number, offset, value in changes.chunks:
            if number not in tails or offset >= tails[number][0]:
                tails[number] = offset, value[:GAP_CHUNK_BYTES]
        needed = ((tails.keys() | changes.numbers()) - changes.logs.keys()) | changes.required

        def check() -> None:
            self._check_there(needed, deleted)
            self._check_guards(changes)

        def done() -> None:
            self._note(changes, tails, deleted)
            self._note_mended(changes, deleted)

        self._engine.write(operations, changes.chunks, check, done)

    def _check_there(self, needed: set[int], deleted: set[int]) -> None:
        for number in needed - self._numbers:
            record = None if number in deleted else read_log(self._engine, number)
            if record is None:
                raise Conflict(f"log number {number} is not there: it was deleted, or its record was never written")
            if record.state != types_pb2.LOG_STATE_COMPLETED:
                self._numbers.add(number)

    def _check_guards(self, changes: Changes) -> None:
        for number, rewrites in changes.guards.items():
            if self.rewrites(number) != rewrites:
                raise Conflict(f"log number {number}: a range was replaced meanwhile; read it again")
        for number, (begin, end) in changes.refilled.items():
            record = None if number in self._numbers else read_log(self._engine, number)
            if record is not None and record.tier == types_pb2.TIER_ARCHIVE:
                raise Conflict(f"log number {number} is sealed: nothing is added to it")
            if any(extent.offset < end for extent in islice(read_extents(self._engine, number, begin), 1)):
                raise Conflict(f"log number {number}: what was missing is in the archive meanwhile")

    def _note(self, changes: Changes, tails: dict[int, tuple[int, bytes]], deleted: set[int]) -> None:
        completed = {n for n, record in changes.logs.items() if record.state == types_pb2.LOG_STATE_COMPLETED}
        self._numbers |= changes.logs.keys() - completed
        self._numbers -= completed | deleted
        # Of a log that is over its limit the middle goes for what is added at its end; a gap alone tells of no end.
        ends = {number: offset for number, (offset, _) in tails.items()}
        limited = {number for number, gap, _ in changes.gap_drops if ends.get(number, 0) >= gap.offset + gap.length}
        limited -= changes.refilled.keys()
        dropping = changes.dropping() - limited
        self._forget_tails(changes, completed | deleted | (tails.keys() & dropping) - changes.refilled.keys())
        rewritten = changes.rewritten()
        for number in rewritten:
            self._rewrites[number] = self.rewrites(number) + 1
        # Not of one that is completed only: a flush that has read it before may still be under way.
        for number in _sealed(changes) | deleted:
            self._rewrites.pop(number, None)
        self.put_bytes += changes.size_bytes
        # What is put beside a drop may stand in the middle of the log, as the gap for it does; so does what came again.
        for number in (tails.keys() & self._numbers) - dropping - (rewritten - limited):
            if tails[number][0] >= self._tails.get(number, tails[number])[0]:
                self._tails[number] = tails[number]

    def _forget_tails(self, changes: Changes, numbers: set[int]) -> None:
        """Those of the logs, and those that are dropped; of others the end is still to be known if it is damaged."""
        for number in numbers:
            self._tails.pop(number, None)
        dropped = [(number, offset, offset + 1) for number, offset in changes.single_drops]
        for number, begin, before in (*changes.chunk_drops, *dropped):
            tail = self._tails.get(number)
            # What is dropped for what came again is nobody's last chunk, or had the end that the log has still.
            if tail is not None and begin <= tail[0] < before and number not in changes.refilled:
                del self._tails[number]

    def _note_mended(self, changes: Changes, deleted: set[int]) -> None:
        damage, gone = self._damage, _sealed(changes) | deleted
        damage.mended(changes.rewritten() | gone)
        if not damage.count:
            return
        for number, offset, _ in changes.chunks:
            damage.forget(number, offset, offset + 1)
        for number, begin, before in changes.chunk_drops:
            damage.forget(number, begin, before)
        for number, offset in changes.single_drops:
            damage.forget(number, offset, offset + 1)
        for number in gone:
            damage.forget(number, 0, keys.MAX_U64)


def _sealed(changes: Changes) -> set[int]:
    return {number for number, record in changes.logs.items() if record.tier == types_pb2.TIER_ARCHIVE}
