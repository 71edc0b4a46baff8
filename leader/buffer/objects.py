"""Archive objects as the store knows them: what names them, which nothing names, and of which a lock keeps versions."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from joblog.leader.buffer import keys
from joblog.leader.buffer.cursor import scan
from joblog.leader.buffer.engine import Engine, Operations


class UnusedObject(NamedTuple):
    """An archive object that may be there and that nothing names, since `since_ns`."""

    key: str
    since_ns: int


class ObjectTable:
    """What is known of archive objects. Nothing here asks the archive. All methods may be called from any thread.

    What names an object changes with Store.write(), which counts it: see extents.py.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def uses(self, object_key: str) -> int:
        """How many extents and logs name an object; it may go when there are none."""
        value = self._engine.get(keys.INDEX, keys.uses_key(object_key))
        return 0 if value is None else keys.number_of(value)

    def roster_of(self, number: int) -> str | None:
        """The object that holds the log's identity and wrapped DEK while it is live."""
        value = self._engine.get(keys.INDEX, keys.roster_key(number))
        return None if value is None else value.decode()

    def unused(self, limit: int = 1000, after: str = "") -> list[UnusedObject]:
        """Objects that may be there and that nothing names, by key, those beyond `after`.

        One that is just being put is among them.
        """
        prefix = keys.unused_prefix()
        begin = keys.unused_key(after) + b"\0" if after else prefix
        found = islice(scan(self._engine, keys.INDEX, begin, keys.after(prefix)), limit)
        return [UnusedObject(keys.object_of(key), keys.number_of(value)) for key, value in found]

    def release_locked(self, now_ns: int, limit: int = 1000) -> int:
        """Has those objects looked at again whose lock is over by then; how many."""
        prefix = keys.locked_prefix()
        found = [key for key, _ in islice(scan(self._engine, keys.INDEX, prefix, keys.locked_key(now_ns, "")), limit)]
        puts = []
        for key in found:
            object_key = keys.parse_locked_key(key)[1]
            # One that is in use again has its older versions deleted with it.
            if not self.uses(object_key):
                puts.append((keys.INDEX, keys.unused_key(object_key), keys.u64(0)))
        if found:
            self._engine.write(Operations([], [(keys.INDEX, key) for key in found], puts))
        return len(found)

    def count_locked(self, limit: int) -> int:
        """How many objects are deleted, and of which a lock keeps versions; up to `limit`."""
        prefix = keys.locked_prefix()
        return sum(1 for _ in islice(scan(self._engine, keys.INDEX, prefix, keys.after(prefix)), limit))
