"""The reader: what servers ask for records and bytes. Async outside; all work on the store runs in a bounded pool."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import NamedTuple, Protocol, TypeVar

from joblog.errors import NotFound
from joblog.identity import LogName, check_log_name
from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.metrics import Metrics
from joblog.leader.reading.damage import DamageNotes
from joblog.leader.reading.meter import metered
from joblog.leader.reading.piece import PIECE_BYTES, Piece, ReadSpec
from joblog.leader.reading.session import ReadSession
from joblog.leader.reading.tiers import InArchive
from joblog.leader.reading.verified import keep_verification, shown_verification
from joblog.leader.reading.verify import Progress, Verdict, verify_log
from joblog.v1 import types_pb2

T = TypeVar("T")

# While nobody takes the next piece, a read keeps its view for so long.
_HOLD_SECONDS = 5.0
# The same while many reads are open: a view with its chunk takes a few MiB.
_SHORT_HOLD_SECONDS = 1.0
# Pieces of all open reads together, and the least of one.
_ALL_PIECES_BYTES = 32 << 20
_LEAST_PIECE_BYTES = 64 << 10
# Nothing is read ahead while more reads than these are open.
_MAX_AHEAD = 32
# A tail looks after its log this often although nothing woke it: states and events may change unheard.
_RECHECK_SECONDS = 5.0
# The pauses of a tail whose log is not open for writing: its worker is away.
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.05, 2.0
_WATCH_LINGER_SECONDS = 3.0
_MAX_CIPHERS = 1024


class LiveLogs(Protocol):
    """What the reader needs of ingest."""

    def length(self, number: int) -> int | None:
        """Durable length of a log that is open for writing; None for any other."""
        ...

    async def wait(self, number: int, beyond_offset: int, timeout_seconds: float | None) -> bool:
        """Returns when the log is longer than beyond_offset, its state or events changed, or the time is up."""
        ...

    def watch(self, number: int) -> None:
        """One more reader tails the log."""
        ...

    def unwatch(self, number: int) -> None:
        """One reader less tails the log."""
        ...


class LogDetails(NamedTuple):
    """A log's record with its events. verified: what its last verification has found; None: there was none."""

    record: types_pb2.LogRecord
    events: list[types_pb2.Event]
    verified: types_pb2.Verification | None = None


class CipherCache:
    """Ciphers of the logs that were read last. Thread-safe."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring
        self._ciphers: OrderedDict[int, LogCipher] = OrderedDict()
        # How often something was forgotten: what is opened meanwhile may be of a log that is gone.
        self._forgotten = 0
        self._lock = threading.Lock()

    def open(self, number: int) -> LogCipher:
        """The log's cipher. Raises NotFound when the log is gone, Corrupt when its key is damaged."""
        with self._lock:
            cipher = self._ciphers.get(number)
            if cipher is not None:
                self._ciphers.move_to_end(number)
                return cipher
            forgotten = self._forgotten
        record, wrapped = self._store.get_log(number), self._store.get_dek(number)
        if record is None or wrapped is None:
            raise NotFound(f"log number {number} was deleted, or its key is gone")
        cipher = LogCipher(self._keyring.open_dek(record.uid, wrapped), record.uid)
        with self._lock:
            if self._forgotten != forgotten:
                return cipher
            self._ciphers[number] = cipher
            while len(self._ciphers) > _MAX_CIPHERS:
                self._ciphers.popitem(last=False)
        return cipher

    def forget(self, number: int) -> None:
        """Drops the cipher of a deleted log; reads that are open can't use it any more."""
        with self._lock:
            self._forgotten += 1
            cipher = self._ciphers.pop(number, None)
        if cipher is not None:
            cipher.forget()

    def clear(self) -> None:
        """Drops all ciphers, those of deleted logs among them; who has one already keeps it."""
        with self._lock:
            self._forgotten += 1
            self._ciphers.clear()


class LogReader:
    """Reads logs for any number of readers at once.

    Memory per read: the piece being sent, one ahead, and one opened chunk. pool: bounded; nothing else of the reader
    blocks. A read that nobody takes from keeps no snapshot of the store beyond some seconds.
    """

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        live: LiveLogs,
        pool: Executor,
        metrics: Metrics,
        *,
        archive: ExtentReader | None = None,
        restored_ns: int = 0,
    ) -> None:
        """archive: reads what lies there; None where no archive is set.

        restored_ns: when the store was last restored from a backup; 0: never.
        """
        self._store = store
        self._archive = archive
        self._restored_ns = restored_ns
        self._active = 0
        self._notes = DamageNotes(store)
        self._live = live
        self._pool = pool
        self._metrics = metrics.reads
        self._ciphers = CipherCache(store, keyring)
        # A verification takes a thread of the pool for as long as it runs.
        self._verifying = asyncio.Semaphore(2)

    async def run(self, work: Callable[[], T]) -> T:
        """Runs blocking work on the store in the reader's pool."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, metered(work))

    async def find(self, name: LogName) -> int:
        """The number of the log; attempt 0 is the newest. Raises InvalidInput or NotFound."""
        return await self.run(functools.partial(self._find, name))

    async def details(self, name: LogName) -> LogDetails:
        """The log's record as of now, with its events. Raises InvalidInput or NotFound."""
        return await self.run(functools.partial(self._details, name))

    def forget(self, number: int) -> None:
        """Drops what is remembered of a deleted log."""
        self._ciphers.forget(number)

    def open_cipher(self, number: int) -> LogCipher:
        """The log's cipher; blocks. Raises NotFound when the log is gone, Corrupt when its key is damaged."""
        return self._ciphers.open(number)

    def _find(self, name: LogName) -> int:
        check_log_name(name, open_attempt=True)
        number = self._store.find_log(name)
        if number is None:
            raise NotFound(f"there is no log {name}")
        return number

    def _details(self, name: LogName) -> LogDetails:
        number = self._find(name)
        record = self._store.get_log(number)
        if record is None:
            raise NotFound(f"there is no log {name}")
        events = self._store.events(number)
        verified = shown_verification(self._store.verification(number), record, events, self._restored_ns)
        return LogDetails(record, events, verified)

    async def read(self, number: int, spec: ReadSpec) -> AsyncGenerator[Piece, None]:
        """The pieces of one read, contiguous, from spec.start on; there is always at least one.

        Without follow it ends with what was stored when it began; with it, when the log is completed. Close the
        generator (contextlib.aclosing) when it is not read to its end. Raises InvalidInput, NotFound, also in the
        middle when the log is deleted meanwhile.
        """
        spec.check()
        session = ReadSession(
            self._store,
            number,
            spec,
            self._ciphers.open,
            self._metrics,
            archive=self._archive,
            notes=self._notes,
            piece_bytes=self._piece_bytes,
        )
        read = _Read(
            session, self._pool, self._archive.readers if self._archive else self._pool, hold_seconds=self._hold_seconds
        )
        self._metrics.reads.labels("tail" if spec.follow else "read").inc()
        self._metrics.active.inc()
        self._active += 1
        if spec.follow:
            self._live.watch(number)
        try:
            async for piece in self._pieces(read, session, number, spec.follow):
                yield piece
        finally:
            if spec.follow:
                # Those who poll come back at once: the worker is not told to slow down in between.
                asyncio.get_running_loop().call_later(_WATCH_LINGER_SECONDS, self._live.unwatch, number)
            self._metrics.active.dec()
            self._active -= 1
            read.close()

    async def _pieces(
        self, read: _Read, session: ReadSession, number: int, follow: bool
    ) -> AsyncGenerator[Piece, None]:
        pause = _FIRST_PAUSE_SECONDS
        at_end = False
        while True:
            piece = await read.next()
            if piece is not None:
                if at_end and piece.data and session.first_time_ns:
                    lag_ns = time.time_ns() - session.first_time_ns
                    self._metrics.tail_lag_seconds.observe(max(0, lag_ns) / 1e9)
                at_end, pause = False, _FIRST_PAUSE_SECONDS
                if not session.limit_reached and self._active <= _MAX_AHEAD:
                    read.start_next()
                yield piece
                continue
            if not follow or session.limit_reached or session.completed:
                return
            at_end = True
            assert session.at is not None
            if self._live.length(number) is None:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE_SECONDS)
            else:
                await self._live.wait(number, session.at, _RECHECK_SECONDS)

    def _hold_seconds(self) -> float:
        return _HOLD_SECONDS if self._active <= _MAX_AHEAD else _SHORT_HOLD_SECONDS

    def _piece_bytes(self) -> int:
        """The more reads are open, the smaller their pieces: together they keep to a bound, taken or not."""
        return max(_LEAST_PIECE_BYTES, min(PIECE_BYTES, _ALL_PIECES_BYTES // max(1, self._active)))

    async def verify(self, number: int, progress: Progress) -> Verdict:
        """Reads the whole log, holds it against its seal, and keeps what was found.

        progress is called from another thread.
        """
        self._metrics.reads.labels("verify").inc()
        stopped = threading.Event()

        def work() -> Verdict:
            began_ns = time.time_ns()
            verdict = verify_log(
                self._store,
                number,
                self._ciphers.open,
                progress,
                stopped=stopped.is_set,
                archive=self._archive,
                notes=self._notes,
            )
            return replace(verdict, kept=keep_verification(self._store, verdict, began_ns, time.time_ns()))

        try:
            async with self._verifying:
                if self._archive is None:
                    return await self.run(work)
                return await asyncio.get_running_loop().run_in_executor(self._archive.readers, work)
        finally:
            stopped.set()


class _Read:
    """Runs a session's loads in the pool, one ahead, and lets go of its view when nobody takes pieces.

    Loads that wait for the archive run in archive_pool: a slow one holds up no read of the buffer.
    """

    def __init__(
        self, session: ReadSession, pool: Executor, archive_pool: Executor, *, hold_seconds: Callable[[], float]
    ) -> None:
        self._hold_seconds = hold_seconds
        self._session = session
        self._pool = pool
        self._archive_pool = archive_pool
        self._fetching = False
        self._loop = asyncio.get_running_loop()
        self._ahead: asyncio.Future[Piece | None] | None = None
        self._expiry: asyncio.TimerHandle | None = None

    def start_next(self) -> None:
        """Begins to load the next piece."""
        self._start(fetching=self._session.in_archive)

    def _start(self, *, fetching: bool) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._fetching = fetching
        work = metered(functools.partial(self._session.load, fetching=fetching))
        self._ahead = self._loop.run_in_executor(self._archive_pool if fetching else self._pool, work)
        self._expiry = self._loop.call_later(self._hold_seconds(), self._let_go)

    async def next(self) -> Piece | None:
        """The next piece, as ReadSession.load()."""
        if self._ahead is None:
            self.start_next()
        assert self._ahead is not None
        # A read that is cancelled must not cancel work that is queued in the pool: nobody would close its view.
        try:
            piece = await asyncio.shield(self._ahead)
        except InArchive:
            self._start(fetching=True)
            piece = await asyncio.shield(self._ahead)
        self._ahead = None
        return piece

    def _let_go(self) -> None:
        self._submit(self._session.release)

    def close(self) -> None:
        """Ends the read; does not wait for a load that is under way."""
        if self._expiry is not None:
            self._expiry.cancel()
        if self._ahead is not None:
            # Whatever comes of it, nobody asks any more.
            self._ahead.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._session.abandon()
        self._submit(self._session.close)

    def _submit(self, work: Callable[[], None]) -> None:
        # A pool that is shut down has no loads under way either; the store closes what is left.
        with contextlib.suppress(RuntimeError):
            (self._archive_pool if self._fetching else self._pool).submit(work)
