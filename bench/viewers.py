"""200 viewers of the admin UI beside ingest: what they take from collecting, and how they are served meanwhile.

Eight tasks print without end, as fast as they can or 50 MB/s in all. Spans with and without viewers take turns, so that
what the machine does besides meets both. Viewers share its cores, so what they use themselves is given too.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.buildlog import text_file
from bench.daemons import Daemons, Task, daemons, wait_for
from bench.measuring import MIB, cpu_seconds, percentile
from bench.results import Result, arguments
from joblog.errors import NotFound
from joblog.identity import RUN_LOG_TASK

VIEWERS = 200
TASKS = 8
PACED_BYTES_PER_SECOND = 50e6
ENDLESS_BYTES_PER_SECOND = 1e12
MIN_FULL_RATIO = 0.8
MIN_PACED_RATIO = 0.95
MAX_PAGE_P99_MS = 1000
SMALL_RUNS = 20
SETTLE_SECONDS = 2.0
HERE = Path(__file__).parent


@dataclass
class Span:
    """What was measured with, or without, viewers; seconds of the wall, of the leader's and of the viewers' CPU."""

    seconds: float = 0.0
    bytes: int = 0
    leader_cpu: float = 0.0
    viewers_cpu: float = 0.0
    got: dict[str, Any] = field(default_factory=dict)

    @property
    def speed(self) -> float:
        """Bytes acked a second."""
        return self.bytes / self.seconds


def main() -> None:
    """Runs the benchmark and keeps its figures."""
    options = arguments(__doc__ or "")
    spans, seconds = (1, 5.0) if options.quick else (4, 10.0)
    result = Result("viewers", quick=options.quick)
    with daemons() as running:
        text = text_file(64 * MIB)
        for number in range(SMALL_RUNS):
            running.start_task(f"small-{number}", "task", ["true"]).wait()
        running.start_task("finished", "big", ["cat", str(text)]).wait()
        running.wait_completed("finished", 1)
        lines = text.read_bytes().count(b"\n")
        for name, pace, least in (
            ("full load", ENDLESS_BYTES_PER_SECOND, MIN_FULL_RATIO),
            ("50 MB/s", PACED_BYTES_PER_SECOND, MIN_PACED_RATIO),
        ):
            run = name.replace(" ", "-").replace("/", "-")
            load = [_start_load(running, run, number, pace) for number in range(TASKS)]
            try:
                wait_for(functools.partial(_all_are_written, running, run), f"logs of {run}")
                time.sleep(SETTLE_SECONDS)
                without, beside = Span(), Span()
                for _ in range(spans):
                    _measure(running, run, seconds, without)
                    _measure_with_viewers(running, run, lines, seconds, beside)
            finally:
                for task in load:
                    task.end()
            _add(result, name, without, beside, least)
    result.keep()


def _start_load(running: Daemons, run: str, number: int, bytes_per_second: float) -> Task:
    command = [sys.executable, str(HERE / "pacer.py"), str(text_file(64 * MIB)), str(bytes_per_second / TASKS)]
    return running.start_task(run, f"task-{number}", command)


def _all_are_written(running: Daemons, run: str) -> bool | None:
    with running.client() as client:
        try:
            written = sum(record.id.task != RUN_LOG_TASK and record.next_offset > 0 for record in client.logs(run))
        except NotFound:
            return None
    return True if written == TASKS else None


def _acked_bytes(running: Daemons, run: str) -> int:
    with running.client() as client:
        return sum(record.next_offset for record in client.logs(run))


def _measure(running: Daemons, run: str, seconds: float, span: Span) -> None:
    before, cpu, began = _acked_bytes(running, run), cpu_seconds(running.leader.pid)[0], time.monotonic()
    time.sleep(seconds)
    span.leader_cpu += cpu_seconds(running.leader.pid)[0] - cpu
    span.bytes += _acked_bytes(running, run) - before
    span.seconds += time.monotonic() - began


def _measure_with_viewers(running: Daemons, run: str, lines: int, seconds: float, span: Span) -> None:
    command = [sys.executable, "-m", "bench.audience", str(running.folder.root), run, str(TASKS), str(lines)]
    audience = subprocess.Popen(
        [*command, str(VIEWERS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=HERE.parent,
        start_new_session=True,
    )
    try:
        assert audience.stdout is not None
        if audience.stdout.readline() != "ready\n":
            raise RuntimeError("the viewers ended before each had a reply")
        # Those who follow have learnt by then how often to ask.
        time.sleep(SETTLE_SECONDS)
        cpu = cpu_seconds(audience.pid)[0]
        _measure(running, run, seconds, span)
        span.viewers_cpu += cpu_seconds(audience.pid)[0] - cpu
        out, _ = audience.communicate()
    finally:
        audience.kill()
        audience.wait()
    for kind, got in json.loads(out).items():
        all_got = span.got.setdefault(kind, {"milliseconds": [], "bytes": 0, "failed": 0})
        for name, value in got.items():
            all_got[name] += value


def _add(result: Result, name: str, without: Span, beside: Span, least: float) -> None:
    result.add(f"{name}: without viewers", without.speed / 1e6, "MB/s")
    result.add(f"{name}: with {VIEWERS} viewers", beside.speed / 1e6, "MB/s")
    result.add(f"{name}: with viewers, against without", beside.speed / without.speed, "times", at_least=least)
    result.add(f"{name}: the leader's CPU without viewers", without.leader_cpu / without.seconds, "cores")
    result.add(f"{name}: the leader's CPU with viewers", beside.leader_cpu / beside.seconds, "cores")
    result.add(f"{name}: the viewers' own CPU", beside.viewers_cpu / beside.seconds, "cores")
    for kind, what in (("scroll", "a window of a completed log"), ("list", "a list of runs or logs")):
        times = beside.got[kind]["milliseconds"]
        if not times:
            raise RuntimeError(f"{name}: nobody had {what} in time: the machine does too much else to measure this")
        result.add(f"{name}: {what}: p50", percentile(times, 50), "ms")
        result.add(f"{name}: {what}: p99", percentile(times, 99), "ms", at_most=MAX_PAGE_P99_MS)
    follow = beside.got["follow"]["bytes"] / beside.seconds / 1e6
    result.add(f"{name}: what those who follow get", follow, "MB/s")
    failed = sum(got["failed"] for got in beside.got.values())
    result.add(f"{name}: requests that failed", failed, "", at_most=0)


if __name__ == "__main__":
    main()
