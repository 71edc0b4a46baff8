"""What a leader's store has before it starts: very many runs, a few with a log, and one with ranges missing."""

from __future__ import annotations

from pathlib import Path

from joblog.batch import STDOUT
from joblog.identity import LogName
from joblog.paths import make_folder
from joblog.v1 import types_pb2
from tests.many_runs import put_runs, run_of
from tests.stored_log import StoredLeader

MANY_RUNS = 100_000
MANY = "many"
NEEDLE = "a needle in a run"
NEEDLES = range(100, 3_100, 100)
"""Those of the many runs that have a log, which says NEEDLE in its second line."""
GAPPED = LogName("default", "gapped", "task", 1)


def seed(leader_folder: Path) -> None:
    """Fills the store of a leader that has not started yet."""
    make_folder(leader_folder)
    leader = StoredLeader(leader_folder)
    try:
        put_runs(leader.store, MANY, MANY_RUNS)
        for number in NEEDLES:
            log = leader.log(LogName(MANY, run_name(number), "task", 1))
            log.append((STDOUT, f"begun\n{NEEDLE} {number}\n".encode()))
            log.complete()
        log = leader.log(GAPPED)
        log.append((STDOUT, b"".join(b"before %d\n" % number for number in range(1, 101))))
        log.event("worker_lost", 1_700_000_001_000_000_000)
        log.gap(10_000, 200, types_pb2.GAP_REASON_SPOOL_FULL)
        log.append((STDOUT, b"".join(b"between %d\n" % number for number in range(301, 401))))
        log.append((STDOUT, b"half of "))
        log.gap(50, 0, types_pb2.GAP_REASON_LOST)
        log.append((STDOUT, b" a line\nlast\n"))
        log.complete()
    finally:
        leader.close()


def run_name(number: int) -> str:
    """The name of one of the many runs; 0 is the newest."""
    return run_of(number, MANY_RUNS)
