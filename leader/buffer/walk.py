"""One log's chunks as far as they can be read: each is held against its check, and what is damaged is passed over.

The store's own checksums of chunks are not asked for (see engine.py), so that a damaged one is a value like any other.
A damaged block of a table may hide keys, show wrong ones, or be unreadable: a key counts only with a value that fits
it, and what can't be passed in steps is jumped over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from joblog.errors import Corrupt, WrongVersion
from joblog.leader.buffer import keys
from joblog.leader.buffer.chunk import Chunk, said_length, unpack_stored
from joblog.leader.buffer.cursor import Source
from joblog.leader.buffer.damage import Damage


class Walk:
    """Moves among the chunks of log `number` in one source. What it passes over is told to `damage`."""

    def __init__(
        self, source: Source, number: int, damage: Damage, last: int | None = None, *, mendings: int | None = None
    ) -> None:
        """last: offset of the log's last chunk, where that is known. mendings: of before the source's moment."""
        self._mendings = damage.mendings if mendings is None else mendings
        self._cursor = source.cursor(keys.CHUNKS, keys.chunk_key(number + 1, 0))
        self._number = number
        self._prefix = keys.u64(number)
        self._damage = damage
        # The key at which the cursor is, and why it could not be moved, or a key does not count, the last time.
        self._here: bytes | None = None
        self._why = ""
        self._said_length = 0
        self._found: Chunk | None = None
        self._wrong: int | None = None
        self._last = last
        self._is_last_sure = False
        # Keys that did not count since the last one that did.
        self.passed: list[int] = []

    def chunks(self, from_offset: int) -> Iterator[Chunk]:
        """The chunks in order, from the one that holds from_offset or is the next."""
        # Nothing starts before offset 0, and looking back costs reading the chunk that is there.
        found = self.last_at(from_offset) if from_offset else None
        last, end = from_offset - 1, from_offset
        if found is not None:
            last, end = found[0], max(end, found[0] + found[1].raw_length)
            if end > from_offset:
                yield found
        self.passed.clear()
        found = self._reach(last + 1)
        while found is not None:
            self._tell(end, found[0])
            yield found
            last, end = found[0], found[0] + found[1].raw_length
            found = self._following(last, end)
        self._tell(end, None)

    def _following(self, last: int, end: int) -> Chunk | None:
        """The next chunk behind that at `last`, where the cursor is, which ends at `end`."""
        try:
            key = self._cursor.next()
            # Of a chunk that is damaged itself, the key stands where it should.
            while key is not None and self._is_key(key, end) and keys.number_of(key) == end:
                found = self._checked(end)
                if found is not None:
                    return found
                end += self._said_length
                key = self._cursor.next()
            if key is None and self._ends(last):
                return None
            if (
                key is not None
                and self._is_key(key, last + 1)
                and (found := self._checked(keys.number_of(key))) is not None
            ):
                return found
        except Corrupt as error:
            self._why = str(error)
        # A key of a damaged table may stand for any offset, and RocksDB passes over what then seems to lie before it.
        return self._reach(last + 1)

    def _ends(self, last: int) -> bool:
        """Whether the chunk at `last` is the log's last: a damaged key may pass for one of a later log."""
        if last != self._last and not self._is_last_sure:
            self._is_last_sure = True
            self._last = self._reach_back(keys.MAX_U64)
        return self._last is None or last >= self._last

    def _tell(self, end: int, following: int | None) -> None:
        """What was passed over lies between the chunk that ends at `end` and the following one."""
        why, self._why = self._why, ""
        if not why:
            return
        passed = [at for at in dict.fromkeys(self.passed) if at >= end and (following is None or at < following)]
        if not passed and following is not None and following > end:
            passed = [end]
        for at in passed:
            self._damage.found(self._number, at, why, self._mendings)
        self.passed.clear()

    def last_at(self, offset: int) -> Chunk | None:
        """The last chunk that starts at or before `offset`. passed: keys between them that do not count."""
        self._why = ""
        self.passed.clear()
        at, found = self._reach_back(offset), None
        while at is not None and found is None:
            try:
                found = self._checked(at)
            except Corrupt as error:
                self._why = str(error)
            at = self._before(at) if found is None else None
        for passed in self.passed:
            self._damage.found(self._number, passed, self._why, self._mendings)
        self._why = ""
        return found

    def first_offset(self) -> int | None:
        """Where the first key is, whatever its value."""
        try:
            key = self._cursor.seek(keys.chunk_key(self._number, 0))
        except Corrupt:
            key = None
        if key is not None and self._is_key(key, 0):
            return keys.number_of(key)
        found = self._reach(0)
        return None if found is None else found[0]

    def _checked(self, offset: int) -> Chunk | None:
        """What lies at the cursor, under the key of `offset`; None when it is not what was stored there."""
        value = self._cursor.value()
        try:
            header, sealed = unpack_stored(self._number, offset, value)
        except (Corrupt, WrongVersion) as error:
            self._why = str(error)
            self.passed.append(offset)
            self._said_length = said_length(value)
            return None
        self._damage.forget(self._number, offset, offset + header.raw_length)
        return offset, header, sealed

    def _before(self, offset: int) -> int | None:
        try:
            key = self._cursor.previous()
            if key is None or not key.startswith(self._prefix):
                return None
            if keys.number_of(key) < offset:
                return keys.number_of(key)
        except Corrupt:
            pass
        return self._reach_back(offset - 1) if offset else None

    def _is_key(self, key: bytes, least: int) -> bool:
        return len(key) == keys.CHUNK_KEY_BYTES and key.startswith(self._prefix) and keys.number_of(key) >= least

    def _reach(self, offset: int) -> Chunk | None:
        """The first chunk at or behind `offset` that can be reached; the cursor is there."""
        found, wrong = self._forward(offset)
        if wrong is None:
            return found
        # A key that is wrong itself may hide those that lie before where it seems to be.
        bad, step = offset, 1
        while (at := bad + step) < wrong:
            if self._try(self._finds, at) and self._narrow(self._finds, bad, at):
                return self._found
            bad, step = at, 2 * step
        return found if found is not None and self._try(self._finds, found[0]) else None

    def _forward(self, offset: int) -> tuple[Chunk | None, int | None]:
        """The first chunk behind all that does not count, and the first such key."""
        first: int | None = None
        while self._try(self._lands, offset) or self._lands_behind(offset):
            if self._wrong is None:
                return self._found, first
            first = self._wrong if first is None else first
            offset = self._wrong + 1
        return None, first

    def _lands_behind(self, offset: int) -> bool:
        """As near behind `offset` as can be."""
        bad, step = offset, 1
        while (at := bad + step) <= keys.MAX_U64:
            if self._try(self._lands, at) and self._narrow(self._lands, bad, at):
                return True
            bad, step = at, 2 * step
        return False

    def _lands(self, offset: int) -> bool:
        """Moves to `offset`: whether there is a key of the log, or its end. Then _found or _wrong is what is there."""
        self._found = self._wrong = None
        key = self._cursor.seek(keys.chunk_key(self._number, offset))
        if key is None:
            return self._ends(offset - 1)
        if not self._is_key(key, offset):
            return False
        at = keys.number_of(key)
        self._found = self._checked(at)
        self._wrong = at if self._found is None else None
        return True

    def _finds(self, offset: int) -> bool:
        return self._lands(offset) and self._found is not None

    def _reach_back(self, offset: int) -> int | None:
        """The last offset at or before `offset` with a key that can be reached; the cursor is there."""

        def goes(at: int) -> bool:
            key = self._cursor.seek_back(keys.chunk_key(self._number, at))
            self._here = key
            return key is None or (len(key) == keys.CHUNK_KEY_BYTES and key <= keys.chunk_key(self._number, at))

        is_there = self._try(goes, offset)
        bad, step = offset, 1
        while not is_there:
            at = bad - step
            if at < 0:
                return None
            is_there = self._try(goes, at) and self._narrow(goes, bad, at)
            bad, step = at, 2 * step
        key = self._here
        return keys.number_of(key) if key is not None and key.startswith(self._prefix) else None

    def _try(self, goes: Callable[[int], bool], at: int) -> bool:
        try:
            if goes(at):
                return True
            self._why = self._why or "its keys are out of order"
        except Corrupt as error:
            self._why = str(error)
        return False

    def _narrow(self, goes: Callable[[int], bool], bad: int, good: int) -> bool:
        """Goes as near to `bad` as can be. False where that fails now: what a damaged block does depends on the way."""
        while abs(good - bad) > 1:
            middle = (bad + good) // 2
            if self._try(goes, middle):
                good = middle
            else:
                bad = middle
        return self._try(goes, good)
