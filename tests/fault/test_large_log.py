"""A log of many gigabytes through a real leader and its archive: whole, and in memory that does not grow with it.

Only with `make fault`: it takes a minute or two, and four gigabytes of disk. LARGE_LOG_BYTES sets another size.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.buildlog import BLOCK_BYTES, block
from joblog.client import Client
from joblog.identity import LogName
from joblog.leader.archive.folder import FolderStore
from joblog.leader.archive.layout import parse_log_key
from joblog.leader.archive.objects import walk
from joblog.v1 import ingest_pb2, types_pb2
from joblog.v1.types_pb2 import TIER_ARCHIVE
from tests.e2e.machine import JOBLOG, until
from tests.e2e.push_stream import Push, batch_of, close_of, open_of, push_to_process
from tests.fault.cluster import Cluster
from tests.https import open_url

MIB = 1 << 20
SIZE_BYTES = int(os.environ.get("LARGE_LOG_BYTES", 5 * (1 << 30) + 12_345))
# What a leader may take, whatever the length of a log: see Sampler.
MAX_RSS_BYTES = 400 * MIB
# Large extents come one by one, and more than sixty of them: segments are joined, and copied.
PACK_BYTES = 17 * MIB
UNACKED_BYTES = 32 * MIB
BLOCKS = 24
LOG = LogName("default", "r", "t", 1)


class Text:
    """Build logs without end: batches that are made once and come again and again, but for a number in each."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.sha256 = hashlib.sha256()
        self.newlines = 0
        self._pieces = [
            (piece := raw[at : at + MIB], batch_of(piece))
            for raw in map(block, range(BLOCKS))
            for at in range(0, BLOCK_BYTES, MIB)
        ]

    def batches(self) -> Iterator[tuple[int, types_pb2.Batch]]:
        """(offset, batch) up to the size."""
        offset = at = 0
        while offset < self.size_bytes:
            raw, batch = self._pieces[at % len(self._pieces)]
            if at % 10 == 0 or self.size_bytes - offset < len(raw):
                # No two parts of the log are the same.
                raw = (b"part %d\n" % at + raw)[: min(MIB, self.size_bytes - offset)]
                batch = batch_of(raw)
            yield offset, batch
            self.sha256.update(raw)
            self.newlines += raw.count(b"\n")
            offset += len(raw)
            at += 1


class Sampler:
    """Looks at a process's resident memory all the time; `peak_bytes` since reset()."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self.peak_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            try:
                said = re.search(r"VmRSS:\s+(\d+) kB", self._status.read_text())
            except (FileNotFoundError, ProcessLookupError):
                return
            if said:
                self.peak_bytes = max(self.peak_bytes, int(said[1]) * 1024)

    def reset(self) -> int:
        """The peak so far; another one begins."""
        peak, self.peak_bytes = self.peak_bytes, 0
        return peak

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def cluster(data_dir: Path) -> Iterator[Cluster]:
    settings = {
        "JOBLOG_ARCHIVE_URL": (data_dir / "archive").as_uri(),
        "JOBLOG_ARCHIVE_FLUSH_INTERVAL_SECONDS": "5",
        "JOBLOG_ARCHIVE_PACK_MAX_BYTES": str(PACK_BYTES),
        "JOBLOG_ARCHIVE_BUFFER_BUDGET_BYTES": "256MiB",
    }
    with Cluster(data_dir, **settings) as made:
        yield made


async def push_all(data_dir: Path, text: Text) -> None:
    async with push_to_process(data_dir) as push:
        await push.hello()
        await push.open(open_of(1))
        for offset, batch in text.batches():
            await push.until(lambda offset=offset: offset - push.acks.get(1, 0) < UNACKED_BYTES)
            await push.send(appends=[ingest_pb2.Append(handle=1, offset=offset, batch=batch)])
        await close(push, text)


async def close(push: Push, text: Text) -> None:
    said = {"length": text.size_bytes, "sha256": text.sha256.digest(), "newlines": text.newlines}
    await push.send(closes=[close_of(1, b"", **said)])
    await push.until(lambda: 1 in push.closed)


def put_bytes(cluster: Cluster, kind: str) -> float:
    with open_url(cluster.leader_dir, "/metrics") as reply:
        found = re.search(
            rf'^joblog_archive_put_bytes_total{{kind="{kind}"}} (\S+)$', reply.read().decode(), re.MULTILINE
        )
    return float(found[1]) if found else 0.0


def is_sealed(cluster: Cluster) -> bool:
    with Client(data_dir=cluster.leader_dir) as client:
        return client.log(LOG).log.tier == TIER_ARCHIVE


@pytest.mark.timeout(1800)
def test_a_log_of_many_gigabytes(cluster: Cluster, data_dir: Path) -> None:
    leader = cluster.start_leader()
    memory = Sampler(leader.pid)
    text = Text(SIZE_BYTES)
    began = time.monotonic()
    asyncio.run(push_all(cluster.leader_dir, text))
    peaks = {"push": memory.reset()}
    print(f"\n{SIZE_BYTES:,} bytes pushed in {time.monotonic() - began:.0f} s")
    until(lambda: is_sealed(cluster), "it is sealed", 600)
    peaks["seal"] = memory.reset()
    segments = put_bytes(cluster, "segment")
    print(f"sealed after {time.monotonic() - began:.0f} s; {segments:,.0f} bytes of segments")

    found = hashlib.sha256()
    with Client(data_dir=cluster.leader_dir) as client:
        for part in client.read(LOG):
            assert not part.HasField("gap")
            found.update(part.data)
    assert found.digest() == text.sha256.digest()
    peaks["read"] = memory.reset()
    done = subprocess.run(
        [*JOBLOG, "verify", str(LOG.run)],
        env=cluster.environment | {"JOBLOG_DATA_DIR": str(cluster.leader_dir)},
        capture_output=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    peaks["verify"] = memory.reset()
    print("peaks, MiB:", {what: round(peak / MIB) for what, peak in peaks.items()}, f"{time.monotonic() - began:.0f} s")
    assert leader.terminate() == 0
    memory.stop()
    assert max(peaks.values()) < MAX_RSS_BYTES, peaks
    # A small one has no extents that are joined.
    assert segments > 0 or SIZE_BYTES < 5 << 30

    # The bucket and the key alone. Segments may wait for their end; nothing else is left.
    archive = FolderStore(data_dir / "archive")
    files = {parsed.file for info in walk(archive, "default/") if (parsed := parse_log_key(info.key))}
    assert {name for name in files if not name.endswith(".seg")} == {"log.joblog", "metadata.json"}
    environment = cluster.environment | {"JOBLOG_DATA_DIR": str(cluster.leader_dir)}
    with subprocess.Popen([*JOBLOG, "archive", "cat", "r/t"], env=environment, stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        alone = hashlib.file_digest(cat.stdout, "sha256")  # type: ignore[arg-type]
    assert (cat.returncode, alone.digest()) == (0, text.sha256.digest())
