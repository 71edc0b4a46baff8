"""A million archived logs expire: how long that takes, what it asks of the archive, and what writers notice of it.

In one process: the service, the store, the archive's cleaner on a folder whose requests are counted as S3 takes them (a
thousand objects each). Beside it a writer commits chunks of 64 KiB, each synced, and notes how long that takes.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.catalog_seed import STORED_BYTES, seed
from bench.measuring import MIB, disk_bytes, percentile, reset_memory_peak, self_memory_bytes, self_memory_peak_bytes
from bench.results import Result, arguments
from joblog.leader.archive.busy import Busy
from joblog.leader.archive.claim import Claim
from joblog.leader.archive.clean import Cleaner
from joblog.leader.archive.context import ArchiveContext
from joblog.leader.archive.describing import Describer
from joblog.leader.archive.folder import FolderStore
from joblog.leader.archive.metered import MeteredStore
from joblog.leader.archive.putting import Putter
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import KIND_DATA, ChunkHeader
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.metrics import Metrics
from joblog.leader.reading.reader import CipherCache
from joblog.leader.retention.policy import Policies
from joblog.leader.retention.service import Done, Retention
from joblog.leader.retention.sweep import Sweep
from joblog.paths import DataFolder
from joblog.v1 import types_pb2
from joblog.v1.types_pb2 import LogId, LogRecord

CHUNK_BYTES = 64 << 10
COMMIT_PAUSE_SECONDS = 0.02
LOGS_PER_SECOND = 500.0
MAX_SLOWDOWN = 2.0


class Writer:
    """Commits chunks until it is told to stop. took: seconds of each commit."""

    def __init__(self, store: Store) -> None:
        self.took: list[float] = []
        self._store = store
        self._stopping = threading.Event()
        self._number = store.next_number()
        changes = Changes()
        changes.put_log(
            LogRecord(
                id=LogId(namespace="writing", run=f"r{self._number}", task="t", attempt=1),
                uid=os.urandom(16),
                number=self._number,
                writer_id=os.urandom(16),
                state=types_pb2.LOG_STATE_LIVE,
                created_ns=time.time_ns(),
            )
        )
        store.write(changes)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        offset, body = 0, os.urandom(CHUNK_BYTES)
        while not self._stopping.wait(COMMIT_PAUSE_SECONDS):
            header = ChunkHeader(KIND_DATA, 1, 0, CHUNK_BYTES, 0, time.time_ns(), 0, 0)
            changes = Changes()
            changes.put_chunk(self._number, offset, header.pack() + body)
            offset += CHUNK_BYTES
            began = time.perf_counter()
            self._store.write(changes)
            self.took.append(time.perf_counter() - began)

    def stop(self) -> None:
        """Ends it."""
        self._stopping.set()
        self._thread.join()


class NoFence:
    """There are no live logs to fence."""

    def forget(self, _number: int) -> None:
        """Does nothing."""

    def forgotten(self, _number: int) -> None:
        """Does nothing."""


def main() -> None:
    """Runs the benchmark and keeps its figures."""
    options = arguments(__doc__ or "")
    logs = 20_000 if options.quick else 1_000_000
    result = Result("retention", quick=options.quick)
    with tempfile.TemporaryDirectory(prefix="joblog-bench-") as folder:
        data = DataFolder(Path(folder) / "leader")
        seed(data.root, logs, now_ns=time.time_ns(), age_seconds=7200.0)
        store = Store.open(data.store)
        try:
            asyncio.run(measure(result, store, Path(folder), logs))
            reclaimed_from = disk_bytes(data.store)
            store.reclaim()
            result.add("store before its space was given back", reclaimed_from / MIB, "MiB")
            result.add("store after that", disk_bytes(data.store) / MIB, "MiB")
        finally:
            store.close()
    result.keep()


def retention(store: Store, policy: str, logs_per_second: float) -> Retention:
    """The service, as the leader has it."""
    return Retention(
        store,
        Policies.parse([policy], ()),
        NoFence(),
        forget_reader=lambda _number: None,
        pool=ThreadPoolExecutor(1),
        metrics=Metrics().retention,
        first_pause_seconds=0.0,
        logs_per_second=logs_per_second,
    )


async def one_pass(made: Retention) -> Done:
    """A pass, and what it did."""
    await made.start()
    running = asyncio.create_task(made.run())
    try:
        steps = [step async for step in made.run_now()]
    finally:
        running.cancel()
        await asyncio.wait([running])
    return steps[-1][0]


async def measure(result: Result, store: Store, folder: Path, logs: int) -> None:
    """Adds the figures."""
    began = time.monotonic()
    for policy in ("*: keep=10000d", "* label=branch=*: keep_last=100000"):
        list(Sweep(store, Policies.parse([policy], ()), time.time_ns()).slices(500))
    result.add(f"a look at the runs of {logs:,} logs, of one core", (time.monotonic() - began) / 2, "s")
    done = await one_pass(retention(store, "*: keep=10000d", LOGS_PER_SECOND))
    result.add("a pass that finds nothing, with its pauses", done.seconds, "s")

    alone = Writer(store)
    await asyncio.sleep(5.0 if logs < 100_000 else 20.0)
    alone.stop()
    reset_memory_peak()
    before = self_memory_bytes()
    # Part of them at the pace that is set, with a writer beside; then the rest as fast as it goes.
    paced = retention(store, "*: keep=1h", LOGS_PER_SECOND)
    beside = Writer(store)
    running = asyncio.create_task(one_pass(paced))
    began = time.monotonic()
    await asyncio.sleep(10.0 if logs < 100_000 else 60.0)
    running.cancel()
    await asyncio.wait([running])
    beside.stop()
    result.add("expired at the pace that is set", paced.progress.logs / (time.monotonic() - began), "logs/s")
    for name, writer in (("alone", alone), ("beside it", beside)):
        result.add(f"a commit {name}: median", percentile(writer.took, 50) * 1e3, "ms")
        result.add(f"a commit {name}: 99th percentile", percentile(writer.took, 99) * 1e3, "ms")
    slowdown = percentile(beside.took, 50) / percentile(alone.took, 50)
    result.add("a commit's median beside it, times that alone", slowdown, at_most=MAX_SLOWDOWN)

    done = await one_pass(retention(store, "*: keep=1h", 0.0))
    total = done.logs + paced.progress.logs
    if total != logs:
        raise RuntimeError(f"{total} of {logs} logs expired")
    result.add("as fast as it goes", done.logs / done.seconds, "logs/s")
    result.add("1,000,000 logs: index, keys and catalog", done.seconds / done.logs * 1e6, "s")
    clean(result, store, folder, logs)
    result.add("memory that it takes", (self_memory_peak_bytes() - before) / MIB, "MiB")
    if done.bytes != done.logs * STORED_BYTES:
        raise RuntimeError(f"{done.bytes} bytes were counted as freed, by {done.logs} logs of {STORED_BYTES}")


def clean(result: Result, store: Store, folder: Path, logs: int) -> None:
    """Deletes the objects, which are noted as unused, and counts what is asked."""
    objects = MeteredStore(FolderStore(folder / "archive"))
    objects.check(create=True)
    keyring = Keyring.open(store, FileKms(folder / "leader" / "leader" / "kek.key"), store.store_id)
    ciphers = CipherCache(store, keyring)
    putter = Putter(store, objects, multipart_bytes=16 << 20)
    pool = ThreadPoolExecutor(1)
    claim = Claim(objects, store.store_id)
    claim.ensure()
    context = ArchiveContext(store, putter, claim, Describer(store, keyring, ciphers.open), ciphers.open, pool, Busy())
    cleaner = Cleaner(context, grace_seconds=0.0)
    began, count = time.monotonic(), 0
    requests = objects.usage().requests.get("delete", 0)
    while some := cleaner.clean():
        count += some
    took = time.monotonic() - began
    putter.close()
    pool.shutdown()
    if count != 2 * logs:
        raise RuntimeError(f"{count} objects of {logs} logs were deleted")
    scale = 1_000_000 / logs
    result.add("1,000,000 logs: objects", took * scale, "s")
    result.add("1,000,000 logs: delete requests", (objects.usage().requests["delete"] - requests) * scale, "requests")


if __name__ == "__main__":
    main()
