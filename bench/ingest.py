"""8 and 64 tasks that print 1 GiB in all: until every byte is acked and every log completed.

What the supervisors, the worker and the leader use of the CPU is held against `zstd -1` on the same bytes, in the same
run. The tasks themselves (`cat`) are not counted. Tasks are processes that start in the measured time as well: what it
takes to start that many of them with nothing to print is given beside.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bench.buildlog import slice_files, text_file
from bench.daemons import Daemons, daemons
from bench.measuring import GIB, MIB, cpu_seconds, disk_bytes, measured, memory_peak_bytes
from bench.results import Result, arguments

MIN_MB_PER_SECOND = 250
MAX_ZSTD_RATIO = 2.0


def main() -> None:
    """Runs the benchmark and keeps its figures."""
    options = arguments(__doc__ or "")
    size = 128 * MIB if options.quick else GIB
    result = Result("ingest", quick=options.quick)
    text = text_file(size)
    for tasks in (8, 64):
        ingest(result, text, tasks)
    result.keep()


def zstd_seconds(text: Path) -> float:
    """CPU seconds of `zstd -1`, by the command where there is one, else by the library."""
    try:
        ended = measured(["zstd", "-1", "-q", "-c", str(text)])
    except FileNotFoundError:
        code = (
            "import sys, zstandard; zstandard.ZstdCompressor(1).copy_stream(open(sys.argv[1], 'rb'), sys.stdout.buffer)"
        )
        ended = measured([sys.executable, "-c", code, str(text)])
    return ended.cpu_seconds + ended.children_cpu_seconds


def ingest(result: Result, text: Path, count: int) -> None:
    """One round with `count` tasks."""
    size = text.stat().st_size
    floors = [zstd_seconds(text)]
    with daemons() as running:
        before = _cpu(running)
        began = time.monotonic()
        tasks = [
            running.start_task("ingest", f"task-{number}", ["cat", str(part)])
            for number, part in enumerate(slice_files(text, count))
        ]
        ended = [task.wait() for task in tasks]
        running.wait_completed("ingest", count)
        wall = time.monotonic() - began
        leader, worker = (after - first for after, first in zip(_cpu(running), before, strict=True))
        supervisors = sum(one.cpu_seconds for one in ended)
        if running.length_bytes("ingest") != size:
            raise RuntimeError(f"{running.length_bytes('ingest')} bytes arrived, {size} were printed")
        peak = memory_peak_bytes(running.leader.pid)
        on_disk = disk_bytes(running.folder.store)
        idle = [running.start_task("idle", f"task-{number}", ["true"]) for number in range(count)]
        starting = sum(task.wait().cpu_seconds for task in idle)
    # Before and after: what else the machine does changes what a second of CPU is worth.
    floors.append(zstd_seconds(text))
    floor = sum(floors) / len(floors)
    total = leader + worker + supervisors
    per_gib = GIB / size
    result.add(f"{count} tasks: raw text", size / wall / 1e6, "MB/s", at_least=MIN_MB_PER_SECOND)
    result.add(f"{count} tasks: CPU of all, against zstd -1", total / floor, "times", at_most=MAX_ZSTD_RATIO)
    without_start = (total - starting) / floor
    result.add(f"{count} tasks: the same, but for the start of {count} tasks", without_start, "times")
    result.add(f"{count} tasks: CPU of zstd -1", floor * per_gib, "s/GiB")
    result.add(f"{count} tasks: CPU of the supervisors", supervisors * per_gib, "s/GiB")
    result.add(f"{count} tasks: CPU to start {count} tasks that print nothing", starting, "s")
    result.add(f"{count} tasks: CPU of the worker", worker * per_gib, "s/GiB")
    result.add(f"{count} tasks: CPU of the leader", leader * per_gib, "s/GiB")
    result.add(f"{count} tasks: on disk per raw byte", on_disk / size, "bytes")
    result.add(f"{count} tasks: leader's memory, peak", peak / MIB, "MiB")


def _cpu(running: Daemons) -> list[float]:
    return [cpu_seconds(pid)[0] for pid in running.pids()]


if __name__ == "__main__":
    main()
