"""What goes over a stream is composed once: no log is closed twice, whatever brought it to the stream's attention."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from joblog.v1 import ingest_pb2, types_pb2
from joblog.worker.shipper.feed import Feed, FeedState, claim
from joblog.worker.shipper.schedule import EAGER_BURST
from joblog.worker.shipper.stream import MESSAGE_BYTES, LeaderStream
from joblog.worker.spool.reader import SpoolReader
from tests.unit.spool.spool_building import append, make_writer


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[Feed]:
    """A spool whose supervisor died."""
    writer = make_writer(tmp_path)
    append(writer, b"some bytes\n")
    writer.close()
    folder = Path(writer.folder)
    fd = claim(folder)
    assert fd is not None
    made = Feed(SpoolReader(folder), folder.name, fd)
    yield made
    if made.state is not FeedState.DONE:
        made.release()


def make_stream() -> LeaderStream:
    call: Any = None
    welcome = ingest_pb2.Welcome(gather_seconds=1000.0, gather_bytes=1 << 20, heartbeat_seconds=1000)
    return LeaderStream(call, welcome, window_bytes=1 << 20, batch_bytes=1 << 20)


def stats() -> ingest_pb2.WorkerStats:
    return ingest_pb2.WorkerStats()


def opened(feed: Feed) -> ingest_pb2.Opened:
    return ingest_pb2.Opened(handle=feed.handle, id=types_pb2.LogId(attempt=1))


def test_a_feed_that_gathers_and_is_due_is_closed_once(feed: Feed) -> None:
    stream = make_stream()
    stream.add(feed)
    stream.compose(stats)
    feed.opened(opened(feed))
    for _ in range(2 * int(EAGER_BURST)):
        # So often that it may no longer be shipped at once, and gathers.
        stream.schedule.news(feed, time.monotonic())
        stream.schedule.pop()
    stream.schedule.news(feed, time.monotonic())
    assert not stream.schedule
    stream.schedule.again(feed)
    requests = []
    for _ in range(3):
        while request := stream.compose(stats):
            requests.append(request)
        stream.schedule.flush()
    assert [append.batch.raw_length for request in requests for append in request.appends] == [11]
    assert [close.length for request in requests for close in request.closes] == [11]


def test_numbers_of_another_stream_mean_nothing(feed: Feed, tmp_path: Path) -> None:
    writer = make_writer(tmp_path, name="spool2")
    fd = claim(Path(writer.folder))
    assert fd is not None
    other = Feed(SpoolReader(Path(writer.folder)), "spool2", fd)
    first = make_stream()
    for one in (other, feed):
        first.add(one)
    first.compose(stats)
    other.disconnect()
    feed.disconnect()
    second = make_stream()
    for one in (feed, other):
        second.add(one)
    second.compose(stats)
    assert {second._feeds[one.handle].spool_id for one in (feed, other)} == {"spool1", "spool2"}
    other.release()
    writer.close()


def test_a_message_stays_small_when_nothing_can_be_compressed(tmp_path: Path) -> None:
    call: Any = None
    welcome = ingest_pb2.Welcome(gather_seconds=1000.0, gather_bytes=1 << 20, heartbeat_seconds=1000)
    stream = LeaderStream(call, welcome, window_bytes=64 << 20, batch_bytes=64 << 10)
    feeds = []
    for number in range(12):
        writer = make_writer(tmp_path, name=f"spool{number}")
        for _ in range(16):
            append(writer, os.urandom(64 << 10))
        writer.close()
        fd = claim(Path(writer.folder))
        assert fd is not None
        feeds.append(Feed(SpoolReader(Path(writer.folder)), f"spool{number}", fd))
        stream.add(feeds[-1])
    stream.compose(stats)
    for one in feeds:
        one.opened(opened(one))
        stream.schedule.again(one)
    request = stream.compose(stats)
    assert request is not None
    assert request.ByteSize() < 3 * MESSAGE_BYTES
    for one in feeds:
        one.release()


class _Answers:
    """A call on which the leader gives one answer."""

    def __init__(self, answer: ingest_pb2.PushResponse) -> None:
        self.answer = answer

    async def read(self) -> ingest_pb2.PushResponse:
        return self.answer


async def test_a_spool_that_can_not_go_on_where_the_leader_says_harms_no_other(feed: Feed, tmp_path: Path) -> None:
    writer = make_writer(tmp_path, name="spool2")
    append(writer, b"more\n")
    fd = claim(Path(writer.folder))
    assert fd is not None
    other = Feed(SpoolReader(Path(writer.folder)), "spool2", fd)
    stream = make_stream()
    for one in (feed, other):
        stream.add(one)
    stream.compose(stats)
    for one in (feed, other):
        one.opened(opened(one))
    # Its newest segment is one that this version does not know.
    segment = next(feed.reader.folder.glob("*.seg"))
    segment.write_bytes(b"JLSPOOL9" + segment.read_bytes()[8:])
    answer = ingest_pb2.PushResponse()
    answer.refusals.add(handle=feed.handle, code=ingest_pb2.REFUSAL_CODE_OFFSET, next_offset=5)
    answer.acks.add(handle=other.handle, stored_offset=5)
    answer.acks.add(handle=feed.handle, stored_offset=11)
    call: Any = _Answers(answer)
    stream._call = call
    feed.reader._first_offsets.clear()
    assert await stream.receive() == []
    assert (feed.state, other.state) == (FeedState.UNOPENED, FeedState.OPEN)
    assert feed.failure
    assert other.acked_offset == 5
    other.release()
    writer.close()
