"""The logs that are there, and which of them are new: what was followed to its end before is not begun again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from joblog.worker.following.finished import Finished, FinishedLogs
from joblog.worker.following.follower import Follower
from joblog.worker.following.source import Found, Source
from joblog.worker.following.spools import spool_source
from joblog.worker.following.track import Track
from joblog.worker.following.trouble import Trouble


class Entry:
    """What is known of one log while its files are there.

    part: see Finished. place: where it begins; None: at the start. run_ns: the run that it is of, where its source
    tells runs apart.
    """

    __slots__ = (
        "begun",
        "end_known_at",
        "excluded",
        "follower",
        "found",
        "part",
        "place",
        "retry_at",
        "run_ns",
        "track",
        "trouble",
    )

    def __init__(self, found: Found, part: int = 1, place: object = None) -> None:
        self.found = found
        self.part = part
        self.place = place
        self.run_ns = 0
        self.follower: Follower | None = None
        self.track: Track | None = None
        self.begun = False
        self.excluded = ""
        self.retry_at = 0.0
        self.end_known_at = 0.0
        self.trouble = Trouble()

    @property
    def id(self) -> str:
        """By this its spool is known again."""
        return spool_source(self.found.key, self.part)

    def set_run(self, run_ns: int) -> None:
        """The run that it is of."""
        self.run_ns = run_ns
        self.found = self.found.of(run_ns)

    def see(self, found: Found) -> None:
        """Goes by what its source says now."""
        if found.runs and not self.run_ns:
            # One that is followed was begun when nobody knew the run.
            self.run_ns = found.run_after(0) if self.track is None else self.track.writer.task.started_ns
        self.found = found.of(self.run_ns)

    @property
    def is_held(self) -> bool:
        """Whether something of it is held or written."""
        return self.begun or (self.follower is not None and bool(self.follower.files))


class Entries:
    """By key. finished: those that were followed to their end. has_spool: whether there is a spool by this id."""

    def __init__(self, sources: Sequence[Source], finished: FinishedLogs, has_spool: Callable[[str], bool]) -> None:
        self._sources = sources
        self._finished = finished
        self._has_spool = has_spool
        self._logs: dict[str, Entry] = {}

    def get(self, key: str) -> Entry | None:
        """One of them."""
        return self._logs.get(key)

    def all(self) -> list[Entry]:
        """All of them."""
        return list(self._logs.values())

    def __contains__(self, key: str) -> bool:
        return key in self._logs

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._logs))

    def drop(self, key: str) -> None:
        """Forgets one; it is found again while its files are there."""
        self._logs.pop(key, None)

    def source(self, entry: Entry) -> Source:
        """Who found it."""
        return next(source for source in self._sources if source.is_mine(entry.found.key))

    def take_in(self, found: Iterable[Found], failing: Sequence[Source]) -> list[Entry]:
        """Notes what is there now; returns the logs that are new. failing: sources that could not look."""
        fresh = []
        keys = set()
        for item in found:
            keys.add(item.key)
            known = self._logs.get(item.key)
            if known is not None:
                known.see(item)
            elif (entry := self._begun(item)) is not None:
                self._logs[item.key] = entry
                fresh.append(entry)
        kept = [*failing, *(source for source in self._sources if source.recurring)]
        for key, known in list(self._logs.items()):
            # A log that is being followed is over only when it has ended.
            is_over = known.track is None and (known.excluded or not known.is_held)
            if key not in keys and is_over and not any(source.is_mine(key) for source in failing):
                del self._logs[key]
        # Of keys that may come again it is kept how often they did.
        others = {key for key in self._finished.known() if any(source.is_mine(key) for source in kept)}
        self._finished.forget_others(keys | self._logs.keys() | others)
        return fresh

    def _begun(self, found: Found) -> Entry | None:
        """A log that is not followed; None where there is none to follow."""
        entry = Entry(found)
        before = self._finished.get(found.key)
        if before is None or self._has_spool(spool_source(found.key, before.part)):
            entry.part = before.part if before is not None else 1
            entry.set_run(found.run_after(0))
            return entry
        entry.part = before.part + 1
        if found.runs:
            entry.place = before.place
            entry.set_run(found.run_after(before.run_ns))
            return entry if entry.run_ns or self._has_spool(entry.id) else None
        if self.source(entry).recurring:
            return entry
        if before.proven or not _has_more(found, before):
            return None
        entry.place = before.place
        return entry


def _has_more(found: Found, before: Finished) -> bool:
    """Whether something came behind the place where a log was ended for being quiet."""
    try:
        status = os.stat(found.path)
        place: Any = before.place
        return (status.st_dev, status.st_ino) != tuple(place["key"]) or status.st_size != place["at"]
    except (OSError, KeyError, TypeError):
        return False
