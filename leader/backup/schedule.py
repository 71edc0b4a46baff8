"""When the next backup is due: by a cron expression, or an interval."""

from __future__ import annotations

import datetime as dt
import re
from typing import NamedTuple

from cronsim import CronSim, CronSimError

from joblog.errors import InvalidInput

_INTERVAL = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)\s*(s|m|h|d)\Z", re.ASCII)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_MIN_SECONDS, _MAX_SECONDS = 1.0, 366 * 86_400.0
# What a rule that never comes (the 30th of February) is found out by.
_NEVER = "no time ever fits it"


class Schedule(NamedTuple):
    """cron: an expression of five fields, in UTC; or interval_seconds."""

    cron: str = ""
    interval_seconds: float = 0.0

    def next_after(self, moment_ns: int) -> int:
        """The first time that is due after `moment_ns`, in ns since 1970."""
        if self.interval_seconds:
            return moment_ns + int(self.interval_seconds * 1e9)
        after = dt.datetime.fromtimestamp(moment_ns / 1e9, dt.UTC)
        return int(next(CronSim(self.cron, after)).timestamp()) * 10**9


def parse_schedule(text: str) -> Schedule | None:
    """The schedule in a setting; None for an empty one. Raises InvalidInput."""
    text = text.strip()
    if not text:
        return None
    found = _INTERVAL.match(text)
    if found:
        seconds = float(found[1]) * _SECONDS[found[2]]
        if not _MIN_SECONDS <= seconds <= _MAX_SECONDS:
            raise InvalidInput("an interval is at least 1s and at most 366d")
        return Schedule(interval_seconds=seconds)
    try:
        if len(text.split()) != 5:
            raise CronSimError("it has not five fields")
        next(CronSim(text, dt.datetime.now(dt.UTC)))
    except CronSimError as error:
        raise InvalidInput(
            f"{text[:60]!r} is no interval such as 6h or 30m, and no cron expression such as '0 3 * * *': {error}"
        ) from None
    except StopIteration:
        raise InvalidInput(f"{text[:60]!r}: {_NEVER}") from None
    return Schedule(cron=text)


def check_schedule(text: str) -> str:
    """Returns `text` when it is a schedule, or empty; raises InvalidInput."""
    parse_schedule(text)
    return text
