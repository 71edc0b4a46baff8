"""The archiver: flushes, seals and cleans up, for as long as the leader runs; what fails is tried again."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from joblog.errors import Corrupt, Denied, Interrupted, InvalidInput, JoblogError, WrongVersion
from joblog.leader.archive.busy import Busy
from joblog.leader.archive.claim import RENEW_SECONDS, Claim, ClaimLost
from joblog.leader.archive.clean import GRACE_SECONDS, Cleaner, Joiner
from joblog.leader.archive.context import ArchiveContext
from joblog.leader.archive.cost import Census, take_census
from joblog.leader.archive.describing import Describer
from joblog.leader.archive.doings import ArchiverState, Doings
from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.archive.flush import Flushed, Flusher, FlushLimits
from joblog.leader.archive.key_objects import KeyObjects
from joblog.leader.archive.objects import ObjectStore, walk
from joblog.leader.archive.plain import PlainCopier
from joblog.leader.archive.pressure import Pressure
from joblog.leader.archive.putting import Putter
from joblog.leader.archive.rosters import Rosters
from joblog.leader.archive.seal import Sealer, SealResult
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.metrics import Metrics
from joblog.service import Service

log = logging.getLogger(__name__)

SEAL_BATCH = 512
_SEAL_PAUSE_SECONDS = 0.2
# An archive that is out of reach is asked so often that its return is noticed soon: after an interval of flushes, or
# within these limits where that is shorter or longer.
_FIRST_BACKOFF_SECONDS = 0.5
_MIN_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS = 1.0, 15.0
_PRESSURE_SECONDS = 0.25
_RENEW_AGAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ArchiverLimits:
    """What the archiver keeps to. merge: whether chunks of live logs may be merged. plain_copy: see plain.py."""

    flush_interval_seconds: float = 10.0
    pack_bytes: int = 64 << 20
    buffer_budget_bytes: int = 2 << 30
    multipart_bytes: int = 16 << 20
    grace_seconds: float = GRACE_SECONDS
    loss_patience_seconds: float = 3600.0
    renew_seconds: float = RENEW_SECONDS
    threads: int = 16
    create_bucket: bool = True
    merge: bool = True
    plain_copy: bool = False


class Intake(Protocol):
    """What the archiver tells those who take logs in. Called in the event loop."""

    def archived(self, offsets: Mapping[int, int]) -> None:
        """All below these offsets of these logs is in the archive."""
        ...

    def sealed(self, number: int, length: int) -> None:
        """The completed log is sealed in the archive."""
        ...

    def hold(self, reason: str | None) -> None:
        """The buffer is full, for this reason: nothing is taken in until it is None again."""
        ...


class Archiver(Service):
    """Moves logs from the buffer to the archive.

    open_cipher: the cipher of a log by its number. jitter: 0 to 1, for each pause.
    """

    name = "archiver"

    def __init__(
        self,
        store: Store,
        objects: ObjectStore,
        limits: ArchiverLimits,
        *,
        keyring: Keyring,
        open_cipher: Callable[[int], LogCipher],
        reader: ExtentReader,
        intake: Intake,
        metrics: Metrics,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._objects = objects
        self._intake = intake
        self._metrics = metrics.archive
        self._limits = limits
        self._jitter = jitter
        self._pool = ThreadPoolExecutor(limits.threads, thread_name_prefix="archive")
        # What runs in these two waits for what runs in the one above.
        self._sealing = ThreadPoolExecutor(limits.threads, thread_name_prefix="archive-seal")
        self._workers = ThreadPoolExecutor(5, thread_name_prefix="archiver")
        self.context = ArchiveContext(
            store,
            Putter(store, objects, multipart_bytes=limits.multipart_bytes),
            Claim(objects, store.store_id, renew_seconds=limits.renew_seconds),
            Describer(store, keyring, open_cipher),
            open_cipher,
            self._pool,
            Busy(),
        )
        self.key_objects = KeyObjects(keyring.store_keys, self.context.putter)
        flushing = FlushLimits(
            limits.pack_bytes, limits.flush_interval_seconds, limits.merge, limits.loss_patience_seconds
        )
        self.rosters = Rosters(self.context, refresh_seconds=limits.grace_seconds, clock=clock)
        self.flusher = Flusher(self.context, self.rosters, flushing, clock=clock)
        self.sealer = Sealer(
            self.context,
            reader,
            loss_patience_seconds=limits.loss_patience_seconds,
            plain=PlainCopier(self.context, reader) if limits.plain_copy else None,
            clock=clock,
        )
        self.joiner = Joiner(self.context, reader)
        self.cleaner = Cleaner(self.context, grace_seconds=limits.grace_seconds)
        self.pressure = Pressure(store, limits.buffer_budget_bytes, limits.pack_bytes)
        self._early = asyncio.Event()
        self._completed = asyncio.Event()
        self._checked = False
        self._check_lock = threading.Lock()
        self._problems: dict[str, str] = {}
        self._doings = Doings()
        # Held by who takes a census.
        self.counting = threading.Lock()
        # Drops logs' keys that are kept for what the archiver does.
        self.forget_keys: Callable[[], None] = lambda: None
        self._unsealable: dict[int, str] = {}
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    # What others ask and tell

    def warnings(self) -> list[str]:
        """What is wrong with the archive now, for people."""
        refused = {"deleting": self.cleaner.refusal} if self.cleaner.refusal else {}
        return [f"archive: {doing}: {why}" for doing, why in sorted((self._problems | refused).items())]

    def state(self) -> ArchiverState:
        """How it does now. Any thread."""
        limits = self._limits
        return ArchiverState(
            name=self._objects.name,
            doings=self._doings.all(),
            unarchived_bytes=self.pressure.bytes,
            budget_bytes=limits.buffer_budget_bytes,
            held=self._problems.get("buffer", ""),
            flush_interval_seconds=limits.flush_interval_seconds,
            renew_seconds=limits.renew_seconds,
        )

    def census(self) -> Census:
        """Counts the archive's objects: a request for each thousand of them. Blocks. Raises Unavailable and others."""
        return take_census(walk(self._objects, ""), time.time_ns())

    def completed(self) -> None:
        """A log was completed: it can be sealed. Called in the event loop."""
        self._completed.set()

    def deleted(self) -> None:
        """Logs were deleted: the archive is not to name them any more. Called from any thread."""
        self.rosters.outdated()
        self.forget_keys()

    # Lifecycle

    async def run(self) -> None:
        """Works until it is cancelled. Raises ClaimLost when another leader has the archive."""
        self._loop = asyncio.get_running_loop()
        loops = [
            asyncio.create_task(work)
            for work in (self._flush_forever(), self._seal_forever(), self._renew_forever(), self._watch_pressure())
        ]
        try:
            done, _ = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        finally:
            for one in loops:
                one.cancel()
            await asyncio.gather(*loops, return_exceptions=True)

    async def stop(self) -> None:
        """Ends what is under way; whatever is half done is done again, or cleaned up, by the next start."""
        self._stopping.set()
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        for pool in (self._sealing, self._workers, self._pool):
            pool.shutdown(wait=True, cancel_futures=True)
        self.context.putter.close()

    # The loops

    async def _flush_forever(self) -> None:
        assert self._loop is not None
        failures = 0
        interval = self._limits.flush_interval_seconds
        await self._pause(interval * self._jitter())
        while True:
            began = self._loop.time()
            failures = 0 if await self._try("flush", self._flush) else failures + 1
            if not failures:
                await self._try("clean", self._clean)
            if failures:
                await asyncio.sleep(self._backoff_seconds(failures))
            else:
                pause = interval * (0.95 + 0.1 * self._jitter()) - (self._loop.time() - began)
                await self._pause(max(0.0, pause))

    async def _seal_forever(self) -> None:
        failures = 0
        while True:
            self._completed.clear()
            failures = 0 if await self._try("seal", self._seal_all) else failures + 1
            pause = self._limits.flush_interval_seconds
            if failures:
                await asyncio.sleep(self._backoff_seconds(failures))
                continue
            try:
                async with asyncio.timeout(pause):
                    await self._completed.wait()
                # Others may follow at once.
                await asyncio.sleep(_SEAL_PAUSE_SECONDS)
            except TimeoutError:
                pass

    async def _renew_forever(self) -> None:
        pause = self._limits.renew_seconds
        while True:
            await asyncio.sleep(pause)
            renewed = await self._try("claim", self.context.claim.renew)
            pause = self._limits.renew_seconds if renewed else min(self._limits.renew_seconds, _RENEW_AGAIN_SECONDS)

    async def _watch_pressure(self) -> None:
        while True:
            self.note_pressure()
            await asyncio.sleep(_PRESSURE_SECONDS)

    def note_pressure(self) -> None:
        """Looks how full the buffer is, and holds the intake or lets it go on. Called in the event loop; quick."""
        self._metrics.unarchived_bytes.set(self.pressure.bytes)
        if self.pressure.wants_flush():
            self._early.set()
        reason = self.pressure.reason(self._problems)
        if reason is None:
            self._problems.pop("buffer", None)
        else:
            self._problems["buffer"] = reason
        self._metrics.held.set(reason is not None)
        self._intake.hold(reason)

    def _backoff_seconds(self, failures: int) -> float:
        """How long to wait after so many failures in a row."""
        most = min(max(self._limits.flush_interval_seconds, _MIN_BACKOFF_SECONDS), _MAX_BACKOFF_SECONDS)
        return min(_FIRST_BACKOFF_SECONDS * 2.0 ** min(failures, 10), most) * (0.5 + 0.5 * self._jitter())

    async def _pause(self, seconds: float) -> None:
        """Waits, but no longer than until the buffer should be flushed."""
        try:
            async with asyncio.timeout(seconds):
                await self._early.wait()
        except TimeoutError:
            pass
        finally:
            self._early.clear()

    async def _try(self, doing: str, work: Callable[[], None]) -> bool:
        """Does blocking work; whether it went well. A failure is logged once per reason, counted and shown."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._workers, work)
        except ClaimLost:
            raise
        except Interrupted:
            return False
        except JoblogError as error:
            said = str(error)
            reason = type(error).__name__
            self._metrics.failures.labels(doing, reason).inc()
            if self._problems.get(doing) != said:
                log.error("archive: %s failed, it is tried again: %s", doing, said)
            self._problems[doing] = said
            self._doings.failed(doing, said)
            return False
        self._doings.worked(doing)
        if self._problems.pop(doing, None) is not None:
            log.info("archive: %s works again", doing)
        return True

    # Blocking work, in threads

    def ready(self) -> None:
        """Looks after the bucket, the first time, and after the claim. Raises ClaimLost, Unavailable and others."""
        with self._check_lock:
            if not self._checked:
                self._objects.check(create=self._limits.create_bucket)
                self._checked = True
        self.context.claim.ensure()

    def write_keys(self) -> int:
        """Brings the archive's copies of the store's keys up to date; how many were written. Blocks; any thread."""
        if not self.key_objects.behind():
            return 0
        self.ready()
        return self.key_objects.write()

    def _flush(self) -> None:
        self.ready()
        self.write_keys()
        began = time.monotonic()
        self.rosters.refresh()
        mark = self.pressure.begin()
        done = self.flusher.flush(everything=self.pressure.is_high(), on_pack=partial(self._packed, Flushed()))
        self.pressure.recount(mark, done.left_bytes)
        for number in done.crowded:
            self._check_stopping()
            self._metrics.put_bytes.labels("segment").inc(self.joiner.join(number))
        self._metrics.flush_seconds.observe(time.monotonic() - began)

    def _packed(self, told: Flushed, done: Flushed) -> None:
        """Tells what one more pack did; `told`: what was told before."""
        self._metrics.packs.inc(done.packs - told.packs)
        self._metrics.put_bytes.labels("pack").inc(done.put_bytes - told.put_bytes)
        self.pressure.dropped(done.dropped_bytes - told.dropped_bytes)
        told.packs, told.put_bytes, told.dropped_bytes = done.packs, done.put_bytes, done.dropped_bytes
        fresh, done.archived = done.archived, {}
        self._tell(self._intake.archived, fresh)
        self._check_stopping()

    def _tell(self, tell: Callable[..., None], *arguments: object) -> None:
        if self._loop is not None and not self._stopping.is_set():
            self._loop.call_soon_threadsafe(tell, *arguments)

    def _seal_all(self) -> None:
        last, left = 0, 0
        while numbers := self._store.unsealed_logs(SEAL_BATCH, last):
            self.ready()
            last = numbers[-1]
            left += sum(not sealed for sealed in self._sealing.map(self._seal_one, numbers))
        self._metrics.unsealed_logs.set(left)

    def _seal_one(self, number: int) -> bool:
        """Whether it is sealed. What only this log has trouble with holds up no other one."""
        self._check_stopping()
        before = self._store.get_log(number)
        try:
            done = self.sealer.seal(number)
        except (Corrupt, Denied, InvalidInput, WrongVersion) as error:
            self._metrics.failures.labels("seal", type(error).__name__).inc()
            if self._unsealable.get(number) != str(error):
                log.error("log %d can't be sealed, it stays where it is: %s", number, error)
            self._unsealable[number] = str(error)
            return False
        self._unsealable.pop(number, None)
        self._metrics.put_bytes.labels("sealed").inc(done.put_bytes)
        if done.result is SealResult.SEALED and before is not None:
            self._metrics.sealed_logs.inc()
            self.pressure.dropped(done.dropped_bytes)
            self._tell(self._intake.sealed, number, before.seal.length)
        return done.result is not SealResult.LATER

    def _clean(self) -> None:
        self._metrics.deleted_objects.inc(self.cleaner.clean())
        self.pressure.reclaim()

    def _check_stopping(self) -> None:
        if self._stopping.is_set():
            raise Interrupted("the leader is stopping")
