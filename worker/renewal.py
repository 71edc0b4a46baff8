"""Keeps a worker's certificate fresh while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from joblog.errors import JoblogError
from joblog.service import Service
from joblog.worker.standing import Standing

log = logging.getLogger(__name__)

_LOOK_SECONDS = 30.0
# How often it is looked for a certificate where there is none yet.
_ABSENT_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0


class Renewal(Service):
    """Renews after two thirds of a certificate's life. renewed: called in the event loop when another one is there.

    look_seconds: how often it is looked whether another process has exchanged the certificate.
    """

    name = "renewal"

    def __init__(
        self, membership: Standing, renewed: Callable[[], None], *, look_seconds: float = _LOOK_SECONDS
    ) -> None:
        self._membership = membership
        self._renewed = renewed
        self._look_seconds = look_seconds

    async def run(self) -> None:
        """Waits for the time, and then tries until it works."""
        pause, said = 0.5, ""
        while True:
            left = await asyncio.to_thread(self._membership.renew_in)
            if left is None or left > 0:
                await asyncio.sleep(_ABSENT_SECONDS if left is None else min(self._look_seconds, left))
                continue
            try:
                if await asyncio.to_thread(self._membership.renew):
                    log.info("the worker's certificate is renewed")
                self._renewed()
                pause, said = 0.5, ""
            except JoblogError as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("the worker's certificate can't be renewed, the old one goes on meanwhile: %s", said)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
