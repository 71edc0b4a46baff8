"""Events on their way to the audit log: bounded, in order, acts alike counted in one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from joblog.errors import Unavailable
from joblog.formats import rfc3339_nano
from joblog.leader.access.audit import AuditEvent
from joblog.leader.access.audit_line import LOST
from joblog.leader.access.principal import Principal

# Acts alike within it are one line, apart from the first.
ALIKE_SECONDS = 60.0
MAX_WAITING = 10_000
MAX_KINDS = 10_000
# Of callers that nobody knows, so many addresses are told apart at a time.
MAX_STRANGERS = 50

LEADER = Principal("leader", "leader", "")
_Kind = tuple[str, ...]


@dataclass(slots=True, eq=False)
class Entry:
    """What becomes a line. count: so many acts. done: who waits for it to be on disk."""

    event: AuditEvent
    time_ns: int
    count: int = 1
    done: asyncio.Future[None] | None = None


@dataclass(slots=True)
class _Alike:
    """Acts of a kind after the first one, which has its own line."""

    event: AuditEvent
    until_ns: int
    first_ns: int = 0
    last_ns: int = 0
    count: int = 0

    def entry(self) -> Entry:
        detail = {**self.event.detail, "last": rfc3339_nano(self.last_ns)}
        return Entry(replace(self.event, detail=detail), self.first_ns, self.count)


class AuditQueue:
    """Belongs to the event loop. lost: events for which there was no room since that was last written."""

    def __init__(
        self,
        clock_ns: Callable[[], int],
        *,
        alike_seconds: float = ALIKE_SECONDS,
        max_waiting: int = MAX_WAITING,
        max_kinds: int = MAX_KINDS,
    ) -> None:
        self.lost = 0
        self.records = 0
        self._clock_ns = clock_ns
        self._alike_ns = int(alike_seconds * 1e9)
        self._max_waiting = max_waiting
        self._max_kinds = max_kinds
        self._waiting: deque[Entry] = deque()
        # The oldest comes first: all wait equally long.
        self._kinds: dict[_Kind, _Alike] = {}
        self._strangers = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, event: AuditEvent) -> None:
        """Takes an event that nobody waits for."""
        now = self._clock_ns()
        self.ripen(now)
        if event.principal is None and self._strangers >= MAX_STRANGERS and _kind(event) not in self._kinds:
            event = replace(event, subject="", peer="", detail={"from": "many addresses"})
        kind = _kind(event)
        alike = self._kinds.get(kind)
        if alike is not None:
            alike.first_ns = alike.first_ns or now
            alike.last_ns = now
            alike.count += 1
            return
        if len(self._waiting) >= self._max_waiting or len(self._kinds) >= self._max_kinds:
            self.lost += 1
            return
        self._kinds[kind] = _Alike(event, now + self._alike_ns)
        self._strangers += event.principal is None
        self._waiting.append(Entry(event, now))

    def record(self, event: AuditEvent) -> asyncio.Future[None]:
        """Takes an event; done when it is on disk. Raises Unavailable when too many wait."""
        if len(self._waiting) >= 2 * self._max_waiting:
            raise Unavailable("too much waits to be written to the audit log: try again")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(Entry(event, self._clock_ns(), 1, done))
        self.records += 1
        return done

    def ripen(self, now_ns: int, *, all_of_them: bool = False) -> None:
        """What was counted and whose time is over waits to be written from now on."""
        while self._kinds:
            kind, alike = next(iter(self._kinds.items()))
            if not all_of_them and alike.until_ns > now_ns and alike.until_ns - now_ns <= self._alike_ns:
                return
            del self._kinds[kind]
            self._strangers -= alike.event.principal is None
            if alike.count:
                self._waiting.append(alike.entry())

    def take(self, limit: int) -> list[Entry]:
        """The next ones to write, the number of lost ones among them."""
        entries = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
        self.records -= sum(entry.done is not None for entry in entries)
        if self.lost:
            event = AuditEvent(LOST, LEADER, "failed", f"{self.lost} events not kept")
            entries.append(Entry(event, self._clock_ns(), self.lost))
            self.lost = 0
        return entries

    def put_back(self, entries: list[Entry]) -> None:
        """They could not be written yet, and are the next ones again."""
        for entry in reversed(entries):
            if entry.event.action == LOST:
                self.lost += entry.count
            else:
                self._waiting.appendleft(entry)
                self.records += entry.done is not None


def _kind(event: AuditEvent) -> _Kind:
    """What acts alike have in common."""
    who = event.principal
    if who is None:
        return event.action, event.outcome, "", event.peer.rpartition(":")[0]
    return event.action, event.outcome, who.kind, who.id, who.name, event.subject
