"""Which backups a prune keeps: by count, by age, and one for each of the last days, weeks and months."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence

from joblog.errors import InvalidInput
from joblog.leader.backup.manifest import Summary
from joblog.leader.backup.options import KeepRules

DAY_NS = 24 * 3600 * 10**9


def _day(backup: Summary) -> tuple[int, ...]:
    return _date(backup).timetuple()[:3]


def _week(backup: Summary) -> tuple[int, ...]:
    return tuple(_date(backup).isocalendar()[:2])


def _month(backup: Summary) -> tuple[int, ...]:
    return _date(backup).timetuple()[:2]


def _date(backup: Summary) -> dt.date:
    return dt.datetime.fromtimestamp(backup.created_ns // 10**9, dt.UTC).date()


def kept(rules: KeepRules, backups: Iterable[Summary], now_ns: int) -> dict[str, list[str]]:
    """Ids of the backups that are kept, and which rules keep each. The newest of each store is always kept.

    Rules count the backups of each store by themselves. Raises InvalidInput when no rule is given.
    """
    if not rules:
        raise InvalidInput("no rule says which backups to keep: give a count, an age, or days, weeks or months")
    found: dict[str, list[str]] = {}
    by_store: dict[str, list[Summary]] = {}
    for backup in sorted(backups, key=lambda one: one.id, reverse=True):
        by_store.setdefault(backup.store_id, []).append(backup)
    for newest_first in by_store.values():
        found.setdefault(newest_first[0].id, []).append("newest")
        for backup in newest_first[: rules.last]:
            found.setdefault(backup.id, []).append("last")
        for backup in newest_first:
            if rules.days and now_ns - backup.created_ns < rules.days * DAY_NS:
                found.setdefault(backup.id, []).append("days")
        periods: Sequence[tuple[str, int, Callable[[Summary], tuple[int, ...]]]] = (
            ("daily", rules.daily, _day),
            ("weekly", rules.weekly, _week),
            ("monthly", rules.monthly, _month),
        )
        for name, count, period_of in periods:
            seen: set[tuple[int, ...]] = set()
            for backup in newest_first:
                period = period_of(backup)
                if period not in seen and len(seen) < count:
                    seen.add(period)
                    found.setdefault(backup.id, []).append(name)
    return found
