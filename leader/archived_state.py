"""What a leader knows beside its logs, written to the archive when it changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from joblog.errors import Interrupted, JoblogError
from joblog.leader.archive.claim import ClaimLost
from joblog.leader.archive.state_object import StateWriter
from joblog.service import Service

log = logging.getLogger(__name__)

# Changes that come together make one object.
LOOK_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 15.0


class StateKeeper(Service):
    """Writes it to the archive a few seconds after it has changed, and when the leader stops.

    what: it is called in messages. changes: another value whenever it may have changed. content: what is written. Both
    are called in threads.
    """

    def __init__(
        self,
        name: str,
        what: str,
        changes: Callable[[], object],
        content: Callable[[], bytes],
        writer: StateWriter,
        *,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self.name = f"{name} in the archive"
        self._what = what
        self._changes = changes
        self._content = content
        self._writer = writer
        self._look_seconds = look_seconds
        self._seen: object = None
        self._failure = ""
        self._writing = asyncio.Lock()

    def warnings(self) -> list[str]:
        """What is wrong now, for people."""
        return [f"archive: {self._what} are not kept there: {self._failure}"] if self._failure else []

    @property
    def is_current(self) -> bool:
        """Whether the archive has what there is now. Reads what `changes` does."""
        return self._changes() == self._seen and self._writer.is_new_enough()

    async def run(self) -> None:
        """Looks now and then. Raises ClaimLost when another leader has the archive."""
        pause = self._look_seconds
        while True:
            went_well = await self.keep()
            pause = self._look_seconds if went_well else min(2 * pause, _LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)

    async def drain(self, deadline_seconds: float) -> None:  # noqa: ARG002 - cancelled when it is over
        """Writes what has changed since."""
        await self.keep()

    async def keep(self) -> bool:
        """Writes what has changed; whether the archive has it now."""
        async with self._writing:
            try:
                await asyncio.to_thread(self._write)
            except (ClaimLost, Interrupted):
                raise
            except JoblogError as error:
                if str(error) != self._failure:
                    log.warning("%s can't be written to the archive, tried again: %s", self._what, error)
                self._failure = str(error)
                return False
            self._failure = ""
            return True

    def _write(self) -> None:
        changes = self._changes()
        if changes == self._seen and self._writer.is_new_enough():
            return
        content = self._content()
        if not self._writer.is_current(content):
            self._writer.write(content)
        self._seen = changes
