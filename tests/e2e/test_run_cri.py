"""`joblog run` and `joblog pipe` with CRI files: real processes, read back by joblog's own parser."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from joblog.worker.spool.format import EVENT
from joblog.worker.spool.reader import SpoolReader
from tests.cri_reading import files, read
from tests.e2e.worker_side import joblog, spools, until, worker
from tests.small_disk import fill, small_disk

SECRET = "correct-horse-battery"
PROGRAM = f"""
import os
for number in range(200):
    os.write(1, b"out %d " % number)
    os.write(2, b"err %d\\n" % number * 3)
    os.write(1, b"{SECRET}\\n")
os.write(1, b"x" * 100_000 + b"\\n" + b"no end")
raise SystemExit(7)
"""
NAMED = ("run", "-n", "my_team", "--run", "r1", "--task", "t1")


def test_the_files_hold_what_the_spool_does(data_dir: Path, tmp_path: Path) -> None:
    done = joblog(
        data_dir, *NAMED, "--attempt", "3", "--quiet", "--mask-env", "TOKEN", "--cri-dir", "cri", "--",
        sys.executable, "-c", PROGRAM, cwd=tmp_path, variables={"TOKEN": SECRET},
    )  # fmt: skip
    assert done.returncode == 7
    (spool,) = spools(data_dir)
    (path,) = files(tmp_path / "cri")
    assert path == f"{tmp_path}/cri/my-team_r1_{spool.spool_id}/t1/2.log"
    pieces = read(tmp_path / "cri")
    assert b"".join(data for _, data in pieces) == spool.data
    for stream, data in spool.by_stream.items():
        assert b"".join(part for number, part in pieces if number == stream) == data
    assert b"***\n" in spool.data and spool.data.endswith(b"no end")
    assert SECRET.encode() not in Path(path).read_bytes()


def test_a_detached_task_and_a_pipe_write_them_too_as_the_settings_say(data_dir: Path, tmp_path: Path) -> None:
    variables = {"JOBLOG_CRI_DIR": str(tmp_path / "piped"), "JOBLOG_CRI_MODE": "0640"}
    joblog(data_dir, "pipe", "--run", "r2", stdin=b"one\ntwo", variables=variables)
    assert read(tmp_path / "piped") == [(1, b"one\ntwo")]
    (path,) = files(tmp_path / "piped")
    assert Path(path).stat().st_mode & 0o777 == 0o640
    with worker(data_dir):
        joblog(data_dir, *NAMED, "--detach", "--cri-dir", "cri", "--", "echo", "hello", cwd=tmp_path)
        until(lambda: all(spool.outcome for spool in spools(data_dir)), "the task has ended")
    assert read(tmp_path / "cri") == [(1, b"hello\n")]


def test_a_full_disk_there_changes_nothing_for_task_and_log(data_dir: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        (disk / "cri").mkdir()
        fill(disk)
        done = joblog(data_dir, *NAMED, "--cri-dir", str(disk / "cri"), "--", sys.executable, "-c", PROGRAM)
        assert done.returncode == 7
        (spool,) = spools(data_dir)
        assert done.stdout == spool.by_stream[1]
        assert f"{len(spool.data)} bytes of the output are missing in {disk}/cri/" in done.stderr.decode()
        reader = SpoolReader(data_dir / "worker" / "spool" / spool.spool_id)
        records = reader.read(1 << 30)
        reader.close()
        (event,) = [json.loads(record.body) for record in records if record.kind == EVENT]
        assert event["kind"] == "cri_incomplete" and "No space left" in event["message"]
