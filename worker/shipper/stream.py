"""One connection to the leader: composes what is sent, takes in what comes back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import grpc.aio

from joblog import __version__
from joblog.errors import JoblogError, Unavailable
from joblog.v1 import ingest_pb2
from joblog.worker.shipper.feed import Feed, FeedState
from joblog.worker.shipper.schedule import Schedule

log = logging.getLogger(__name__)

PROTOCOL = 1
MAX_OPENS = 1000
# Enough to keep the stream busy, little enough that a watched log waits no longer than this takes to send.
MESSAGE_BYTES = 1 << 20
MESSAGE_RAW_BYTES = 8 << 20
MESSAGE_APPENDS = 5000

RETRY_SECONDS = 5.0

A = TypeVar(
    "A",
    ingest_pb2.Opened,
    ingest_pb2.Ack,
    ingest_pb2.Steer,
    ingest_pb2.Refusal,
    ingest_pb2.Closed,
    ingest_pb2.Resend,
)
PushCall = grpc.aio.StreamStreamCall[ingest_pb2.PushRequest, ingest_pb2.PushResponse]


class LeaderStream:
    """The state of one Push stream, from its Welcome to its end. Lives in the shipper's event loop."""

    def __init__(self, call: PushCall, welcome: ingest_pb2.Welcome, *, window_bytes: int, batch_bytes: int) -> None:
        self.welcome = welcome
        self.schedule = Schedule(welcome.gather_seconds, welcome.gather_bytes)
        self.wake = asyncio.Event()
        self._stats_at = time.monotonic() + welcome.heartbeat_seconds
        self._call = call
        self._window_bytes = min(window_bytes, welcome.window_bytes or window_bytes)
        self._batch_bytes = min(batch_bytes, welcome.max_batch_bytes or batch_bytes)
        self._feeds: dict[int, Feed] = {}
        self._to_open: dict[Feed, None] = {}
        # Those of which the leader wants something again.
        self._wanted: dict[Feed, None] = {}
        self._next_handle = 1

    @classmethod
    async def connect(
        cls,
        call: PushCall,
        hello: ingest_pb2.Hello,
        stats: ingest_pb2.WorkerStats,
        *,
        window_bytes: int,
        batch_bytes: int,
    ) -> LeaderStream:
        """Says hello and waits for the leader's welcome. Raises grpc.aio.AioRpcError, Unavailable."""
        await call.write(ingest_pb2.PushRequest(hello=hello, stats=stats))
        response = await call.read()
        if not isinstance(response, ingest_pb2.PushResponse) or not response.HasField("welcome"):
            raise Unavailable("the leader ended the stream without a welcome")
        return cls(call, response.welcome, window_bytes=window_bytes, batch_bytes=batch_bytes)

    @staticmethod
    def hello(worker_id: str, host: str) -> ingest_pb2.Hello:
        """The first words of a stream."""
        return ingest_pb2.Hello(worker_id=worker_id, host=host, version=__version__, protocol=PROTOCOL)

    @property
    def inflight_bytes(self) -> int:
        """Payload bytes that were sent and not acked."""
        return sum(feed.inflight_bytes for feed in self._feeds.values())

    def add(self, feed: Feed) -> None:
        """A spool to be shipped on this stream."""
        feed.until_archived = self.welcome.keep_until_archived
        self._to_open[feed] = None
        self.wake.set()

    def remove(self, feed: Feed) -> None:
        """The spool is over."""
        self._to_open.pop(feed, None)
        self._feeds.pop(feed.handle, None)
        self._wanted.pop(feed, None)
        self.schedule.drop(feed)

    def news(self, feed: Feed) -> None:
        """The spool has something new."""
        if feed.state is not FeedState.OPEN:
            return
        self.schedule.news(feed, time.monotonic())
        if self.schedule:
            self.wake.set()
        else:
            self._arm(feed, feed.reader.offset + self.schedule.gather_bytes)
            self.wake.set()

    def _arm(self, feed: Feed, wake_at: int) -> None:
        if feed.state is FeedState.OPEN and feed.reader.arm(wake_at):
            self.schedule.again(feed)
            self.wake.set()

    def compose(self, stats: Callable[[], ingest_pb2.WorkerStats]) -> ingest_pb2.PushRequest | None:
        """The next message; None when there is nothing to say now. stats: asked when a sign of life is due."""
        now = time.monotonic()
        self.schedule.tick(now)
        request = ingest_pb2.PushRequest()
        said = self._compose_opens(request, now)
        payload = raw = 0
        room = self._window_bytes - self.inflight_bytes
        idle: list[Feed] = []
        while payload < min(MESSAGE_BYTES, room) and raw < MESSAGE_RAW_BYTES and len(request.appends) < MESSAGE_APPENDS:
            feed = self.schedule.pop()
            if feed is None:
                break
            if feed.state is not FeedState.OPEN:
                continue
            said = True
            before = feed.reader.offset
            taken_bytes = self._take(feed, request)
            if taken_bytes is None:
                continue
            payload += taken_bytes
            raw += feed.reader.offset - before
            idle.append(feed)
        for feed in idle:
            if feed.has_news():
                self.schedule.again(feed)
            else:
                self._arm(feed, feed.reader.offset + 1)
        said |= self._compose_refills(request, MESSAGE_BYTES - payload)
        if now >= self._stats_at:
            self._stats_at = now + self.welcome.heartbeat_seconds
            request.stats.CopyFrom(stats())
            said = True
        return request if said else None

    def _compose_refills(self, request: ingest_pb2.PushRequest, room: int) -> bool:
        """What one log's leader lost, some of it in each message. It is not acked: gRPC holds up who sends too much."""
        feed = next(iter(self._wanted), None)
        if feed is None or room <= 0:
            return False
        del self._wanted[feed]
        try:
            refills = feed.resending.take(feed.handle, room, self._batch_bytes) if feed.resending else []
        except Exception as error:  # noqa: BLE001 - what can't be read stays lost, the log itself goes on
            log.warning("%s: what the leader asks for again can't be read: %s", feed.name, error)
            feed.resending.close()
            return False
        request.refills.extend(refills)
        if feed.resending:
            self._wanted[feed] = None
        return bool(refills)

    def _take(self, feed: Feed, request: ingest_pb2.PushRequest) -> int | None:
        """Adds what is next of a log; its size in the message, or None when the spool can't be read."""
        try:
            taken = feed.take(MESSAGE_BYTES, self._batch_bytes)
        except Exception as error:  # noqa: BLE001 - see _put_off
            self._put_off(feed, error)
            return None
        request.appends.extend(taken.appends)
        request.events.extend(taken.events)
        if taken.close is not None:
            request.closes.append(taken.close)
        return sum(len(append.batch.payload) + len(append.batch.frames) for append in taken.appends)

    def _compose_opens(self, request: ingest_pb2.PushRequest, now: float) -> bool:
        ready = [feed for feed in self._to_open if feed.retry_at <= now][:MAX_OPENS]
        for feed in ready:
            del self._to_open[feed]
            self._feeds.pop(feed.handle, None)
            try:
                request.opens.append(feed.open_request(self._next_handle))
            except Exception as error:  # noqa: BLE001 - see _put_off
                self._put_off(feed, error)
                continue
            self._feeds[self._next_handle] = feed
            self._next_handle += 1
        return bool(ready)

    def next_at(self) -> float:
        """When compose() has something to do again, at the latest (monotonic seconds)."""
        if self._wanted:
            return 0.0
        times = [self._stats_at]
        if (gathered := self.schedule.next_at()) is not None:
            times.append(gathered)
        times.extend(feed.retry_at for feed in self._to_open)
        return min(times)

    async def send(self, request: ingest_pb2.PushRequest) -> None:
        """Sends a message; waits while the leader takes no more."""
        await self._call.write(request)

    async def receive(self) -> list[Feed] | None:
        """Takes in one message of the leader; the feeds that are over, or None when the stream has ended."""
        response = await self._call.read()
        if not isinstance(response, ingest_pb2.PushResponse):
            return None
        over: list[Feed] = []
        self._take_in(response.opened, self._opened, over)
        self._take_in(response.acks, Feed.acked, over)
        self._take_in(response.steers, self._steered, over)
        self._take_in(response.refusals, self._refused, over)
        self._take_in(response.resends, self._resend, over)
        self._take_in(response.closed, lambda feed, _closed: feed.closed(), over)
        self.wake.set()
        return over

    def _take_in(self, answers: Iterable[A], take: Callable[[Feed, A], bool], over: list[Feed]) -> None:
        """Lets each feed take in what the leader says of it; `take` says whether the feed is over."""
        for answer in answers:
            feed = self._feeds.get(answer.handle)
            if feed is None:
                continue
            try:
                if take(feed, answer):
                    over.append(feed)
            except Exception as error:  # noqa: BLE001 - see _put_off
                self._put_off(feed, error)

    def _put_off(self, feed: Feed, error: Exception) -> None:
        """A spool can't be read, or be gone on with: it alone is tried again later, the others go on."""
        said = str(error) if isinstance(error, JoblogError | OSError) else repr(error)
        if said != feed.failure:
            log.error("%s: its spool can't be shipped, trying every %g s: %s", feed.name, RETRY_SECONDS, said)
            feed.failure = said
        feed.state, feed.retry_at = FeedState.UNOPENED, time.monotonic() + RETRY_SECONDS
        self.schedule.drop(feed)
        self._to_open[feed] = None

    def _opened(self, feed: Feed, opened: ingest_pb2.Opened) -> bool:
        feed.opened(opened)
        if feed.state is FeedState.OPEN:
            self.schedule.again(feed)
        return feed.state is FeedState.DONE

    def _resend(self, feed: Feed, resend: ingest_pb2.Resend) -> bool:
        feed.resending.add(resend.offset, resend.length)
        self._wanted[feed] = None
        return False

    def _steered(self, feed: Feed, steer: ingest_pb2.Steer) -> bool:
        feed.watched = steer.watched
        if feed.has_news():
            self.schedule.drop(feed)
            self.news(feed)
        return False

    def _refused(self, feed: Feed, refusal: ingest_pb2.Refusal) -> bool:
        if not feed.refused(refusal):
            log.error("%s: the leader refuses it for good, its spool is set aside: %s", feed.name, refusal.message)
            feed.refusal, feed.state = refusal.message, FeedState.DONE
            return True
        if feed.state is FeedState.UNOPENED:
            self._to_open[feed] = None
        elif feed.state is not FeedState.DONE:
            self.schedule.again(feed)
        return feed.state is FeedState.DONE
