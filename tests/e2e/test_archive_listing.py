"""What listings say of logs in every condition: live, interrupted, archived so far, sealed, and with ranges missing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from joblog.v1 import ingest_pb2, types_pb2
from tests.e2e.machine import until
from tests.e2e.push_stream import Push, append_of, close_of, open_of, push_to_process
from tests.fault.cluster import Cluster
from tests.https import open_url

RUN = "chaos"
TEXT = b"a line\n" * 1000


@pytest.fixture
def cluster(data_dir: Path) -> Iterator[Cluster]:
    settings = {
        "JOBLOG_ARCHIVE_URL": (data_dir / "archive").as_uri(),
        "JOBLOG_ARCHIVE_FLUSH_INTERVAL_SECONDS": "0.2",
        "JOBLOG_INGEST_LOST_AFTER_SECONDS": "1",
    }
    with Cluster(data_dir, **settings) as made:
        yield made


async def write(push: Push) -> None:
    """A whole log, one with a gap, and one that stays open."""
    await push.hello("w1")
    await push.open(*(open_of(handle, RUN, f"t{handle}") for handle in (1, 2, 3)))
    await push.send(appends=[append_of(1, 0, TEXT), append_of(2, 0, TEXT), append_of(3, 0, TEXT)])
    gap = types_pb2.Gap(offset=len(TEXT), length=500, reason=types_pb2.GAP_REASON_SPOOL_FULL)
    await push.send(appends=[ingest_pb2.Append(handle=handle, offset=len(TEXT), gap=gap) for handle in (2, 3)])
    await push.until(lambda: push.acks.get(3, 0) == len(TEXT) + 500)
    await push.send(closes=[close_of(1, TEXT)])
    await push.send(closes=[close_of(2, TEXT, length=len(TEXT) + 500)])
    await push.until(lambda: {1, 2} <= push.closed.keys())


def http_logs(cluster: Cluster) -> dict[str, Any]:
    with open_url(cluster.leader_dir, f"/api/v1/namespaces/default/runs/{RUN}/logs") as reply:
        return {one["task"]: one for one in json.loads(reply.read())["logs"]}


def test_conditions_are_told_apart(cluster: Cluster) -> None:
    cluster.start_leader()

    async def push() -> None:
        async with push_to_process(cluster.leader_dir) as stream:
            await write(stream)
            live = http_logs(cluster)["t3"]
            assert (live["state"], live["sealed"]) == ("live", False)
            await asyncio.to_thread(
                until, lambda: http_logs(cluster)["t3"]["archived_offset"] == len(TEXT) + 500, "it is archived"
            )

    asyncio.run(push())
    until(lambda: http_logs(cluster)["t3"]["state"] == "interrupted", "its worker is lost")
    until(lambda: all(http_logs(cluster)[task]["sealed"] for task in ("t1", "t2")), "all are sealed")
    logs = http_logs(cluster)
    assert len(logs) == 3
    assert {task: (one["state"], one["tier"], one["sealed"]) for task, one in logs.items()} == {
        "t1": ("completed", "archive", True),
        "t2": ("completed", "archive", True),
        "t3": ("interrupted", "buffer", False),
    }
    assert [one["archived_offset"] for one in logs.values()] == [7000, 7500, 7500]
    missing = [(gap["offset"], gap["length"], gap["reason"]) for gap in logs["t2"]["gaps"]]
    assert missing == [(7000, 500, "spool_full")]
    assert (logs["t1"]["gaps"], logs["t3"]["gaps"]) == ([], logs["t2"]["gaps"])

    listed = cluster.joblog("ls", RUN).stdout.decode().splitlines()
    head, rows = listed[0].split(), {line.split()[0]: line for line in listed[1:]}
    assert {"STATE", "MISSING", "ARCHIVE"} <= set(head)
    assert "completed" in rows["t1"] and "sealed" in rows["t1"] and "500 B" not in rows["t1"]
    assert "completed" in rows["t2"] and "sealed" in rows["t2"] and "500 B" in rows["t2"]
    assert "interrupted" in rows["t3"] and "7.3 KiB" in rows["t3"] and "sealed" not in rows["t3"]
    said = json.loads(cluster.joblog("ls", RUN, "--json").stdout)
    assert [one["archived_offset"] for one in said] == [7000, 7500, 7500]
    said = cluster.joblog("stat", f"{RUN}/t2").stdout.decode()
    assert "sealed" in said and "500 bytes missing at offset 7000" in said
    assert "500 bytes missing at offset 7000" in cluster.joblog("stat", f"{RUN}/t3").stdout.decode()


def test_a_range_that_the_archive_lost_is_told_by_the_log(cluster: Cluster) -> None:
    """It is found by whoever reads; then the log says so to all."""
    cluster.start_leader()

    async def push() -> None:
        async with push_to_process(cluster.leader_dir) as stream:
            await write(stream)

    asyncio.run(push())
    until(lambda: http_logs(cluster)["t1"]["sealed"], "it is sealed")
    shutil.rmtree(cluster.leader_dir / "leader" / "cache", ignore_errors=True)
    sealed = cluster.folder / "archive" / "default" / RUN / "t1" / "1" / "log.joblog"
    os.truncate(sealed, 100)
    done = cluster.joblog("logs", f"{RUN}/t1")
    assert TEXT not in done.stdout
    assert b"missing" in done.stderr
    said = until(lambda: _events(cluster), "an event tells of it")
    assert "offset" in said
    assert cluster.joblog("verify", f"{RUN}/t1").returncode == 1


def _events(cluster: Cluster) -> str:
    said = cluster.joblog("stat", f"{RUN}/t1").stdout.decode()
    return said if "\nevent" in said else ""
