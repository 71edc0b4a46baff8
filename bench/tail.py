"""From a task's write to a reader's receipt: a line every 100 ms, on an idle leader and beside a load of 50 MB/s.

The reader follows the log over gRPC, as `joblog logs -f` does.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bench.buildlog import text_file
from bench.daemons import Daemons, Task, daemons, wait_for
from bench.measuring import MIB, percentile
from bench.results import Result, arguments
from joblog.errors import NotFound
from joblog.identity import LogName

INTERVAL_SECONDS = 0.1
LOAD_BYTES_PER_SECOND = 50e6
LOAD_TASKS = 2
# Lines at the begin that are not counted: the reader may come late to them.
WARM_UP_LINES = 10
MAX_P50_MS = 5
MAX_P99_MS = 25
HERE = Path(__file__).parent


def main() -> None:
    """Runs the benchmark and keeps its figures."""
    options = arguments(__doc__ or "")
    count = 60 if options.quick else 600
    result = Result("tail", quick=options.quick)
    with daemons() as running:
        _add(result, "idle", delays(running, "idle", count))
        load = [_start_load(running, number) for number in range(LOAD_TASKS)]
        time.sleep(2.0)
        before, began = _loaded_bytes(running), time.monotonic()
        found = delays(running, "loaded", count)
        speed = (_loaded_bytes(running) - before) / (time.monotonic() - began)
        for task in load:
            task.end()
        _add(result, "beside a load", found)
        result.add("beside a load: of", speed / 1e6, "MB/s", at_least=0.9 * LOAD_BYTES_PER_SECOND / 1e6)
    result.keep()


def delays(running: Daemons, name: str, count: int) -> list[float]:
    """Seconds from write to receipt, of `count` lines of a task that is started for it."""
    log = LogName("default", "tail", name, 1)
    command = [sys.executable, str(HERE / "ticker.py"), str(count + WARM_UP_LINES), str(INTERVAL_SECONDS)]
    task = running.start_task(log.run, name, command)
    found: list[float] = []
    with running.client() as client:

        def is_there() -> bool | None:
            try:
                client.log(log)
            except NotFound:
                return None
            return True

        wait_for(is_there, f"log {log}")
        rest = b""
        for part in client.read(log, follow=True):
            now = time.monotonic_ns()
            *lines, rest = (rest + part.data).split(b"\n")
            found.extend((now - int(line)) / 1e9 for line in lines)
    task.wait()
    return found[WARM_UP_LINES:]


def _start_load(running: Daemons, number: int) -> Task:
    text = str(text_file(128 * MIB))
    command = [sys.executable, str(HERE / "pacer.py"), text, str(LOAD_BYTES_PER_SECOND / LOAD_TASKS)]
    return running.start_task("load", f"task-{number}", command)


def _loaded_bytes(running: Daemons) -> int:
    with running.client() as client:
        return sum(record.next_offset for record in client.logs("load"))


def _add(result: Result, where: str, seconds: list[float]) -> None:
    result.add(f"{where}: p50", percentile(seconds, 50) * 1e3, "ms", at_most=MAX_P50_MS)
    result.add(f"{where}: p99", percentile(seconds, 99) * 1e3, "ms", at_most=MAX_P99_MS)
    result.add(f"{where}: longest", max(seconds) * 1e3, "ms")


if __name__ == "__main__":
    main()
