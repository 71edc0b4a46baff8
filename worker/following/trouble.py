"""What is wrong with one log: said once, and tried again more and more seldom."""

from __future__ import annotations

import logging
import time

from joblog.errors import JoblogError, OutOfSpace, Unavailable

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
# Of what passes by itself: then the log should go on soon.
PASSING_SECONDS = 5.0


class Trouble:
    """Of one log. longest_seconds: of a pause; what has worked for so long since is forgotten."""

    __slots__ = ("_longest_seconds", "_pause_seconds", "_said", "_tried_at")

    def __init__(self, longest_seconds: float = LONGEST_SECONDS) -> None:
        self._longest_seconds = longest_seconds
        self._pause_seconds = 0.0
        self._said = ""
        # When it is tried again.
        self._tried_at = 0.0

    def failed(self, log: logging.Logger, what: str, error: Exception) -> float:
        """Says what is wrong, unless it has said just that before; gives the time (monotonic) to try again at."""
        now = time.monotonic()
        if now - self._tried_at > self._longest_seconds:
            self._pause_seconds, self._said = 0.0, ""
        longest = PASSING_SECONDS if isinstance(error, Unavailable | OutOfSpace) else self._longest_seconds
        self._pause_seconds = min(2 * self._pause_seconds or FIRST_SECONDS, longest)
        self._tried_at = now + self._pause_seconds
        said = str(error) or repr(error)
        if said != self._said:
            self._said = said
            trace = None if isinstance(error, OSError | JoblogError) else error
            log.error("%s, and is tried again more and more seldom: %s", what, said, exc_info=trace)
        return self._tried_at
