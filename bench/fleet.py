"""Some workers in one process, for bench/many.py: real spools, real shippers; only the tasks are made up.

    python -m bench.fleet FOLDER LEADER WORKERS LOGS_PER_WORKER

Every log gets a line a second. Says `ready` once each log has had an ack; from a line on standard input on it takes the
times from a line's write to its ack, until standard input ends, and then says them as JSON: {milliseconds: lines}.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter, deque
from pathlib import Path

import uvloop

from joblog.address import KnownLeader, find_leader
from joblog.paths import DataFolder, make_folder
from joblog.service import serve
from joblog.worker.shipper.limits import ShipperLimits
from joblog.worker.shipper.notify import NotifyListener
from joblog.worker.shipper.shipper import Shipper
from joblog.worker.spool.bound import SpoolBounds
from joblog.worker.spool.format import SpoolTask
from joblog.worker.spool.writer import SpoolWriter

TICK_SECONDS = 0.02
PERIOD_SECONDS = 1.0
BOUNDS = SpoolBounds(16 << 20, 1 << 30, 8 << 20)


class Worker:
    """One worker of the fleet: its spools, and the shipper that carries them."""

    def __init__(self, folder: DataFolder, name: str, leader: KnownLeader, logs: int) -> None:
        make_folder(folder.spools)
        limits = ShipperLimits()
        self.shipper = Shipper(folder.spools, name, lambda: leader, limits)
        self.notify = NotifyListener(folder.notify_socket, self.shipper.notified)
        self.logs = [Log(folder, name, number) for number in range(logs)]


class Log:
    """One log: its spool's writer, and when lines that are not acked yet were written."""

    def __init__(self, folder: DataFolder, worker: str, number: int) -> None:
        task = SpoolTask(
            writer_id=os.urandom(16),
            namespace="many",
            run=worker,
            task=f"task-{number}",
            command=["made-up"],
            started_ns=time.time_ns(),
        )
        self.writer = SpoolWriter(folder.spools / f"{number:08d}", task, BOUNDS)
        self.waiting: deque[tuple[int, float]] = deque()

    def write_line(self, now: float) -> None:
        """Appends a line of about 100 bytes."""
        writer = self.writer
        line = bytearray(
            f"{writer.length:9d} {writer.task.task} of {writer.task.run}: one more step, all well ".encode()
        )
        line = line.ljust(99, b".") + b"\n"
        writer.append_data(line, len(line), b"\1", [time.time_ns()], [len(line)])
        self.waiting.append((writer.length, now))


class Fleet:
    """All workers of this process."""

    def __init__(self, workers: list[Worker]) -> None:
        self.services = [service for worker in workers for service in (worker.shipper, worker.notify)]
        self._logs = [(worker, log) for worker in workers for log in worker.logs]
        self._counting = False
        self._ready = asyncio.Event()
        self.times_ms: Counter[int] = Counter()

    async def write(self) -> None:
        """Writes a line a second to each log, spread evenly."""
        at = 0
        began = time.monotonic()
        while True:
            due = int((time.monotonic() - began) / PERIOD_SECONDS * len(self._logs))
            # A process that can't keep up must not spend its time on catching up.
            at = max(at, due - len(self._logs))
            while at < due:
                self._logs[at % len(self._logs)][1].write_line(time.monotonic())
                at += 1
            self._look_for_acks()
            await asyncio.sleep(TICK_SECONDS)

    def _look_for_acks(self) -> None:
        now = time.monotonic()
        acked = 0
        for worker, log in self._logs:
            feed = worker.shipper.feed(log.writer.spool_id)
            while feed is not None and log.waiting and log.waiting[0][0] <= feed.acked_offset:
                written = log.waiting.popleft()[1]
                if self._counting:
                    self.times_ms[int((now - written) * 1e3)] += 1
            acked += feed is not None and feed.acked_offset > 0
        if acked == len(self._logs):
            self._ready.set()

    async def follow_orders(self, stopping: asyncio.Event) -> None:
        """Says `ready`, counts from the first line on standard input, and stops at its end."""
        await self._ready.wait()
        print("ready", flush=True)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, sys.stdin.readline)
        self._counting = True
        await loop.run_in_executor(None, sys.stdin.read)
        self._counting = False
        stopping.set()


async def _run(root: Path, leader: KnownLeader, workers: int, logs: int) -> None:
    names = [f"{root.name}-{number}" for number in range(workers)]
    fleet = Fleet([Worker(DataFolder(make_folder(root / name)), name, leader, logs) for name in names])
    stopping = asyncio.Event()
    writing = asyncio.create_task(fleet.write())
    following = asyncio.create_task(fleet.follow_orders(stopping))
    await serve(fleet.services, drain_seconds=0.1, stopping=stopping)
    writing.cancel()
    await following
    print(json.dumps(fleet.times_ms), flush=True)


def main() -> None:
    """See the module's description."""
    root, data_dir, workers, logs = sys.argv[1:]
    # A fleet has many worker ids and one token: it pushes with the leader's own, over TLS.
    leader = find_leader(data_dir=Path(data_dir))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(Path(root), leader, int(workers), int(logs)))


if __name__ == "__main__":
    main()
