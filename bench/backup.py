"""Backups of a store on a real S3 server, beside plain boto3 multipart PUTs of the same files on the same server.

First all in this process, but for the server: a backup of a store of BACKUP_GIB GiB (4), a second one with nothing new,
one with a twentieth more, and the restore. Then a leader as a process of its own: its rate of ingest and the time to an
ack, with and without a backup beside. What is stored is noise, as sealed chunks are.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.archive import Bucket, server
from bench.archive_site import add_noise, new_log
from bench.daemons import Daemons, daemons
from bench.measuring import GIB, MIB, percentile, reset_memory_peak, self_memory_bytes, self_memory_peak_bytes
from bench.results import Result, arguments
from joblog.identity import LogName
from joblog.leader.backup.options import CreateLimits
from joblog.leader.backup.source import Source, moment
from tests.backing_up import BackedUpLeader, opened, restore
from tests.e2e.push_stream import append_of, open_of, push_to_process
from tests.object_servers import ACCESS_KEY, SECRET_KEY

MIN_SHARE = 0.8
# Pieces in clear and sealed, that are worked on at once, and the listing.
MAX_GROWTH_MIB = 256
_ACKS = 400
_ACK_PAUSE_SECONDS = 0.02


def main() -> None:
    """Runs the benchmark and keeps its figures."""
    options = arguments(__doc__ or "")
    size = 256 * MIB if options.quick else int(float(os.environ.get("BACKUP_GIB", "4")) * GIB)
    result = Result("backup", quick=options.quick)
    with tempfile.TemporaryDirectory(prefix="joblog-bench-") as temporary:
        folder = Path(temporary)
        with server(folder) as (name, endpoint):
            print(f"backup: to {name}", file=sys.stderr)
            whole_store(result, folder, endpoint, size)
            beside_ingest(result, folder, endpoint, 64 * MIB if options.quick else GIB // 2)
    result.keep()


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def plain_puts(bucket: Bucket, files: list[Path], prefix: str) -> None:
    """Sends files as boto3 does by itself: in parts, ten at once."""
    for file in files:
        bucket.store.client.upload_file(str(file), bucket.store.bucket, f"{prefix}/{file.name}")


def drop(bucket: Bucket, prefix: str) -> None:
    """Deletes what plain_puts() has put."""
    client = bucket.store.client
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket.store.bucket, Prefix=prefix)
    for page in pages:
        for found in page.get("Contents", []):
            client.delete_object(Bucket=bucket.store.bucket, Key=found["Key"])


def whole_store(result: Result, folder: Path, endpoint: str, size: int) -> None:
    """Backups of one store, and its restore."""
    bucket = Bucket(endpoint)
    leader = BackedUpLeader(folder / "data", bucket.objects)
    try:
        for number in range(8):
            add_noise(new_log(leader, LogName("bench", "run", f"t{number}", 1)), size // 8)
        kek = leader.source.path
        source: Source = leader.creator()._source  # noqa: SLF001 - what a backup takes
        with moment(source, "20260101T000000000Z-00000000") as now:
            files = [file for _, file in now.files]
            total = sum(file.stat().st_size for file in files)
            plain = [seconds(lambda: plain_puts(bucket, files, "plain"))]
            drop(bucket, "plain")
            reset_memory_peak()
            before = self_memory_bytes()
            taken = seconds(lambda: leader.backup(CreateLimits()))
            grown = self_memory_peak_bytes() - before
            plain.append(seconds(lambda: plain_puts(bucket, files, "plain")))
            drop(bucket, "plain")
        share = sum(plain) / 2 / taken
        result.add("size of the store", total / GIB, "GiB")
        result.add("backup", total / taken / 1e6, "MB/s")
        result.add("plain multipart PUTs", 2 * total / sum(plain) / 1e6, "MB/s")
        result.add("backup, against plain PUTs", share * 100, "%", at_least=MIN_SHARE * 100)
        result.add("memory that a backup adds, at its peak", grown / MIB, "MiB", at_most=MAX_GROWTH_MIB)
        again = seconds(lambda: leader.backup(CreateLimits()))
        result.add("a second backup with nothing new", again, "s")
        add_noise(new_log(leader, LogName("bench", "run", "more", 1)), size // 20)
        summary = leader.backup(CreateLimits())
        more = (summary.finished_ns - summary.created_ns) / 1e9
        result.add("a backup with a twentieth more: sent", summary.sent_bytes / (size // 20), "of what is new")
        result.add("a backup with a twentieth more", more, "s")
        plain_gets(result, bucket, leader, kek, folder)
    finally:
        leader.close()


def plain_gets(result: Result, bucket: Bucket, leader: BackedUpLeader, kek: Path, folder: Path) -> None:
    """The restore, beside plain GETs of the same objects."""
    repository = opened(bucket.objects, kek)
    manifest = repository.manifest(repository.resolve("latest"))
    total = manifest.summary.bytes
    files = [file for file in leader.store.path.iterdir() if file.suffix in (".blob", ".sst")]
    plain_puts(bucket, files, "plain")
    size = sum(file.stat().st_size for file in files)
    there = folder / "gets"
    there.mkdir()

    def gets() -> None:
        for file in files:
            bucket.store.client.download_file(bucket.store.bucket, f"plain/{file.name}", str(there / file.name))

    plain = seconds(gets)
    shutil.rmtree(there)
    drop(bucket, "plain")
    reset_memory_peak()
    before = self_memory_bytes()
    taken = seconds(lambda: restore(repository, "latest", folder / "restored", kek))
    grown = self_memory_peak_bytes() - before
    shutil.rmtree(folder / "restored")
    result.add("restore", total / taken / 1e6, "MB/s")
    result.add("plain multipart GETs", size / plain / 1e6, "MB/s")
    share = (total / taken) / (size / plain) * 100
    result.add("restore, against plain GETs", share, "%", at_least=MIN_SHARE * 100)
    result.add("memory that a restore adds, at its peak", grown / MIB, "MiB", at_most=MAX_GROWTH_MIB)


def beside_ingest(result: Result, folder: Path, endpoint: str, size: int) -> None:
    """What a backup costs those who write meanwhile."""
    noise = folder / "noise"
    with noise.open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
    variables = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    os.environ.update(variables)
    settings = [
        "backup.url=s3://joblog-bench-backup/of",
        f"backup.s3.endpoint={endpoint}",
        "backup.s3.path_style=true",
    ]
    try:
        with daemons(leader_settings=settings) as running:
            load(running, noise, "first")
            alone = load(running, noise, "alone"), asyncio.run(acks(running))
            stop = threading.Event()
            made: list[int] = []
            thread = threading.Thread(target=lambda: made.append(back_up_until(running, stop)))
            thread.start()
            beside = load(running, noise, "beside"), asyncio.run(acks(running))
            stop.set()
            thread.join()
    finally:
        for name in variables:
            del os.environ[name]
    result.add("ingest alone", size / alone[0] / 1e6, "MB/s")
    result.add("ingest with backups beside", size / beside[0] / 1e6, "MB/s")
    for percent in (50, 99):
        result.add(f"ack p{percent} alone", percentile(alone[1], percent) * 1000, "ms")
        result.add(f"ack p{percent} with backups beside", percentile(beside[1], percent) * 1000, "ms")
    result.add("backups made meanwhile", made[0])


def load(running: Daemons, noise: Path, run: str) -> float:
    """Seconds until all of the noise is acked."""

    def work() -> None:
        running.start_task(run, "t", ["cat", str(noise)]).wait()
        running.wait_completed(run, 1)

    return seconds(work)


def back_up_until(running: Daemons, stop: threading.Event) -> int:
    """Makes backups one after another; how many."""
    from joblog.v1 import backup_pb2, backup_pb2_grpc

    count = 0
    with running.client() as client:
        stub: Any = client.stub(backup_pb2_grpc.BackupsStub)
        while not stop.is_set():
            for _ in stub.CreateBackup(backup_pb2.CreateBackupRequest()):
                pass
            count += 1
    return count


async def acks(running: Daemons) -> list[float]:
    """Seconds from sending a line to its ack, many times."""
    taken = []
    async with push_to_process(running.folder.root) as push:
        await push.hello("bench")
        await push.open(open_of(1, f"acks-{time.time_ns()}"))
        at = 0
        for _ in range(_ACKS):
            began = time.monotonic()
            await push.send(appends=[append_of(1, at, b"a line of some length\n")])
            at += 22
            wanted = at
            await push.until(lambda wanted=wanted: push.acks.get(1, 0) >= wanted)
            taken.append(time.monotonic() - began)
            await asyncio.sleep(_ACK_PAUSE_SECONDS)
    return taken


if __name__ == "__main__":
    main()
