"""The archive on a real S3 server, beside plain boto3 on the same server: reading, flushing, sealing, rebuilding.

Everything but the server runs in this process, so that its CPU and memory are those of the archive alone. What is
stored is noise: bytes that compress would make the server's part look smaller. The server is Ceph's RADOS Gateway where
it can be had, else moto, whose figures say little.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.archive_rebuild import rebuild
from bench.archive_site import add_noise, new_log
from bench.measuring import GIB, MIB, reset_memory_peak, self_memory_bytes, self_memory_peak_bytes
from bench.results import Result, arguments
from joblog.identity import LogName
from joblog.leader.archive.flush import FlushLimits
from joblog.leader.archive.retrying import RetryingStore
from joblog.leader.archive.s3 import S3Store
from joblog.leader.reading.piece import ReadSpec, Start, StartKind
from joblog.leader.reading.reader import LogReader
from tests.archiving import ArchiveSite
from tests.object_servers import moto_server, options_for, rgw_missing, rgw_server
from tests.stored_log import StoredLog

PART_BYTES = 16 * MIB
PACK_BYTES = 64 * MIB
RANGE_BYTES = 8 * MIB
MIN_SHARE = 0.8
MAX_CPU_SECONDS_PER_GIB = 0.5
MAX_SEALING_SECONDS = 30
MAX_ROUND_TRIPS = 2
SEALING_THREADS = 16
# What a read may hold ahead, and parts under way; beside it nothing should grow.
MAX_GROWTH_MIB = 192
# A pack's chunks, the pack made of them, and parts of it under way.
MAX_FLUSH_GROWTH_MIB = (2 * PACK_BYTES + 4 * PART_BYTES) // MIB + 32


class Spent(NamedTuple):
    """Wall and CPU seconds of this process."""

    wall_seconds: float
    cpu_seconds: float


def spent(work: Callable[[], object]) -> Spent:
    """Does the work."""
    wall, cpu = time.monotonic(), time.process_time()
    work()
    return Spent(time.monotonic() - wall, time.process_time() - cpu)


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, str]]:
    """(name, endpoint) of an S3 server."""
    numbers = iter(range(100))

    def fresh() -> Path:
        made = folder / f"server{next(numbers)}"
        made.mkdir()
        return made

    if reason := rgw_missing():
        print(f"archive: {reason}: moto instead", file=sys.stderr)
        with moto_server(fresh()) as endpoint:
            yield "moto", endpoint
    else:
        with rgw_server(fresh) as endpoint:
            yield "RGW", endpoint


class Bucket:
    """A bucket, joblog's store in it, and requests counted as they go to the server."""

    def __init__(self, endpoint: str) -> None:
        self.store = S3Store(f"joblog-{uuid.uuid4().hex[:12]}", "bench/", options_for(endpoint))
        self.store.check(create=True)
        self.requests: Counter[str] = Counter()
        # When each request began and ended.
        self.times: list[tuple[float, float]] = []
        self._thread = threading.local()
        self._lock = threading.Lock()
        events = self.store.client.meta.events
        events.register("before-call.s3", self._begin)
        events.register("after-call.s3", self._end)
        self.objects = RetryingStore(self.store, 20.0)

    def _begin(self, model: Any, **_: object) -> None:
        self._thread.began = time.monotonic()
        with self._lock:
            self.requests[model.name] += 1

    def _end(self, **_: object) -> None:
        with self._lock:
            self.times.append((self._thread.began, time.monotonic()))

    def round_trips(self) -> int:
        """Requests since clear() that began only after another one had ended: how often somebody waited for one."""
        trips, waited_until = 0, 0.0
        for began, ended in sorted(self.times, key=lambda one: one[1]):
            if began >= waited_until:
                trips, waited_until = trips + 1, ended
        return trips

    def clear(self) -> None:
        """Forgets requests so far."""
        self.requests.clear()
        self.times.clear()

    @property
    def client(self) -> Any:
        """boto3's own, with the settings that joblog gives it."""
        return self.store.client

    def put_plainly(self, key: str, data: bytes) -> None:
        """A multipart PUT, some parts at once."""
        where = {"Bucket": self.store.bucket, "Key": f"plain/{key}"}
        upload = self.client.create_multipart_upload(**where)["UploadId"]

        def put(number: int) -> dict[str, object]:
            body = data[(number - 1) * PART_BYTES : number * PART_BYTES]
            reply = self.client.upload_part(**where, UploadId=upload, PartNumber=number, Body=body)
            return {"PartNumber": number, "ETag": reply["ETag"]}

        with ThreadPoolExecutor(4) as pool:
            parts = list(pool.map(put, range(1, -(-len(data) // PART_BYTES) + 1)))
        self.client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})

    def get_plainly(self, key: str, size: int, at_once: int) -> None:
        """Ranged GETs of an object from its begin to its end."""

        def get(start: int) -> int:
            end = min(start + RANGE_BYTES, size) - 1
            reply = self.client.get_object(Bucket=self.store.bucket, Key=key, Range=f"bytes={start}-{end}")
            return len(reply["Body"].read())

        with ThreadPoolExecutor(at_once) as pool:
            if sum(pool.map(get, range(0, size, RANGE_BYTES))) != size:
                raise RuntimeError(f"{key} came short")


def main() -> None:
    """Runs the benchmark and keeps its figures."""
    options = arguments(__doc__ or "")
    result = Result("archive", quick=options.quick)
    size = 64 * MIB if options.quick else 512 * MIB
    with tempfile.TemporaryDirectory(prefix="joblog-bench-") as folder, server(Path(folder)) as (name, endpoint):
        print(f"archive: the server is {name}", flush=True)
        bucket = Bucket(endpoint)
        site = ArchiveSite(
            Path(folder) / "leader",
            bucket.objects,
            limits=FlushLimits(pack_bytes=PACK_BYTES),
            multipart_bytes=PART_BYTES,
        )
        try:
            large = flushing(result, bucket, site, size)
            sealing_large(result, site, large)
            reading(result, bucket, site, large)
            first_bytes(result, bucket, site, large)
            sealing_many(result, bucket, site, 100 if options.quick else 1000)
        finally:
            site.close()
        rebuild(result, Path(folder), 2_000 if options.quick else 100_000)
    result.keep()


def flushing(result: Result, bucket: Bucket, site: ArchiveSite, size: int) -> StoredLog:
    """Packs of a live log, and the same number of bytes by boto3; the better of two each. Returns the log.

    In a thread of its own, as the archiver works: memory is given back to the system otherwise than in the main one.
    """
    with ThreadPoolExecutor(1) as archiver:
        return _flushing(result, bucket, site, size, lambda: archiver.submit(site.flush, everything=True).result())


def _flushing(result: Result, bucket: Bucket, site: ArchiveSite, size: int, flush: Callable[[], object]) -> StoredLog:
    log = new_log(site.leader, LogName("default", "bench", "large", 1))
    noise = add_noise(log, size // 2)
    plain = [_put_packs(bucket, noise, "a")]
    site.context.claim.ensure()
    flushed = [spent(flush)]
    noise = add_noise(log, size // 2)
    reset_memory_peak()
    before = self_memory_bytes()
    flushed.append(spent(flush))
    growth = self_memory_peak_bytes() - before
    plain.append(_put_packs(bucket, noise, "b"))
    ours, theirs = min(one.wall_seconds for one in flushed), min(one.wall_seconds for one in plain)
    more = min(one.cpu_seconds for one in flushed) - min(one.cpu_seconds for one in plain)
    result.add("flush", size / 2 / ours / 1e6, "MB/s")
    result.add("flush, against multipart PUTs by boto3", theirs / ours, "times", at_least=MIN_SHARE)
    result.add("flush: CPU beyond boto3's", more * GIB / (size / 2), "s/GiB", at_most=MAX_CPU_SECONDS_PER_GIB)
    result.add("flush: memory that it takes", growth / MIB, "MiB", at_most=MAX_FLUSH_GROWTH_MIB)
    return log


def _put_packs(bucket: Bucket, noise: list[bytes], name: str) -> Spent:
    data = b"".join(noise)
    packs = [data[at : at + PACK_BYTES] for at in range(0, len(data), PACK_BYTES)]

    def put() -> None:
        for at, pack in enumerate(packs):
            bucket.put_plainly(f"{name}{at}", pack)

    return spent(put)


def sealing_large(result: Result, site: ArchiveSite, log: StoredLog) -> None:
    """One log of many parts, put together of its packs."""
    log.complete(sha256=b"\1" * 32)
    reset_memory_peak()
    before = self_memory_bytes()
    took = spent(site.seal)
    growth = self_memory_peak_bytes() - before
    result.add("seal a large log", log.record.seal.length / took.wall_seconds / 1e6, "MB/s")
    result.add("seal a large log: memory that it takes", growth / MIB, "MiB", at_most=MAX_GROWTH_MIB)


def reading(result: Result, bucket: Bucket, site: ArchiveSite, log: StoredLog) -> None:
    """The sealed log in order, decrypted and checked, and its object by ranged GETs; in turns, the best of three."""
    extent = next(iter(site.store.extents(log.number)))
    key = bucket.store.full_key(extent.object)
    rounds = range(3)
    ours, alone, at_once = [], [], []
    before = self_memory_bytes()
    reset_memory_peak()
    growth = 0
    for _ in rounds:
        alone.append(spent(lambda: bucket.get_plainly(key, extent.object_bytes, 1)))
        at_once.append(spent(lambda: bucket.get_plainly(key, extent.object_bytes, 3)))
        reset_memory_peak()
        ours.append(spent(lambda: asyncio.run(_read(site, log))))
        growth = max(growth, self_memory_peak_bytes() - before)
    best = min(one.wall_seconds for one in ours)
    result.add("read in order", log.record.seal.length / best / 1e6, "MB/s")
    result.add(
        "read in order, against ranged GETs by boto3",
        min(one.wall_seconds for one in alone) / best,
        "times",
        at_least=MIN_SHARE,
    )
    result.add("read in order, against three of them at once", min(one.wall_seconds for one in at_once) / best, "times")
    result.add("read in order: memory that it takes", growth / MIB, "MiB", at_most=MAX_GROWTH_MIB)


async def _read(site: ArchiveSite, log: StoredLog) -> None:
    size = 0
    async for piece in site.new_reader().read(log.number, ReadSpec()):
        size += len(piece.data)
    if size != log.record.seal.length:
        raise RuntimeError(f"{size} bytes came, {log.record.seal.length} are there")


def first_bytes(result: Result, bucket: Bucket, site: ArchiveSite, log: StoredLog) -> None:
    """Requests that are waited for until the first byte is there, with nothing in any cache."""
    middle = Start(StartKind.OFFSET, log.record.seal.length // 2 + 17)
    for name, spec in (("from the start", ReadSpec()), ("in the middle", ReadSpec(start=middle, limit_bytes=1000))):
        reader = site.new_reader()
        bucket.clear()
        took, trips = asyncio.run(_first(reader, log.number, spec, bucket))
        result.add(f"first byte {name}: round trips", trips, at_most=MAX_ROUND_TRIPS)
        result.add(f"first byte {name}", took * 1e3, "ms")


async def _first(reader: LogReader, number: int, spec: ReadSpec, bucket: Bucket) -> tuple[float, int]:
    """(seconds, round trips) until the first piece is there."""
    began = time.monotonic()
    async for _ in reader.read(number, spec):
        return time.monotonic() - began, bucket.round_trips()
    raise RuntimeError("nothing came")


def sealing_many(result: Result, bucket: Bucket, site: ArchiveSite, count: int) -> None:
    """Small tasks that end all at once, sealed straight from the buffer."""
    logs = [new_log(site.leader, LogName("default", f"run{at // 100}", f"task{at}", 1)) for at in range(count)]
    for log in logs:
        add_noise(log, 2000)
        log.complete(sha256=b"\1" * 32)
    bucket.clear()
    site.context.claim.ensure()
    with ThreadPoolExecutor(SEALING_THREADS) as pool:
        took = spent(lambda: list(pool.map(site.sealer.seal, [log.number for log in logs])))
    per_thousand = 1000 / count
    result.add("seal 1,000 small tasks", took.wall_seconds * per_thousand, "s", at_most=MAX_SEALING_SECONDS)
    result.add("seal 1,000 small tasks: CPU", took.cpu_seconds * per_thousand, "s")
    for name in ("PutObject", "HeadObject", "GetObject"):
        result.add(f"seal a small task: {name}", bucket.requests[name] / count, "requests")


if __name__ == "__main__":
    main()
