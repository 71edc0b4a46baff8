"""What turned out to be missing or damaged when a log was read is told with the log from then on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from joblog.errors import JoblogError
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import Store
from joblog.v1 import types_pb2

log = logging.getLogger(__name__)

EVENT_KIND = "bytes_missing"
# Of a log that lost everything, the first places are enough.
MAX_EVENTS = 100


class DamageNotes:
    """Writes an event for each range that can't be given back, once. Thread-safe; blocks."""

    def __init__(self, store: Store, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._store = store
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._known: set[tuple[int, int]] = set()

    def note(self, number: int, offset: int, end: int) -> None:
        """Bytes [offset, end) of the log are missing, though they were acked. A failure to say so is only logged."""
        with self._lock:
            if (number, offset) in self._known:
                return
            try:
                found = {event.offset for event in self._store.events(number) if event.kind == EVENT_KIND}
                if offset not in found and len(found) < MAX_EVENTS:
                    message = f"offsets {offset} to {end} are missing or damaged where they are kept"
                    changes = Changes()
                    changes.put_event(
                        number,
                        types_pb2.Event(offset=offset, time_ns=self._clock_ns(), kind=EVENT_KIND, message=message),
                    )
                    self._store.write(changes)
            except JoblogError as error:
                log.warning("log %d: an event can't be kept: %s", number, error)
                return
            if len(self._known) < MAX_EVENTS * MAX_EVENTS:
                self._known.add((number, offset))
