"""Faults in random order while tasks write and readers follow; afterwards every byte is there, once, in order."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from joblog.v1 import types_pb2
from tests.e2e.machine import until
from tests.fault.cluster import Cluster, Follower, HttpFollower, Process, Task, paused
from tests.fault.proxy import Proxy

SHORT_ROUNDS = 8
LONG_ROUNDS = 30
LONG_RUNS = 4
# A log's bytes are compared in memory: enough to fill windows and batches, no more.
LONGEST_FAULT_SECONDS = 3.0


class Chaos:
    """Does something bad, chosen by rng, and undoes it."""

    def __init__(self, cluster: Cluster, proxy: Proxy, rng: random.Random) -> None:
        self._cluster = cluster
        self._proxy = proxy
        self._rng = rng
        self._victims = 0
        self.killed_supervisors: list[Task] = []
        self.killed_tasks: list[Task] = []
        self._faults = [
            *[self.kill_leader, self.kill_worker] * 3,
            *[self.end_leader, self.end_worker, self.kill_both] * 1,
            *[self.stop_leader, self.stop_worker, self.cut, self.freeze, self.slow] * 2,
            *[self.kill_supervisor, self.kill_task] * 1,
        ]

    def round(self) -> str:
        fault = self._rng.choice(self._faults)
        fault()
        return fault.__name__

    def _wait(self, longest_seconds: float) -> None:
        time.sleep(self._rng.uniform(0, longest_seconds))

    def _leader(self) -> Process:
        assert self._cluster.leader is not None
        return self._cluster.leader

    def _worker(self) -> Process:
        assert self._cluster.worker is not None
        return self._cluster.worker

    def _start_worker(self) -> None:
        self._cluster.start_worker()

    def kill_leader(self) -> None:
        self._leader().kill()
        self._wait(0.5)
        self._cluster.start_leader()

    def end_leader(self) -> None:
        assert self._leader().terminate() in (0, 10)
        self._wait(0.5)
        self._cluster.start_leader()

    def kill_worker(self) -> None:
        self._worker().kill()
        self._wait(0.5)
        self._start_worker()

    def end_worker(self) -> None:
        # Told before it has taken up the signal, it ends by it.
        assert self._worker().terminate() in (0, 10, -15)
        self._wait(0.5)
        self._start_worker()

    def kill_both(self) -> None:
        self._worker().kill()
        self._leader().kill()
        self._start_worker()
        self._wait(0.5)
        self._cluster.start_leader()

    def stop_leader(self) -> None:
        with paused(self._leader()):
            self._wait(LONGEST_FAULT_SECONDS)

    def stop_worker(self) -> None:
        with paused(self._worker()):
            self._wait(LONGEST_FAULT_SECONDS)

    def cut(self) -> None:
        for _ in range(self._rng.randrange(1, 4)):
            self._proxy.cut()
            self._wait(0.5)

    def freeze(self) -> None:
        self._proxy.freeze()
        self._wait(LONGEST_FAULT_SECONDS)
        if self._rng.random() < 0.5:
            self._proxy.cut()
        self._proxy.thaw()

    def slow(self) -> None:
        self._proxy.slow(self._rng.uniform(20_000, 200_000))
        self._wait(LONGEST_FAULT_SECONDS)
        self._proxy.slow(0)

    def _victim(self) -> Task:
        self._victims += 1
        victim = self._cluster.task(f"victim{self._victims}", self._rng.randrange(2**32)).wait_begun()
        self._wait(0.5)
        return victim

    def kill_supervisor(self) -> None:
        victim = self._victim()
        victim.run.kill()
        self.killed_supervisors.append(victim)

    def kill_task(self) -> None:
        victim = self._victim()
        victim.kill()
        self.killed_tasks.append(victim)


def storm(folder: Path, seed: int, rounds: int) -> None:
    print(f"seed {seed}, {rounds} rounds")
    rng = random.Random(seed)
    with Cluster(folder) as cluster, Proxy(cluster.target) as proxy:
        cluster.behind(proxy.address)
        cluster.start_leader()
        cluster.start_worker()
        cluster.wait_worker()
        chaos = Chaos(cluster, proxy, rng)
        steady = [cluster.task(f"steady{number}", rng.randrange(2**32)).wait_begun() for number in range(2)]
        seen_from_the_start(cluster, steady)
        followers = [(task, kind(cluster, task)) for task in steady for kind in (Follower, HttpFollower)]
        for _task, follower in followers:
            follower.wait_begun()
        for number in range(rounds):
            before = [task.bytes_written for task in steady]
            print(f"round {number}: {chaos.round()}", flush=True)
            for task, count in zip(steady, before, strict=True):
                moved(task, count)
        chaos.kill_supervisor()
        chaos.kill_task()
        assert [task.finish() for task in steady] == [0, 0]
        cluster.wait_settled()

        for task in steady:
            cluster.assert_whole(task)
            assert cluster.record(task).log.outcome.kind == types_pb2.OUTCOME_KIND_EXITED
        for task, follower in followers:
            assert follower.finish() == cluster.read(task), f"{type(follower).__name__} of {task.log.task}"
        for task in chaos.killed_tasks:
            assert cluster.assert_prefix(task) >= task.bytes_written
            outcome = cluster.record(task).log.outcome
            assert (outcome.kind, outcome.signal) == (types_pb2.OUTCOME_KIND_SIGNALED, 9)
        for task in chaos.killed_supervisors:
            cluster.assert_prefix(task)
            reply = cluster.record(task)
            assert reply.log.outcome.kind == types_pb2.OUTCOME_KIND_SUPERVISOR_DIED
            assert "supervisor_died" in {event.kind for event in reply.events}
        cluster.assert_verified()
        cluster.assert_nothing_in_clear()
        cluster.assert_no_crash()


def seen_from_the_start(cluster: Cluster, tasks: list[Task]) -> None:
    """Waits until the leader has the tasks' logs: who follows a log that is not there is told so."""
    names = {task.log.task for task in tasks}
    until(lambda: names <= {record.id.task for record in cluster.records()}, "the leader has the logs")


def moved(task: Task, count: int) -> None:
    """Waits until a task has written more than `count` bytes: nothing that happens elsewhere holds it up."""
    until(lambda: task.bytes_written > count, f"{task.log.task} goes on writing", 10)


@pytest.mark.short
@pytest.mark.timeout(180)
def test_a_short_storm(data_dir: Path, seed: int) -> None:
    storm(data_dir, seed, SHORT_ROUNDS)


@pytest.mark.parametrize("run", range(LONG_RUNS))
def test_a_long_storm(data_dir: Path, seed: int, run: int) -> None:
    storm(data_dir, seed + run, LONG_ROUNDS)
