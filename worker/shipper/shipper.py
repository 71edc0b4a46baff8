"""Ships all spools of a machine: finds them, keeps the connection, and says what is left when it has to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from joblog.address import KnownLeader
from joblog.channel import open_async_channel
from joblog.errors import JoblogError, NotAuthenticated, NotFound, Unavailable
from joblog.handshake import resolved
from joblog.replies import error_from
from joblog.service import Service
from joblog.v1 import ingest_pb2, ingest_pb2_grpc
from joblog.worker.shipper.feed import Feed, FeedState, claim
from joblog.worker.shipper.limits import ShipperLimits
from joblog.worker.shipper.lives import LeaderLives
from joblog.worker.shipper.stream import LeaderStream
from joblog.worker.spool.format import FILE_MODE, REFUSAL_FILE, REFUSED_FOLDER
from joblog.worker.spool.reader import SpoolReader, list_spools
from joblog.worker.spool.sealing import SpoolKey, no_keys

log = logging.getLogger(__name__)

WELCOME_SECONDS = 15.0
# No other folder is looked into: what a datagram says might name any.
SPOOL_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, FILE_MODE)


class Shipper(Service):
    """Carries the spools below `spool_root` to the leader that `leader()` knows.

    leader: asked before each connection, in a thread, so that a leader may move; may raise JoblogError. keys: finds the
    keys of sealed spools. reached: called when a leader was reached; failed: told why a connection did not come about
    or ended. holds: whether somebody still reads a spool's files; its folder stays as long.
    """

    name = "shipper"

    def __init__(
        self,
        spool_root: Path,
        worker_id: str,
        leader: Callable[[], KnownLeader],
        limits: ShipperLimits,
        *,
        holds: Callable[[str], bool] = lambda _spool_id: False,
        keys: Callable[[str], SpoolKey | None] = no_keys,
        reached: Callable[[], None] = lambda: None,
        failed: Callable[[JoblogError], None] = lambda _error: None,
        lives: LeaderLives | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._root = spool_root
        self._lives = lives or LeaderLives()
        self._worker_id = worker_id
        self._leader = leader
        self._failed = failed
        self._moving = asyncio.Event()
        self._known: KnownLeader | None = None
        self._limits = limits
        self._holds = holds
        self._keys = keys
        self._reached = reached
        self._jitter = jitter
        self._feeds: dict[str, Feed] = {}
        self._finishing: list[Feed] = []
        # Logs that the leader takes nothing more of while their tasks go on.
        self._outlived: list[Feed] = []
        # Folders that can't be shipped, and why: said once.
        self._unusable: dict[str, str] = {}
        self._stream: LeaderStream | None = None
        self._draining = False
        self._changed = asyncio.Event()
        self._said = ""

    # What others tell and ask

    def adopt(self, spool_id: str) -> None:
        """Takes a spool up now, rather than at the next look around."""
        if spool_id in self._feeds or not SPOOL_ID.fullmatch(spool_id):
            return
        try:
            feed = self._claimed(spool_id)
        except Exception as error:  # noqa: BLE001 - whatever lies there, the other spools are shipped
            said = str(error) if isinstance(error, JoblogError | OSError) else repr(error)
            if said != self._unusable.get(spool_id):
                # A key that is not at hand is on its way.
                level = logging.WARNING if isinstance(error, Unavailable) else logging.ERROR
                log.log(level, "spool %s can't be shipped, it stays where it is: %s", spool_id, said[:1000])
                self._unusable[spool_id] = said
            return
        self._unusable.pop(spool_id, None)
        if feed is None:
            return
        self._feeds[spool_id] = feed
        if self._stream is not None:
            self._stream.add(feed)

    def _claimed(self, spool_id: str) -> Feed | None:
        """None when another process ships it, or it is no spool yet."""
        folder = self._root / spool_id
        if (fd := claim(folder)) is None:
            return None
        try:
            return Feed(SpoolReader(folder, self._keys), spool_id, fd)
        except NotFound:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise

    def notified(self, spool_id: str) -> None:
        """The spool's supervisor has written what it was asked to tell of."""
        feed = self._feeds.get(spool_id)
        if feed is None:
            self.adopt(spool_id)
        elif self._stream is not None:
            self._stream.news(feed)

    def look_around(self) -> None:
        """Looks for spools at once, as keys have come for some that could not be opened."""
        for folder in list_spools(self._root):
            self.adopt(folder.name)

    def feed(self, spool_id: str) -> Feed | None:
        """The spool, while it is shipped."""
        return self._feeds.get(spool_id)

    def waits(self, spool_id: str) -> str:
        """Why the leader takes nothing of the spool now, as a quota that is used up; empty when it does."""
        feed = self._feeds.get(spool_id)
        return feed.waiting if feed is not None else ""

    @property
    def connected(self) -> bool:
        """Whether a leader is there now."""
        return self._stream is not None

    def left(self) -> tuple[int, int]:
        """(logs, bytes) that were captured and that no leader has acked; a log's end counts as well."""
        left = [feed.reader.pending_bytes() for feed in self._feeds.values() if feed.is_left()]
        return len(left), sum(left)

    async def wait_shipped(self, spool_id: str) -> None:
        """Returns when the leader has the whole log, or refused it for good.

        The spool may be kept until the archive has it too; then this shipper, or the machine's next one, removes it.
        """
        while spool_id in self._feeds or (self._root / spool_id / "task.json").exists():
            feed = self._feeds.get(spool_id)
            if feed is not None and feed.state is FeedState.KEPT:
                return
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._limits.scan_seconds)

    # Lifecycle

    async def run(self) -> None:
        """Looks for spools and stays connected."""
        looking = asyncio.create_task(self._look_around())
        connecting = asyncio.create_task(self._stay_connected())
        try:
            done, _ = await asyncio.wait([looking, connecting], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (looking, connecting):
                task.cancel()
            await asyncio.gather(looking, connecting, return_exceptions=True)

    async def drain(self, deadline_seconds: float) -> None:
        """Sends what is captured; says what is left at the deadline."""
        self._draining = True
        deadline = time.monotonic() + deadline_seconds
        for folder in list_spools(self._root):
            self.adopt(folder.name)
        while time.monotonic() < deadline:
            if self._stream is not None:
                self._stream.schedule.flush()
                self._stream.wake.set()
            if not any(feed.is_left() and not feed.is_put_off_until(deadline) for feed in self._feeds.values()):
                break
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), min(0.1, max(deadline - time.monotonic(), 0.0)))
        logs, size = self.left()
        if logs:
            log.warning(
                "%d bytes of %d logs are not delivered; they stay in %s for the next start", size, logs, self._root
            )

    async def stop(self) -> None:
        """Lets go of all spools, which stay."""
        for feed in self._feeds.values():
            feed.release()
        self._feeds.clear()

    # Finding spools and news

    async def _look_around(self) -> None:
        scanned = 0.0
        while True:
            now = time.monotonic()
            if now - scanned >= self._limits.scan_seconds:
                scanned = now
                for folder in list_spools(self._root):
                    self.adopt(folder.name)
                self._finish_free()
            if (stream := self._stream) is not None:
                for feed in list(self._feeds.values()):
                    if feed.has_news():
                        stream.news(feed)
            self._look_at_outlived()
            await asyncio.sleep(self._limits.poll_seconds)

    def _finish_free(self) -> None:
        held = []
        for feed in self._finishing:
            if self._holds(feed.spool_id):
                held.append(feed)
            else:
                feed.finish()
                self._feeds.pop(feed.spool_id, None)
        self._finishing = held
        self._changed.set()

    def _over(self, feed: Feed) -> None:
        if self._stream is not None:
            self._stream.remove(feed)
        if feed.is_outlived():
            self._outlived.append(feed)
        else:
            self._part_with(feed)

    def _look_at_outlived(self) -> None:
        ended = [feed for feed in self._outlived if not feed.is_outlived()]
        self._outlived = [feed for feed in self._outlived if feed not in ended]
        for feed in ended:
            self._part_with(feed)
        for feed in self._outlived:
            feed.make_room()

    def _part_with(self, feed: Feed) -> None:
        if feed.refusal:
            self._set_aside(feed)
            return
        self._finishing.append(feed)
        self._finish_free()

    def _set_aside(self, feed: Feed) -> None:
        aside = self._root.parent / REFUSED_FOLDER
        with contextlib.suppress(OSError):
            aside.mkdir(mode=0o700, exist_ok=True)
            with open(feed.reader.folder / REFUSAL_FILE, "w", opener=_private) as file:
                file.write(feed.refusal)
        with contextlib.suppress(OSError):
            os.rename(self._root / feed.spool_id, aside / feed.spool_id)
        feed.release()
        self._feeds.pop(feed.spool_id, None)
        self._changed.set()

    # The connection

    async def _stay_connected(self) -> None:
        backoff = self._limits.backoff_min_seconds
        while True:
            began = time.monotonic()
            moved = False
            try:
                moved = await self._connected()
            except (JoblogError, grpc.aio.AioRpcError, TimeoutError, asyncio.InvalidStateError) as error:
                await self._tell(error)
            finally:
                self._stream = None
                for feed in self._feeds.values():
                    feed.disconnect()
            _heed_cancellation()
            if moved:
                continue
            if time.monotonic() - began > 2 * self._limits.backoff_max_seconds:
                backoff = self._limits.backoff_min_seconds
            await asyncio.sleep(backoff * (0.5 + 0.5 * self._jitter()))
            backoff = min(backoff * 2, self._limits.backoff_max_seconds)

    async def _tell(self, error: BaseException) -> None:
        """Logs why there is no connection, once per reason, and tells who asked to know."""
        if isinstance(error, grpc.aio.AioRpcError) and self._stream is None and self._known is not None:
            error = await asyncio.to_thread(error_from, error, self._known)
        elif isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.UNAUTHENTICATED:
            error = NotAuthenticated(error.details() or "the leader does not know this worker any more")
        said = f"{error.code().name}: {error.details()}" if isinstance(error, grpc.aio.AioRpcError) else str(error)
        if said != self._said:
            log.warning("no connection to the leader: %s", said or type(error).__name__)
            self._said = said
        self._failed(error if isinstance(error, JoblogError) else Unavailable(said))

    def reconnect(self) -> None:
        """Goes over to a new connection, as to show a new certificate; what was not acked is sent again there."""
        self._moving.set()

    async def _connected(self) -> bool:
        """One connection, to its end; True when that is because a new one is wanted."""
        self._known = None
        self._moving.clear()
        leader = await asyncio.to_thread(lambda: _ready(self._leader()))
        self._known = leader
        async with open_async_channel(*leader) as channel:
            stub = ingest_pb2_grpc.IngestStub(channel)  # type: ignore[no-untyped-call]
            call = stub.Push()
            async with asyncio.timeout(WELCOME_SECONDS):
                stream = await LeaderStream.connect(
                    call,
                    LeaderStream.hello(self._worker_id, socket.gethostname()),
                    self._stats(),
                    window_bytes=self._limits.window_bytes,
                    batch_bytes=self._limits.batch_bytes,
                )
            _heed_cancellation()
            self._lives.met(stream.welcome.leader_id, stream.welcome.incarnation)
            log.info("connected to the leader at %s", leader.address)
            self._said = ""
            self._reached()
            for feed in self._feeds.values():
                if feed.state is not FeedState.DONE:
                    stream.add(feed)
            self._stream = stream
            sending = asyncio.create_task(self._send(stream))
            receiving = asyncio.create_task(self._receive(stream))
            moving = asyncio.create_task(self._moving.wait())
            tasks: list[asyncio.Task[Any]] = [receiving, sending, moving]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    if task in done:
                        task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                call.cancel()
        return True

    async def _send(self, stream: LeaderStream) -> None:
        while True:
            stream.wake.clear()
            request = stream.compose(self._stats)
            if request is not None:
                await stream.send(request)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(stream.next_at() - time.monotonic(), 0.001)):
                    await stream.wake.wait()

    async def _receive(self, stream: LeaderStream) -> None:
        while (over := await stream.receive()) is not None:
            for feed in over:
                self._over(feed)
            self._changed.set()
        raise Unavailable("the leader ended the stream")

    def _stats(self) -> ingest_pb2.WorkerStats:
        return ingest_pb2.WorkerStats(
            spool_bytes=sum(feed.reader.disk_bytes() for feed in self._feeds.values()),
            spool_limit_bytes=self._limits.spool_limit_bytes,
            logs=len(self._feeds),
        )


def _ready(leader: KnownLeader) -> KnownLeader:
    """The same with all that a channel needs at hand."""
    return leader._replace(trust=resolved(*leader))


def _heed_cancellation() -> None:
    """Ends the current task if it was told to end: gRPC swallows a cancellation that comes while a call begins."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
