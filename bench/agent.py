"""250 containers that print 50 MB/s together, in CRI files that are rotated: what the node agent uses of the CPU.

Beside it, on the same files in the same run: `cat` of them, and `zstd -1` of what was printed, which is what any agent
has to do at the least. The containers' writer and the leader share the machine with the agent; what they use is not
counted with it. Lines have about 100 bytes; the time stamps are the writer's.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from bench.buildlog import text_file
from bench.daemons import Daemons, daemons, wait_for
from bench.ingest import zstd_seconds
from bench.measuring import GIB, MIB, cpu_seconds, measured, memory_peak_bytes
from bench.results import Result, arguments

CONTAINERS = 250
BYTES_PER_SECOND = 50_000_000
TICK_SECONDS = 0.1
ROTATE_BYTES = 10 * MIB
MAX_CORES = 1.0
TEXT_BYTES = 128 * MIB


class Containers:
    """Writes the same lines to each container's file, a tick's worth at a time, and rotates the files by renaming."""

    def __init__(self, pods: Path, text: Path, count: int) -> None:
        self.paths = []
        for number in range(count):
            folder = pods / f"bench_pod-{number}_{number:08x}" / "main"
            folder.mkdir(parents=True)
            self.paths.append(folder / "0.log")
        self._fds = [self._open(path) for path in self.paths]
        self._size = 0
        self.files: list[Path] = []
        self._lines = text.read_bytes().splitlines(keepends=True)
        self._next = 0
        self.printed = bytearray()

    @staticmethod
    def _open(path: Path) -> int:
        return os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def print(self, size: int) -> int:
        """At least `size` bytes in each container; how many they were."""
        lines, length = [], 0
        while length < size:
            line = self._lines[self._next % len(self._lines)]
            self._next += 1
            lines.append(line)
            length += len(line)
        second = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime()).encode()
        fraction = time.time_ns() % 10**9
        encoded = b"".join(
            b"%s%09dZ stdout F %s" % (second, min(fraction + 1000 * number, 999_999_999), line)
            for number, line in enumerate(lines)
        )
        self.printed += b"".join(lines)
        for fd in self._fds:
            os.write(fd, encoded)
        self._size += len(encoded)
        if self._size > ROTATE_BYTES:
            self._rotate()
        return length

    def _rotate(self) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        for number, path in enumerate(self.paths):
            os.rename(path, f"{path}.{stamp}")
            os.close(self._fds[number])
            self._fds[number] = self._open(path)
        self._size = 0

    def end(self) -> None:
        for fd in self._fds:
            os.close(fd)


def main() -> None:
    """Runs the benchmark and keeps its figures."""
    options = arguments(__doc__ or "")
    seconds = 5.0 if options.quick else 30.0
    result = Result("agent", quick=options.quick)
    folder = Path(tempfile.mkdtemp(prefix="joblog-bench-pods-"))
    try:
        settings = ("kubernetes.enabled=true", f"kubernetes.pod_log_dir={folder}")
        with daemons(worker_settings=settings) as running:
            _measure(result, running, folder, seconds)
    finally:
        shutil.rmtree(folder)
    result.keep()


def _measure(result: Result, running: Daemons, folder: Path, seconds: float) -> None:
    containers = Containers(folder, text_file(TEXT_BYTES), CONTAINERS)
    worker = running.worker
    assert worker is not None
    piece = int(BYTES_PER_SECOND * TICK_SECONDS / CONTAINERS)
    containers.print(piece)
    _wait_stored(running, len(containers.printed))
    before = [cpu_seconds(pid)[0] for pid in (worker.pid, running.leader.pid)]
    skipped, began = len(containers.printed), time.monotonic()
    ticks = int(seconds / TICK_SECONDS)
    for tick in range(ticks):
        containers.print(piece)
        time.sleep(max(0.0, began + (tick + 1) * TICK_SECONDS - time.monotonic()))
    wall = time.monotonic() - began
    _wait_stored(running, len(containers.printed))
    behind = time.monotonic() - began - wall
    used = [cpu_seconds(pid)[0] - first for pid, first in zip((worker.pid, running.leader.pid), before, strict=True)]
    containers.end()
    size = (len(containers.printed) - skipped) * CONTAINERS
    rate = size / wall / 1e6
    files = sorted(str(path) for path in folder.rglob("*.log*"))
    cat = measured(["cat", *files])
    text = text_file(TEXT_BYTES)
    zstd = zstd_seconds(text) / text.stat().st_size * size
    result.add("bytes of logs printed", rate, "MB/s")
    result.add("agent's CPU at 50 MB/s", used[0] / size * BYTES_PER_SECOND, "cores", at_most=MAX_CORES)
    result.add("agent's CPU", used[0] / size * GIB, "s/GiB")
    result.add("`cat` of the files", cat.cpu_seconds / size * GIB, "s/GiB")
    result.add("`zstd -1` of what was printed", zstd / size * GIB, "s/GiB")
    result.add("agent ÷ (`cat` + `zstd -1`)", used[0] / (cat.cpu_seconds + zstd))
    result.add("until all was stored, after the last line", behind, "s")
    result.add("agent's memory, peak", memory_peak_bytes(worker.pid) / MIB, "MiB")
    result.add("leader's CPU", used[1] / size * GIB, "s/GiB")


def _wait_stored(running: Daemons, length: int) -> None:
    def stored() -> bool | None:
        with running.client() as client:
            done = 0
            for run in client.runs("bench"):
                done += sum(record.next_offset >= length for record in client.logs(run.run, "bench"))
        return True if done >= CONTAINERS else None

    wait_for(stored, "all logs", 300.0, pause_seconds=0.2)


if __name__ == "__main__":
    main()
