"""Follows the journal, and goes on where it was after every end of journalctl or of this worker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from joblog.errors import JoblogError, OutOfSpace, Unavailable
from joblog.service import Service
from joblog.worker.journald.cursor import Cursor
from joblog.worker.journald.entry import JournalEntry
from joblog.worker.journald.place import ReadPlace
from joblog.worker.journald.reader import JournalPlace, JournalReader
from joblog.worker.journald.recorder import Recorder
from joblog.worker.spool.sealing import SpoolKey

log = logging.getLogger(__name__)

_SWEEP_SECONDS = 0.5
_RETRY_SECONDS = 0.25
_MIN_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.5, 30.0
_GONE = (
    "entries of the journal were deleted before they were read: what the unit printed there is missing; nobody knows "
    "how much"
)
_TOO_LONG = "an entry of the journal that is too long to be read was left out; nobody knows whose"


class JournalService(Service):
    """recorder: made in the thread that it then belongs to. spool_key: what new spools are sealed with; None: they are
    not. units_wanted: False: nothing is read, and what is open ends.
    """

    name = "journald"

    def __init__(
        self,
        program: str,
        place: JournalPlace,
        read_place: ReadPlace,
        recorder: Callable[[], Recorder],
        spool_key: Callable[[], Awaitable[SpoolKey]] | None,
        *,
        units_wanted: bool = True,
    ) -> None:
        self._program = program
        self._place = place
        self._read_place = read_place
        self._make = recorder
        self._spool_key = spool_key
        self._units_wanted = units_wanted
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="journald")
        self._recorder: Recorder
        # What is wrong now, by what it is wrong with.
        self._complaints: dict[str, str] = {}
        # Entries are deleted unread only where they had to wait.
        self._waited = False

    async def _in_thread(self, call: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._writing, call, *arguments)

    async def start(self) -> None:
        """Takes up the logs that were left."""
        self._recorder = await self._in_thread(self._make)

    async def run(self) -> None:
        """Reads until it is stopped, and ends what has ended."""
        if not self._units_wanted:
            await self._in_thread(lambda: self._recorder.end_ended(why="this worker follows the journal no more"))
            await asyncio.Event().wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep())
            group.create_task(self._follow())

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                await self._in_thread(self._recorder.end_ended)
                self._complaints.pop("ending", None)
            except (OSError, JoblogError) as error:
                self._complain("ending", str(error))

    async def _follow(self) -> None:
        pause = _MIN_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            reader = JournalReader(self._program, self._place, self._read_place.cursor)
            try:
                await reader.start()
                await self._read(reader)
            except (OSError, JoblogError) as error:
                self._complain("reading", f"the journal can't be read now: {error}")
            finally:
                await reader.stop()
            pause = _MIN_PAUSE_SECONDS if time.monotonic() - began > pause else min(2 * pause, _MAX_PAUSE_SECONDS)
            await asyncio.sleep(pause)

    async def _read(self, reader: JournalReader) -> None:
        last = self._read_place.cursor
        log.info("journald: follows the journal from %s", last.text if last is not None else self._place.since)
        first, began_ns = True, time.time_ns()
        too_long = 0
        while True:
            entries = await reader.read()
            if not entries:
                continue
            if first:
                first = False
                entries = await self._begin(last, entries, began_ns)
            if reader.too_long > too_long:
                too_long = reader.too_long
                await self._in_thread(self._recorder.lose, _TOO_LONG)
            await self._find_gaps(last, entries)
            if entries:
                await self._take(entries)
                last = entries[-1].cursor
            self._complaints.pop("reading", None)

    async def _begin(self, last: Cursor | None, entries: list[JournalEntry], began_ns: int) -> list[JournalEntry]:
        """The entries behind where reading is to begin."""
        if last is None:
            if self._place.since != "now":
                return entries
            await self._in_thread(self._recorder.lose, "the journal was not read before")
            if entries[0].time_ns > began_ns:
                return entries
            self._read_place.note(entries[0].cursor)
            return entries[1:]
        if entries[0].cursor.is_same(last):
            return entries[1:]
        await self._in_thread(self._recorder.lose, _GONE)
        return entries

    async def _find_gaps(self, last: Cursor | None, entries: list[JournalEntry]) -> None:
        """Where reading was held up, entries may have been deleted: those of one writer are numbered."""
        if not self._waited:
            return
        self._waited = False
        for entry in entries:
            if last is not None and last.sequence == entry.cursor.sequence and entry.cursor.number > last.number + 1:
                await self._in_thread(self._recorder.lose, _GONE)
                return
            last = entry.cursor

    async def _take(self, entries: list[JournalEntry]) -> None:
        while True:
            try:
                key = await self._spool_key() if self._spool_key is not None else None
                await self._in_thread(self._recorder.take, entries, key)
                break
            except (Unavailable, OutOfSpace) as error:
                # The journal has it.
                self._waited = True
                self._complain("reading", str(error))
                await asyncio.sleep(_RETRY_SECONDS)
        await self._in_thread(self._read_place.note, entries[-1].cursor)

    def _complain(self, about: str, complaint: str) -> None:
        if complaint != self._complaints.get(about):
            self._complaints[about] = complaint
            log.warning("journald: %s", complaint)

    async def stop(self) -> None:
        """Lets go of the logs where they are."""
        await self._in_thread(self._recorder.close)
        await self._in_thread(self._read_place.write)
        self._writing.shutdown()
