"""Keeps live logs' identities and wrapped keys in rosters: new ones are written in time, old ones kept few."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from joblog.errors import Conflict, Corrupt, Denied, InvalidInput, NotFound, WrongVersion
from joblog.leader.archive import failpoints
from joblog.leader.archive.context import ArchiveContext
from joblog.leader.archive.layout import roster_key
from joblog.leader.archive.roster import pack_roster
from joblog.leader.buffer.changes import Changes

log = logging.getLogger(__name__)

# When live logs are spread over more rosters, all of them go into a new one.
MAX_ROSTERS = 32


class Rosters:
    """Which roster holds which live log. Used by one thread at a time, but for outdated(); blocks.

    refresh_seconds: refresh() puts no more than one roster in that time.
    """

    def __init__(
        self, context: ArchiveContext, *, refresh_seconds: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._context = context
        self._refresh_seconds = refresh_seconds
        self._clock = clock
        # A log may have been deleted in the leader's last life too.
        self._is_outdated = True
        self._refreshed_at: float | None = None
        self._store = context.store
        self._known: dict[int, str] | None = None
        self.put_bytes = 0

    def outdated(self) -> None:
        """A log was deleted, which a roster may still name: a rebuild would bring it back. Called from any thread."""
        self._is_outdated = True

    def refresh(self) -> None:
        """Where a log was deleted: puts the live logs in a new roster, so that the old ones are not needed any more."""
        now = self._clock()
        recently = self._refreshed_at is not None and now - self._refreshed_at < self._refresh_seconds
        if not self._is_outdated or recently:
            return
        self._is_outdated = False
        try:
            known = self._load()
            self._forget_closed(known)
            self._put(sorted(known), known)
        except BaseException:
            self._is_outdated = True
            raise
        self._refreshed_at = now

    def add(self, numbers: Sequence[int]) -> set[int]:
        """Puts those of these live logs in a roster that are in none; returns once it is committed.

        At most one is put. Gives the logs that are in none even so: they were deleted, or their keys don't open.
        """
        known = self._load()
        missing = [number for number in numbers if number not in known]
        if not missing:
            return set()
        self._forget_closed(known)
        if len(set(known.values())) >= MAX_ROSTERS:
            missing = sorted({*missing, *known})
        self._put(missing, known)
        return {number for number in numbers if number not in known}

    def _forget_closed(self, known: dict[int, str]) -> None:
        open_numbers = set(self._store.open_numbers())
        for number in [number for number in known if number not in open_numbers]:
            del known[number]

    def _put(self, missing: Sequence[int], known: dict[int, str]) -> None:
        described = [(number, document) for number in missing if (document := self._describe(number))]
        if not described:
            return
        data = pack_roster(document for _, document in described)
        key = roster_key(self._store.store_id, self._context.claim.next_sequence())
        with self._context.busy.all([key]):
            self._context.putter.announce([key])
            failpoints.reach("roster.announced")
            self._context.putter.put_new(key, [data])
            failpoints.reach("roster.put")
            self._commit([number for number, _ in described], key, known)
        self.put_bytes += len(data)
        failpoints.reach("roster.committed")

    def _describe(self, number: int) -> bytes | None:
        try:
            return self._context.describer.live(number)
        except (Corrupt, Denied, InvalidInput, NotFound, WrongVersion) as error:
            log.error("log %d stays in the buffer: %s", number, error)
            return None

    def _load(self) -> dict[int, str]:
        if self._known is None:
            found = ((number, self._store.objects.roster_of(number)) for number in self._store.open_numbers())
            self._known = {number: key for number, key in found if key is not None}
        return self._known

    def _commit(self, numbers: Sequence[int], key: str, known: dict[int, str]) -> None:
        while numbers:
            changes = Changes()
            for number in numbers:
                changes.put_roster(number, key)
            try:
                self._store.write(changes)
            except Conflict:
                deleted = self._store.deleted_among(numbers)
                if not deleted:
                    raise
                numbers = [number for number in numbers if number not in deleted]
            else:
                known.update(dict.fromkeys(numbers, key))
                return
