from __future__ import annotations

import os
import threading

from joblog.cli.reading import Notices
from joblog.cli.terminal import write_all
from joblog.errors import Unavailable
from joblog.v1 import logs_pb2, types_pb2


def part(offset: int = 0, *events: types_pb2.Event) -> logs_pb2.ReadResponse:
    return logs_pb2.ReadResponse(offset=offset, events=events)


def test_a_gap_is_said_with_its_reason() -> None:
    said: list[str] = []
    gap = types_pb2.Gap(offset=70, length=12345, reason=types_pb2.GAP_REASON_SPOOL_FULL)
    Notices(follow=False, write=said.append).take(logs_pb2.ReadResponse(offset=70, gap=gap))
    assert said == ["joblog: 12,345 bytes missing at offset 70: spool full\n"]


def test_events_are_news_once_and_only_while_following() -> None:
    event = types_pb2.Event(offset=5, time_ns=7, kind="worker_lost", message="no sign of \x1b[2J")
    said: list[str] = []
    notices = Notices(follow=True, write=said.append)
    notices.take(part(5, event))
    notices.take(part(5, event))
    assert said == ["joblog: worker lost: no sign of \\x1b[2J\n"]
    Notices(follow=False, write=said.append).take(part(5, event))
    assert len(said) == 1


def test_an_outage_is_said_once_and_its_end_too() -> None:
    said: list[str] = []
    notices = Notices(follow=True, write=said.append)
    for _ in range(3):
        notices.retry(Unavailable("the leader is gone"))
    notices.take(part(100))
    notices.take(part(200))
    assert said == [
        "joblog: the leader is gone; trying again\n",
        "joblog: connected again, going on at offset 100\n",
    ]


def test_writes_all_to_a_pipe_that_does_not_block() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    data = os.urandom(1 << 20)
    writer = threading.Thread(target=write_all, args=(writing, data))
    writer.start()
    got = b""
    while len(got) < len(data):
        got += os.read(reading, len(data))
    writer.join()
    os.close(writing)
    os.close(reading)
    assert got == data
