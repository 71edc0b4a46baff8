"""What a leader's store has before the leader starts: very many runs, and a log with ranges missing and events."""

from __future__ import annotations

import time
from pathlib import Path

from joblog.batch import STDOUT
from joblog.identity import LogName
from joblog.leader.buffer import keys
from joblog.leader.buffer.engine import Operations
from joblog.leader.buffer.store import Store
from joblog.paths import make_folder
from joblog.v1 import types_pb2
from joblog.v1.types_pb2 import RunRecord
from tests.stored_log import StoredLeader

MANY_RUNS = 100_000
MANY = "many"
GAPPED = LogName("default", "gapped", "task", 1)
AT_ONCE = 5_000


def seed(leader_folder: Path) -> None:
    """Fills the store of a leader that has not started yet."""
    make_folder(leader_folder)
    leader = StoredLeader(leader_folder)
    try:
        _put_runs(leader.store)
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
    return f"nightly-{MANY_RUNS - number:06d}"


def _put_runs(store: Store) -> None:
    """Records of runs as the ledger writes them, without logs; it would take a minute."""
    now = time.time_ns()
    puts: list[tuple[str, bytes, bytes]] = []
    for number in range(MANY_RUNS):
        failed = number % 7 == 3
        created_ns = now - (number + 1) * 60 * 10**9
        run = RunRecord(
            namespace=MANY,
            run=run_name(number),
            state=types_pb2.RUN_STATE_FAILED if failed else types_pb2.RUN_STATE_SUCCEEDED,
            created_ns=created_ns,
            completed_ns=created_ns + (number % 50 + 1) * 10**9,
            logs_completed=4,
            tasks_failed=int(failed),
            tasks_succeeded=3 - failed,
            completed_bytes=number * 1000,
        )
        place = keys.position(created_ns, run.run)
        puts.append((keys.RUNS, keys.run_key(MANY, run.run), run.SerializeToString()))
        for prefix in (keys.time_prefix(MANY), keys.state_prefix(MANY, run.state)):
            puts.append((keys.INDEX, prefix + place, b""))
        if len(puts) > AT_ONCE:
            store._engine.write(Operations([], [], puts))
            puts = []
    store._engine.write(Operations([], [], puts))
