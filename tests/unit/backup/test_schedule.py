"""When a backup is due."""

from __future__ import annotations

import datetime as dt

import pytest

from joblog.errors import Conflict, InvalidInput
from joblog.leader.backup.schedule import check_schedule, parse_schedule
from joblog.worker.shipper.lives import LeaderLives


def ns(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("schedule", "after", "due"),
    [
        ("6h", "2026-01-01 00:00:00", "2026-01-01 06:00:00"),
        ("90s", "2026-01-01 00:00:00", "2026-01-01 00:01:30"),
        ("0 3 * * *", "2026-01-01 02:59:59", "2026-01-01 03:00:00"),
        ("0 3 * * *", "2026-01-01 03:00:00", "2026-01-02 03:00:00"),
        ("*/15 * * * *", "2026-01-01 00:14:30", "2026-01-01 00:15:00"),
        ("0 0 29 2 *", "2026-01-01 00:00:00", "2028-02-29 00:00:00"),
    ],
)
def test_due(schedule: str, after: str, due: str) -> None:
    parsed = parse_schedule(schedule)
    assert parsed is not None
    assert parsed.next_after(ns(after)) == ns(due)


@pytest.mark.parametrize(
    "text", ["6", "h", "0s", "1000d", "* * * *", "61 * * * *", "0 0 30 2 *", "@daily", "* * * * * *"]
)
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(InvalidInput):
        check_schedule(text)


def test_none() -> None:
    assert parse_schedule(" ") is None


def test_a_worker_keeps_to_the_newest_life_of_a_leader(tmp_path: object) -> None:
    path = f"{tmp_path}/leaders.json"
    lives = LeaderLives(path)
    lives.met("a", 0)
    lives.met("a", 7)
    lives.met("b", 0)
    again = LeaderLives(path)
    again.met("a", 7)
    with pytest.raises(Conflict, match="was restored from a backup elsewhere"):
        again.met("a", 6)
    with open(path, "w") as file:
        file.write("[")
    LeaderLives(path).met("a", 1)
