"""Finds logs that lie in files, follows each to its end, and takes them all up again after a restart."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from joblog.errors import Conflict, JoblogError, NotFound
from joblog.service import Service
from joblog.worker.following.entries import Entries, Entry
from joblog.worker.following.finished import Finished, FinishedLogs
from joblog.worker.following.follower import Follower
from joblog.worker.following.lane import RESCAN_SECONDS, Lane
from joblog.worker.following.outcome import outcome_of
from joblog.worker.following.place import decode_place
from joblog.worker.following.rates import Rates
from joblog.worker.following.source import Found, Source
from joblog.worker.following.spools import FollowedSpools, key_of_source
from joblog.worker.following.track import Track
from joblog.worker.following.watching import FolderWatch
from joblog.worker.kubernetes.pods import ContainerEnd, Excluded, NotYet
from joblog.worker.spool.bound import SharedBounds
from joblog.worker.spool.followed import FollowedWriter
from joblog.worker.spool.sealing import SpoolKey

log = logging.getLogger(__name__)

# Changes that come together are looked at once: so long lies between two looks.
_SETTLE_SECONDS = 0.02
# A log ends when nothing has come for so long after its end was known: what was printed last may still be on its way.
END_SETTLE_SECONDS = 2.0
# How long the way in which a container ended is waited for, where somebody may still tell it.
END_WAIT_SECONDS = 10.0
_OPEN_AT_ONCE = 64
# How long the keys of sealed spools that were left are waited for.
_KEYS_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class FollowLimits:
    """lanes: threads that read. held_bytes: see Lane. quiet_seconds: a log for which nothing came for so long is ended,
    where nobody can tell whether what writes it has; 0: never.
    """

    bounds: SharedBounds
    held_bytes: int = 256 << 20
    quiet_seconds: float = 3600.0
    lanes: int = 2
    rates: Mapping[str, int] = field(default_factory=dict)
    host: str = ""


class FollowingService(Service):
    """Follows the logs of all sources. spool_key: what new spools are sealed with; None: they are not. keys: finds the
    key of one that is there. adopt: told of each spool that is new or taken up, so that it is shipped. is_watched:
    see Track.
    """

    name = "following"

    def __init__(
        self,
        sources: Sequence[Source],
        spool_root: Path,
        state: Path,
        limits: FollowLimits,
        *,
        spool_key: Callable[[], Awaitable[SpoolKey]] | None,
        keys: Callable[[str], SpoolKey | None],
        adopt: Callable[[str], None],
        is_watched: Callable[[str], bool],
        secret: bytes,
    ) -> None:
        self._sources = sources
        self._limits = limits
        self._spool_key = spool_key
        self._adopt = adopt
        self._is_watched = is_watched
        self._spools = FollowedSpools(spool_root, limits.bounds, keys, secret, host=limits.host)
        self._rates = Rates(limits.rates)
        self._finished = FinishedLogs(state)
        self._logs = Entries(sources, self._finished, self._spools.by_source.__contains__)
        self._failing: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._changed_folders: set[str] = set()
        self._watch = FolderWatch(self._on_change)
        self._lanes: list[Lane] = []
        self._beginning: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop
        self._refusals: set[str] = set()
        self._began = 0.0

    async def start(self) -> None:
        """Takes stock of the spools that were left, before anybody ships them."""
        self._loop = asyncio.get_running_loop()
        self._began = time.monotonic()
        await asyncio.to_thread(self._spools.look)
        self._lanes = [
            Lane(number, self._over, held_bytes=self._limits.held_bytes // self._limits.lanes)
            for number in range(self._limits.lanes)
        ]
        for lane in self._lanes:
            lane.start()
        self._watch.start()

    async def run(self) -> None:
        """Looks for logs again and again, at once where something changed."""
        told = False
        while True:
            began = time.monotonic()
            self._changed.clear()
            folders, self._changed_folders = self._changed_folders, set()
            await self._look(folders)
            if not told:
                told = True
                log.info("following: collects from %s", ", ".join(source.name for source in self._sources) or "nothing")
            try:
                async with asyncio.timeout(RESCAN_SECONDS):
                    await self._changed.wait()
                await asyncio.sleep(max(0.0, began + _SETTLE_SECONDS - time.monotonic()))
            except TimeoutError:
                continue

    async def stop(self) -> None:
        """Lets go of all logs where they are."""
        await self._watch.stop()
        for task in self._beginning:
            task.cancel()
        await asyncio.gather(*self._beginning, return_exceptions=True)
        await asyncio.to_thread(self._stop_lanes)
        for entry in self._logs.all():
            if entry.follower is not None and entry.track is None:
                entry.follower.close()

    def _stop_lanes(self) -> None:
        for lane in self._lanes:
            lane.stop()

    def _on_change(self, folder: str) -> None:
        self._changed_folders.add(folder)
        self._changed.set()

    # Looking

    async def _look(self, folders: set[str]) -> None:
        if self._spools.unread:
            # A log whose spool may be among them must not get a second one.
            # Not for ever: what both of them hold, the leader takes once.
            await asyncio.to_thread(self._spools.look, set(self._spools.unread))
            if self._spools.unread and time.monotonic() - self._began < _KEYS_SECONDS:
                return
        found, watched, failing = await asyncio.to_thread(self._scan)
        self._watch.set_folders(watched)
        fresh = self._logs.take_in(found, failing)
        for start in range(0, len(fresh), _OPEN_AT_ONCE):
            await asyncio.to_thread(self._hold, fresh[start : start + _OPEN_AT_ONCE])
        now = time.monotonic()
        for entry in self._logs.all():
            if entry.track is not None:
                if entry.found != entry.track.found:
                    self._lane(entry).tell(entry.found.key, entry.found)
                if entry.found.folder in folders:
                    self._lane(entry).refresh(entry.found.key)
                await self._consider_end(entry, now)
            elif not entry.begun and not entry.excluded and now >= entry.retry_at:
                entry.begun = True
                task = asyncio.create_task(self._begin(entry))
                self._beginning.add(task)
                task.add_done_callback(self._beginning.discard)
        await self._end_orphans({item.key for item in found}, failing)

    def _scan(self) -> tuple[list[Found], list[str], list[Source]]:
        """What there is, the folders to watch, and the sources that could not look."""
        found: list[Found] = []
        folders: list[str] = []
        failing = []
        for source in self._sources:
            try:
                found += source.scan()
                folders += source.folders()
                self._failing.pop(source.name, None)
            except OSError as error:
                failing.append(source)
                if self._failing.get(source.name) != str(error):
                    self._failing[source.name] = str(error)
                    log.error("logs of %s can't be looked for: %s", source.name, error)
        return found, folders, failing

    def _hold(self, fresh: list[Entry]) -> None:
        """Opens files before anything else is asked: they may be gone in a moment."""
        for entry in fresh:
            if entry.id in self._spools.by_source and entry.place is None:
                continue
            follower = Follower(entry.found.path, entry.found.roots)
            place = entry.place
            if not isinstance(place, dict):
                follower.begin(entry.found.max_files)
            elif not follower.resume(decode_place(place)):
                continue
            self._say_refused(follower)
            entry.follower = follower

    def _is_open(self, entry: Entry) -> bool:
        """Whether there is something to follow: no log is made of what can't be read."""
        if entry.follower is None or not entry.follower.files:
            self._hold([entry])
        return entry.follower is not None and bool(entry.follower.files)

    def _is_certain(self, entry: Entry) -> bool:
        """Whether the log that begins here begins at the same byte whenever it is begun: at that of its only file."""
        if self._logs.source(entry).recurring or entry.follower is None:
            return False
        return entry.place is not None or len(entry.follower.files) == 1

    def _say_refused(self, follower: Follower) -> None:
        if follower.refusal and follower.refusal not in self._refusals and len(self._refusals) < 1000:
            self._refusals.add(follower.refusal)
            log.warning("not followed: %s", follower.refusal)

    # Beginning

    def _lane(self, entry: Entry) -> Lane:
        return self._lanes[hash(entry.found.key) % len(self._lanes)]

    async def _begin(self, entry: Entry) -> None:
        try:
            await self._try_begin(entry)
        except Exception as error:  # noqa: BLE001 - what is wrong with one log must not end those beside it
            entry.retry_at = entry.trouble.failed(log, f"{entry.found.key}: can't be followed now", error)
        finally:
            entry.begun = entry.track is not None or bool(entry.excluded)

    async def _try_begin(self, entry: Entry) -> None:
        spool_id = self._spools.by_source.get(entry.id)
        if spool_id is not None:
            try:
                writer = await asyncio.to_thread(self._spools.take_up, spool_id)
            except (Conflict, NotFound):
                # It was ended, or is shipped and gone: only the note of that was lost.
                del self._spools.by_source[entry.id]
                before = self._finished.get(entry.found.key)
                if before is None or before.part < entry.part:
                    self._finished.add(entry.found.key, Finished(entry.part, proven=True, run_ns=entry.run_ns))
                self._logs.drop(entry.found.key)
                return
            if entry.found.runs:
                entry.set_run(writer.task.started_ns)
        else:
            if not await asyncio.to_thread(self._is_open, entry):
                entry.retry_at = time.monotonic() + RESCAN_SECONDS
                return
            target = await self._logs.source(entry).target(entry.found)
            if isinstance(target, NotYet):
                entry.retry_at = time.monotonic() + target.seconds
                return
            if isinstance(target, Excluded):
                entry.excluded = target.reason
                log.debug("%s: %s", entry.found.key, target.reason)
                if entry.follower is not None:
                    entry.follower.close()
                return
            key = await self._spool_key() if self._spool_key is not None else None
            writer = await asyncio.to_thread(
                self._spools.make,
                entry.id,
                target,
                entry.part,
                key,
                is_certain=self._is_certain(entry),
                run_ns=entry.run_ns,
            )
        await self._start_track(entry, writer)

    async def _start_track(self, entry: Entry, writer: FollowedWriter) -> None:
        follower = entry.follower or Follower(entry.found.path, entry.found.roots)
        try:
            track = Track(entry.found, follower, writer, self._rates, self._is_watched)
            stands = await asyncio.to_thread(track.begin)
        except Exception:
            # Else the next try would take its lock for that of somebody who goes on with it.
            writer.close()
            raise
        if not stands:
            writer.close()
            entry.retry_at = time.monotonic() + RESCAN_SECONDS
            self._say_refused(follower)
            return
        entry.follower, entry.track = follower, track
        self._lane(entry).add(track)
        self._adopt(writer.spool_id)

    # Ending

    async def _consider_end(self, entry: Entry, now: float) -> None:
        """Ends a log of which everything is read, when what writes it has ended."""
        track = entry.track
        assert track is not None
        quiet = now - track.quiet_since if track.quiet_since else 0.0
        # Of a run of which it is known until when it printed nothing is on its way.
        settled = bool(track.quiet_since) if entry.found.until_ns else quiet >= END_SETTLE_SECONDS
        if track.outcome is not None or not settled or track.found.until_ns != entry.found.until_ns:
            return
        source = self._logs.source(entry)
        end = await source.ended(entry.found)
        alive = await source.alive(entry.found)
        over = alive is False or (alive is None and (track.gone or entry.found.superseded))
        if end is None and not over:
            seconds = self._limits.quiet_seconds
            if alive is None and seconds and quiet >= seconds:
                self._end(entry, None, f"nothing came for {seconds:g} s", proven=False)
            return
        if end is None and alive is not None:
            entry.end_known_at = entry.end_known_at or now
            if now - entry.end_known_at < END_WAIT_SECONDS:
                return
        why = "its files are gone" if track.gone else "its container was started again"
        self._end(entry, end, why if end is None else "", proven=True)

    def _end(self, entry: Entry, end: ContainerEnd | None, why: str, *, proven: bool) -> None:
        assert entry.track is not None
        # Where another run goes on, or what comes after all.
        place = None if proven and not entry.run_ns else entry.track.follower.place()
        # Before the end is written: one that is noted and not written is taken up from its spool.
        encoded = place.encode() if place else None
        self._finished.add(entry.found.key, Finished(entry.part, proven, encoded, entry.run_ns))
        self._lane(entry).end(entry.found.key, outcome_of(end, why, entry.track.writer.task.started_ns))

    def _over(self, track: Track, error: Exception | None) -> None:
        """In a lane's thread: it has let go of a log."""
        self._loop.call_soon_threadsafe(self._let_go, track, error)

    def _let_go(self, track: Track, error: Exception | None) -> None:
        entry = self._logs.get(track.found.key)
        if entry is None or entry.track is not track:
            return
        entry.track = entry.follower = None
        if error is not None:
            entry.retry_at = entry.trouble.failed(log, f"{entry.found.key}: can't be followed now", error)
        if track.ended:
            self._spools.by_source.pop(entry.id, None)
            self._logs.drop(track.found.key)
        else:
            entry.begun = False
        self._changed.set()

    async def _end_orphans(self, keys: set[str], failing: Sequence[Source]) -> None:
        """Ends logs that were being followed, and whose files nobody finds any more: deleted while nobody looked."""
        for ident in list(self._spools.by_source):
            key = key_of_source(ident)
            if key in keys or key in self._logs:
                continue
            source = next((source for source in self._sources if source.is_mine(key)), None)
            if source in failing:
                continue
            end = None
            if source is not None:
                end = await source.ended(Found(key, "", "", "", ""))
            try:
                await asyncio.to_thread(self._spools.end, ident, end)
            except (OSError, JoblogError) as error:
                if not isinstance(error, Conflict | NotFound):
                    log.error("%s: %s", key, error)
                continue
            log.warning("%s: its files are gone; the log ends with what was read of them", key)
