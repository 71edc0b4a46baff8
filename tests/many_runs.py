"""Records of very many runs as the ledger writes them, without logs: with logs it would take a minute."""

from __future__ import annotations

import time

from joblog.leader.buffer import keys
from joblog.leader.buffer.engine import Operations
from joblog.leader.buffer.store import Store
from joblog.v1 import types_pb2
from joblog.v1.types_pb2 import RunRecord

AT_ONCE = 5_000


def run_of(number: int, count: int) -> str:
    """The name of one of the runs; 0 is the newest."""
    return f"nightly-{count - number:06d}"


def put_runs(store: Store, namespace: str, count: int) -> None:
    """Puts `count` runs, one for each minute before now."""
    now = time.time_ns()
    puts: list[tuple[str, bytes, bytes]] = []
    for number in range(count):
        failed = number % 7 == 3
        created_ns = now - (number + 1) * 60 * 10**9
        run = RunRecord(
            namespace=namespace,
            run=run_of(number, count),
            state=types_pb2.RUN_STATE_FAILED if failed else types_pb2.RUN_STATE_SUCCEEDED,
            created_ns=created_ns,
            completed_ns=created_ns + (number % 50 + 1) * 10**9,
            logs_completed=4,
            tasks_failed=int(failed),
            tasks_succeeded=3 - failed,
            completed_bytes=number * 1000,
        )
        place = keys.position(created_ns, run.run)
        puts.append((keys.RUNS, keys.run_key(namespace, run.run), run.SerializeToString()))
        for prefix in (keys.time_prefix(namespace), keys.state_prefix(namespace, run.state)):
            puts.append((keys.INDEX, prefix + place, b""))
        if len(puts) > AT_ONCE:
            store._engine.write(Operations([], [], puts))
            puts = []
    store._engine.write(Operations([], [], puts))
