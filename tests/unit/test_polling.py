"""How often those who follow logs are told to ask."""

from __future__ import annotations

import pytest

from joblog.leader.api.http.polling import MAX_REPLIES_PER_SECOND, MAX_SECONDS, MIN_SECONDS, Polling


def replies_per_second(viewers: int, seconds: float) -> tuple[float, float]:
    """How many replies go out in the last ten of so many seconds, and the last pause, when each viewer keeps to it."""
    now = 0.0
    polling = Polling(lambda: now)
    due = [0.01 * viewer / viewers for viewer in range(viewers)]
    late, pause = 0, MIN_SECONDS
    while now < seconds:
        viewer = min(range(viewers), key=due.__getitem__)
        now = due[viewer]
        pause = polling.pause_seconds()
        polling.count_reply()
        due[viewer] = now + pause + 0.005
        late += now >= seconds - 10
    return late / 10, pause


@pytest.mark.parametrize("viewers", [1, 20, 200])
def test_replies_stay_below_what_all_of_them_shall_need(viewers: int) -> None:
    rate, pause = replies_per_second(viewers, 30)
    assert rate <= 1.2 * MAX_REPLIES_PER_SECOND
    assert MIN_SECONDS <= pause <= MAX_SECONDS
    # No longer than it takes.
    assert pause == MIN_SECONDS or rate > 0.7 * MAX_REPLIES_PER_SECOND


def test_a_quiet_leader_is_asked_often_again() -> None:
    now = 0.0
    polling = Polling(lambda: now)
    for _ in range(5000):
        now += 0.001
        polling.pause_seconds()
        polling.count_reply()
    busy = polling.pause_seconds()
    assert busy > MIN_SECONDS
    quiet = busy
    for _ in range(50):
        now += 1.0
        quiet = polling.pause_seconds()
    assert quiet == MIN_SECONDS
