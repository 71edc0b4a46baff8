"""10,000 live logs from 20 workers, a line a second each: what the leader uses, and how long a line waits for its ack.

The workers are real ones as far as the leader can tell (spools, shippers, one stream each), several to a process; they
share the machine with the leader, so their CPU is given too. An ack's time begins with the line's write to the spool.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter

from bench.daemons import Daemons, daemons
from bench.measuring import MIB, cpu_seconds, memory_peak_bytes
from bench.results import Result, arguments

PROCESSES = 5
WORKERS = 20
MAX_MEMORY_MIB = 1024
MAX_CORES = 1.0
MAX_ACK_P99_SECONDS = 1.0


def main() -> None:
    """Runs the benchmark and keeps its figures."""
    options = arguments(__doc__ or "")
    logs, seconds = (50, 10.0) if options.quick else (500, 60.0)
    result = Result("many", quick=options.quick)
    with daemons(with_worker=False) as running:
        fleets = [_start_fleet(running, number, logs) for number in range(PROCESSES)]
        try:
            _measure(result, running, fleets, seconds)
        finally:
            for fleet in fleets:
                fleet.kill()
                fleet.wait()
    result.keep()


def _start_fleet(running: Daemons, number: int, logs: int) -> subprocess.Popen[str]:
    folder = running.folder.root / f"fleet{number}"
    folder.mkdir()
    command = [str(folder), str(running.folder.root), str(WORKERS // PROCESSES), str(logs)]
    return subprocess.Popen(
        [sys.executable, "-m", "bench.fleet", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _measure(result: Result, running: Daemons, fleets: list[subprocess.Popen[str]], seconds: float) -> None:
    began = time.monotonic()
    for fleet in fleets:
        assert fleet.stdout is not None
        if fleet.stdout.readline() != "ready\n":
            raise RuntimeError("a fleet ended before it was ready")
    opening = time.monotonic() - began
    # The opening of ten thousand logs is over; the lines that waited for it are to be gone.
    time.sleep(5.0)
    pids = [running.leader.pid, *(fleet.pid for fleet in fleets)]
    before, began = [cpu_seconds(pid)[0] for pid in pids], time.monotonic()
    for fleet in fleets:
        assert fleet.stdin is not None
        fleet.stdin.write("count\n")
        fleet.stdin.flush()
    time.sleep(seconds)
    used = [cpu_seconds(pid)[0] - first for pid, first in zip(pids, before, strict=True)]
    wall = time.monotonic() - began
    peak = memory_peak_bytes(running.leader.pid)
    times = Counter[int]()
    for fleet in fleets:
        out, _ = fleet.communicate()
        times.update({int(milliseconds): lines for milliseconds, lines in json.loads(out).items()})
    result.add("leader's memory, peak", peak / MIB, "MiB", at_most=MAX_MEMORY_MIB)
    result.add("leader's CPU", used[0] / wall, "cores", at_most=MAX_CORES)
    result.add("write to ack: p50", _percentile(times, 50), "s")
    result.add("write to ack: p99", _percentile(times, 99), "s", at_most=MAX_ACK_P99_SECONDS)
    result.add("lines acked", times.total() / wall, "a second")
    result.add("CPU of 20 workers and their tasks", sum(used[1:]) / wall, "cores")
    result.add("until all logs were open", opening, "s")


def _percentile(times_ms: Counter[int], percent: float) -> float:
    """Seconds that `percent` of the lines did not exceed."""
    wanted, seen = times_ms.total() * percent / 100, 0
    for milliseconds in sorted(times_ms):
        seen += times_ms[milliseconds]
        if seen >= wanted:
            return (milliseconds + 1) / 1e3
    return 0.0


if __name__ == "__main__":
    main()
