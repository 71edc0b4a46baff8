"""A worker's spool keys: in its memory, and with the leader, which gives them back after a restart."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import grpc.aio

from joblog.address import KnownLeader
from joblog.channel import open_async_channel
from joblog.errors import Corrupt, JoblogError, Unavailable
from joblog.handshake import resolved
from joblog.replies import error_from
from joblog.service import Service
from joblog.v1 import ingest_pb2, ingest_pb2_grpc
from joblog.worker.spool.sealing import SpoolKey, new_key, sealed_with

log = logging.getLogger(__name__)

CALL_SECONDS = 10.0
# New spools get a new key after so long, where the leader can be reached.
KEY_AGE_SECONDS = 30 * 86_400.0
# Another process of this worker may have a key for a spool that it has not made yet.
UNUSED_AGE_SECONDS = 86_400.0
LOOK_SECONDS = 3600.0
# A key that the leader did not have is not asked for again before.
ABSENT_SECONDS = 30.0


def waiting_for(problem: str) -> str:
    """What somebody is told who wants a key for a new spool."""
    return f"spool.encryption is on, and a task starts once the leader holds the key of its spool: {problem}"


class SpoolKeys(Service):
    """The keys with which this worker's spools are sealed. Belongs to the event loop.

    folders: those with spools in them. leader: asked before each connection, in a thread; may raise JoblogError. A new
    key is in use only once the leader has it. Keys are asked for when somebody needs one, and nobody does where no
    spool is sealed.
    """

    name = "spool keys"

    def __init__(
        self,
        folders: Iterable[Path],
        worker_id: str,
        leader: Callable[[], KnownLeader],
        *,
        clock: Callable[[], float] = time.time,
        retry_seconds: float = 0.5,
        max_retry_seconds: float = 5.0,
    ) -> None:
        self._folders = list(folders)
        self._worker_id = worker_id
        self._leader = leader
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._max_retry_seconds = max_retry_seconds
        self._known: dict[str, SpoolKey] = {}
        # When the leader was given each, by its clock; the last one is the newest.
        self._kept_at: dict[str, float] = {}
        self._absent: dict[str, float] = {}
        self._wanted: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived: Callable[[], None] = lambda: None
        self._asked = asyncio.Event()
        self._changed = asyncio.Event()
        self._to_make = False
        self._problem = ""

    # What others ask

    def find(self, key_id: str) -> SpoolKey | None:
        """The key of that id; None where it is not at hand: then the leader is asked for it. For any thread."""
        found = self._known.get(key_id)
        if found is None and time.monotonic() - self._absent.get(key_id, -ABSENT_SECONDS) >= ABSENT_SECONDS:
            self._wanted.add(key_id)
            if self._loop is None:
                self._asked.set()
            else:
                self._loop.call_soon_threadsafe(self._asked.set)
        return found

    def on_arrival(self, callback: Callable[[], None]) -> None:
        """`callback()` is called whenever the leader has given keys that were not known, in the event loop."""
        self._arrived = callback

    def prepare(self) -> None:
        """New spools are going to be sealed: the key is there before a task needs it. Called before run()."""
        self._to_make = True
        self._asked.set()

    def look_again(self) -> None:
        """A leader was reached, perhaps another one than before: what it lacks it is given."""
        if self._known:
            self._asked.set()

    async def current(self, wait_seconds: float) -> SpoolKey:
        """The key for new spools. Raises Unavailable when there is none after wait_seconds, saying what is waited for.

        An old key goes on while no leader can be reached.
        """
        if self._newest() is None or self._is_old():
            self._to_make = True
            self._asked.set()
        deadline = time.monotonic() + wait_seconds
        while (newest := self._newest()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Unavailable(waiting_for(self._problem or "the leader has not answered yet"))
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)
        return self._known[newest]

    async def fetch_current(self) -> SpoolKey:
        """The same without run(): the leader is asked once. Raises JoblogError when it does not answer."""
        self._to_make = True
        await self.update()
        newest = self._newest()
        assert newest is not None
        return self._known[newest]

    def _newest(self) -> str | None:
        return next(reversed(self._kept_at), None)

    def _is_old(self) -> bool:
        newest = self._newest()
        return newest is not None and self._clock() - self._kept_at[newest] > KEY_AGE_SECONDS

    # The leader

    async def run(self) -> None:
        """Asks the leader when somebody needs a key, until it answers."""
        self._loop = asyncio.get_running_loop()
        pause = self._retry_seconds
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), LOOK_SECONDS)
            if not self._asked.is_set() and not self._known:
                continue
            self._asked.clear()
            problem = ""
            try:
                await self.update()
            except JoblogError as error:
                problem = str(error)
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # gRPC swallows a cancellation that comes while a call begins.
                raise asyncio.CancelledError
            if problem:
                self._say(problem)
                self._asked.set()
                await asyncio.sleep(pause)
            pause = min(2 * pause, self._max_retry_seconds) if problem else self._retry_seconds

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            log.warning("the leader can't be asked for spool keys: %s", problem)
            self._problem = problem

    async def update(self) -> None:
        """Asks the leader once: what it has, what it is to keep, what it may forget. Raises JoblogError."""
        leader = await asyncio.to_thread(self._resolved)
        before = set(self._known)
        async with open_async_channel(*leader) as channel:
            stub = ingest_pb2_grpc.IngestStub(channel)  # type: ignore[no-untyped-call]
            try:
                await self._exchange(stub)
            except grpc.aio.AioRpcError as error:
                raise await asyncio.to_thread(error_from, error, leader) from None
        self._problem = ""
        now = time.monotonic()
        self._absent = {key_id: now for key_id in (*self._absent, *self._wanted) if key_id not in self._known}
        self._wanted.clear()
        self._changed.set()
        if set(self._known) != before:
            self._arrived()

    def _resolved(self) -> KnownLeader:
        leader = self._leader()
        return leader._replace(trust=resolved(*leader))

    async def _exchange(self, stub: ingest_pb2_grpc.IngestStub) -> None:
        mine = ingest_pb2.GetSpoolKeysRequest(worker_id=self._worker_id)
        reply: ingest_pb2.GetSpoolKeysResponse = await stub.GetSpoolKeys(mine, timeout=CALL_SECONDS)
        used = await asyncio.to_thread(self._used)
        there: dict[str, float] = {}
        for one in reply.keys:
            try:
                key = SpoolKey(one.key)
            except ValueError as error:
                raise Corrupt(f"the leader's answer holds no spool key: {error}") from None
            self._known[key.key_id] = key
            there[key.key_id] = one.kept_ns / 1e9
        newest = self._newest()
        for key_id in [one for one in self._known if one not in there]:
            # A leader that lost its disk. What it had kept is kept again, where it is still of use.
            if key_id in used or key_id == newest:
                there[key_id] = await self._keep(stub, self._known[key_id])
        self._kept_at = dict(sorted(there.items(), key=lambda item: item[1]))
        if self._to_make and (not self._kept_at or self._is_old()):
            key = new_key()
            kept_at = await self._keep(stub, key)
            self._known[key.key_id] = key
            self._kept_at[key.key_id] = kept_at
            log.info("new spools are sealed with key %s", key.key_id)
        self._to_make = False
        await self._drop(stub, used)

    async def _keep(self, stub: ingest_pb2_grpc.IngestStub, key: SpoolKey) -> float:
        request = ingest_pb2.KeepSpoolKeyRequest(worker_id=self._worker_id, key=key.key)
        await stub.KeepSpoolKey(request, timeout=CALL_SECONDS)
        return self._clock()

    async def _drop(self, stub: ingest_pb2_grpc.IngestStub, used: set[str]) -> None:
        newest, now = self._newest(), self._clock()
        unused = [
            key_id
            for key_id, kept_at in self._kept_at.items()
            if key_id != newest and key_id not in used and now - kept_at > UNUSED_AGE_SECONDS
        ]
        if not unused:
            return
        request = ingest_pb2.DropSpoolKeysRequest(worker_id=self._worker_id, key_ids=map(bytes.fromhex, unused))
        await stub.DropSpoolKeys(request, timeout=CALL_SECONDS)
        for key_id in unused:
            del self._kept_at[key_id]
            self._known.pop(key_id, None)

    def _used(self) -> set[str]:
        """The keys of the spools that lie here, those set aside among them."""
        found: set[str] = set()
        for folder in self._folders:
            with contextlib.suppress(FileNotFoundError):
                found.update(key_id for path in folder.iterdir() if (key_id := sealed_with(str(path))) is not None)
        return found
