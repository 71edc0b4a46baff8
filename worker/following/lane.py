"""A thread that takes many logs along, each a block at a time."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping

from joblog.worker.following.source import Found
from joblog.worker.following.track import Track

log = logging.getLogger(__name__)

# How often files are looked at for news, and folders for files that nobody told of.
POLL_SECONDS = 0.1
RESCAN_SECONDS = 1.0


class Lane:
    """Logs that are added are followed until they have ended, or `stop`. Calls `over` for each that is let go.

    over: told, in the lane's thread, of a track that has ended or failed, and of what failed, which is not said here.
    The track is closed by then. held_bytes: so much may lie on the disk in deleted files that are held because there is
    no room for them in the spools; what is more is read and left out, as a gap.
    """

    def __init__(self, number: int, over: Callable[[Track, Exception | None], None], *, held_bytes: int) -> None:
        self._over = over
        self._held_bytes = held_bytes
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._tracks: dict[str, Track] = {}
        self._rescanned = 0.0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"following-{number}", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    @property
    def logs(self) -> int:
        """How many logs it takes along."""
        return len(self._tracks)

    def add(self, track: Track) -> None:
        """Takes a log over, with all that belongs to it."""
        self._inbox.put(lambda: self._tracks.__setitem__(track.found.key, track))

    def refresh(self, key: str) -> None:
        """Something has changed in the folder of a log's files."""
        self._inbox.put(lambda: self._refresh(key))

    def tell(self, key: str, found: Found) -> None:
        """What a log's source says of it now."""
        self._inbox.put(lambda: self._tell(key, found))

    def end(self, key: str, outcome: Mapping[str, object]) -> None:
        """The log ends once all that is there is read."""
        self._inbox.put(lambda: self._end(key, outcome))

    def stop(self) -> None:
        """Lets go of all logs where they are; returns when that is done."""
        self._inbox.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            self._take_orders(wait=not self._round())
        for track in self._tracks.values():
            self._close(track)

    def _take_orders(self, *, wait: bool) -> None:
        try:
            order = self._inbox.get(wait, POLL_SECONDS)
            while True:
                if order is None:
                    self._stopping = True
                    return
                order()
                order = self._inbox.get_nowait()
        except queue.Empty:
            return

    def _round(self) -> bool:
        """One block of each log that is due; whether there is more."""
        now = time.monotonic()
        rescan = now - self._rescanned >= RESCAN_SECONDS
        if rescan:
            self._rescanned = now
        must_drop = self._holds_too_much() if rescan else False
        busy = False
        for track in list(self._tracks.values()):
            try:
                if rescan:
                    track.refresh()
                if track.is_due(now) or (must_drop and track.stuck):
                    busy |= self._step(track, now, must_drop=must_drop)
            except Exception as error:  # noqa: BLE001 - what is wrong with one log must not end those beside it
                self._let_go(track, error)
                continue
            if track.ended:
                self._let_go(track)
        return busy

    def _step(self, track: Track, now: float, *, must_drop: bool) -> bool:
        more = track.step(now, must_drop=must_drop)
        # What is in danger is taken along to its end.
        while must_drop and more and track.follower.files and track.follower.files[0].is_deleted():
            more = track.step(now, must_drop=True)
        return more

    def _holds_too_much(self) -> bool:
        return sum(track.follower.held_bytes() for track in self._tracks.values() if track.stuck) > self._held_bytes

    def _refresh(self, key: str) -> None:
        if (track := self._tracks.get(key)) is not None:
            try:
                track.refresh()
            except Exception as error:  # noqa: BLE001 - as above
                self._let_go(track, error)

    def _tell(self, key: str, found: Found) -> None:
        if key in self._tracks:
            self._tracks[key].tell(found)

    def _end(self, key: str, outcome: Mapping[str, object]) -> None:
        if key in self._tracks:
            self._tracks[key].outcome = outcome

    def _let_go(self, track: Track, error: Exception | None = None) -> None:
        self._tracks.pop(track.found.key, None)
        self._close(track)
        self._over(track, error)

    def _close(self, track: Track) -> None:
        try:
            track.close()
        except Exception as error:  # noqa: BLE001 - as above
            log.warning("%s: can't be let go of as it should: %s", track.found.key, str(error) or repr(error))
