"""A million completed logs in the catalog: how long a start takes, the first list page, a look-up; and what they take.

What is asked is asked of a real leader, over gRPC and over HTTP; the same of one with an empty catalog is beside it
where it is the machine that is slow. Each figure is the median of several, but for the first page after the start.
"""

from __future__ import annotations

import http.client
import json
import ssl
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from bench.catalog_seed import NAMESPACE, run_name, seed
from bench.daemons import Daemons
from bench.measuring import MIB, disk_bytes, memory_peak_bytes
from bench.results import Result, arguments
from joblog.address import own_token, read_leader_file
from joblog.identity import LogName
from joblog.paths import DataFolder, make_folder
from joblog.v1 import logs_pb2, logs_pb2_grpc

MAX_PAGE_MS = 50
MAX_LOOK_UP_MS = 5
MAX_START_SECONDS = 5
TIMES = 31
# Each look-up over HTTP would write a line of it.
SETTINGS = ("access.audit=off",)


def main() -> None:
    """Runs the benchmark and keeps its figures."""
    options = arguments(__doc__ or "")
    logs = 20_000 if options.quick else 1_000_000
    result = Result("catalog", quick=options.quick)
    with tempfile.TemporaryDirectory(prefix="joblog-bench-") as folder:
        empty = DataFolder(Path(folder) / "empty")
        make_folder(empty.root)
        measure_start(result, empty, "an empty catalog", None)
        full = DataFolder(Path(folder) / "full")
        began = time.monotonic()
        seed(full.root, logs, now_ns=time.time_ns(), age_seconds=60.0)
        print(f"catalog: {logs:,} logs made in {time.monotonic() - began:.0f} s", flush=True)
        result.add("catalog on disk, for each log", disk_bytes(full.store) / logs, "bytes")
        running = measure_start(result, full, f"{logs:,} logs", MAX_START_SECONDS, keep=True)
        assert running is not None
        try:
            measure_answers(result, running, logs)
            result.add("memory of the leader at most", memory_peak_bytes(running.leader.pid) / MIB, "MiB")
        finally:
            running.stop()
    result.keep()


def measure_start(
    result: Result, folder: DataFolder, what: str, at_most: float | None, *, keep: bool = False
) -> Daemons | None:
    """Adds how long a leader takes until it answers; with keep it runs on."""
    began = time.monotonic()
    running = Daemons(folder, with_worker=False, leader_settings=SETTINGS)
    result.add(f"start with {what}", time.monotonic() - began, "s", at_most=at_most)
    if keep:
        return running
    running.stop()
    return None


def milliseconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3


def measure_answers(result: Result, running: Daemons, logs: int) -> None:
    """Adds what readers wait for."""
    with running.client() as client:
        stub = client.stub(logs_pb2_grpc.LogsStub)
        # The connection is made before.
        client.status()
        page = logs_pb2.ListRunsRequest(namespace=NAMESPACE, page_size=100)
        result.add("first list page after the start (gRPC)", milliseconds(lambda: stub.ListRuns(page)), "ms")
        taken = median(milliseconds(lambda: stub.ListRuns(page)) for _ in range(TIMES))
        result.add("first list page of 100 runs (gRPC)", taken, "ms", at_most=MAX_PAGE_MS)
        labelled = logs_pb2.ListRunsRequest(namespace=NAMESPACE, page_size=100, labels={"branch": "feature-7"})
        taken = median(milliseconds(lambda: stub.ListRuns(labelled)) for _ in range(TIMES))
        result.add("the same of one label", taken, "ms", at_most=MAX_PAGE_MS)
        runs = logs // 4
        names = [LogName(NAMESPACE, run_name(at * 7919 % runs), "build", 1) for at in range(TIMES)]
        taken = median(milliseconds(lambda name=name: client.log(name)) for name in names)  # type: ignore[misc]
        result.add("record look-up (gRPC)", taken, "ms", at_most=MAX_LOOK_UP_MS)
    ask = asking(running.folder)
    ask("/api/v1/namespaces")
    taken = median(milliseconds(lambda: ask(f"/api/v1/namespaces/{NAMESPACE}/runs?limit=100")) for _ in range(TIMES))
    result.add("first list page of 100 runs (HTTP)", taken, "ms", at_most=MAX_PAGE_MS)
    paths = [f"/api/v1/namespaces/{NAMESPACE}/runs/{name.run}/tasks/build/attempts/1" for name in names]
    taken = median(milliseconds(lambda path=path: ask(path)) for path in paths)  # type: ignore[misc]
    result.add("record look-up (HTTP)", taken, "ms", at_most=MAX_LOOK_UP_MS)


def asking(folder: DataFolder) -> Callable[[str], object]:
    """Asks the leader over HTTP, on one connection for all requests."""
    leader = read_leader_file(folder.root)
    place = urlsplit(leader.http_url)
    assert place.hostname is not None
    context = ssl.create_default_context(cadata=leader.ca)
    connection = http.client.HTTPSConnection(place.hostname, place.port, context=context)
    headers = {"Authorization": f"Bearer {own_token(folder.root)}"}

    def ask(path: str) -> object:
        connection.request("GET", path, headers=headers)
        reply = connection.getresponse()
        if reply.status != 200:
            raise RuntimeError(f"{path}: {reply.status} {reply.read()[:200]!r}")
        return json.loads(reply.read())

    return ask


if __name__ == "__main__":
    main()
