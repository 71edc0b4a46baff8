"""What a program writes lies in the spool as a log: read back with the worker's own reader."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import joblog
from joblog.batch import inflate
from joblog.errors import Conflict, InvalidInput
from joblog.identity import LogName
from joblog.worker.spool.format import CODEC_ZSTD, DATA, GAP
from joblog.worker.spool.reader import SpoolReader
from joblog.writing import LogWriter


def spools(data_dir: Path) -> list[SpoolReader]:
    return [SpoolReader(folder) for folder in sorted((data_dir / "worker" / "spool").iterdir())]


def content(reader: SpoolReader) -> bytes:
    raw = b""
    while records := reader.read(1 << 20):
        for record in records:
            if record.kind == DATA:
                packed = bytes(record.payload)
                raw += inflate(packed, record.raw_length) if record.codec == CODEC_ZSTD else packed
    return raw


def test_a_log_of_a_program(tmp_path: Path) -> None:
    big = os.urandom(3 << 20)
    with LogWriter(LogName("n", "r", "t", 4), data_dir=tmp_path, labels={"a": "b"}) as log:
        log.write(b"one\n")
        log.write(big)
        log.write(b"")
    (reader,) = spools(tmp_path)
    assert (reader.task.namespace, reader.task.run, reader.task.task, reader.task.attempt) == ("n", "r", "t", 4)
    assert reader.task.labels == {"a": "b"}
    assert content(reader) == b"one\n" + big
    assert not reader.alive()
    assert reader.ended is not None
    assert log.closed
    with pytest.raises(Conflict, match="closed"):
        log.write(b"late")


def test_an_exception_is_the_logs_result(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), joblog.RunLog("r", data_dir=tmp_path) as log:
        log.write("begun")
        raise ValueError("no")
    (reader,) = spools(tmp_path)
    assert content(reader).endswith(b" begun\n")
    assert reader.ended is not None
    assert reader.ended.outcome["exit_code"] == 1
    assert reader.ended.outcome["message"] == "ValueError: no"


def test_it_never_makes_the_program_wait(tmp_path: Path) -> None:
    limit = 1 << 20
    line = os.urandom(64 << 10)
    with LogWriter(LogName("n", "r", "t", 0), data_dir=tmp_path, max_spool_bytes=limit) as log:
        for _ in range(64):
            log.write(line)
    (reader,) = spools(tmp_path)
    kinds = []
    while records := reader.read(1 << 20):
        kinds += [record.kind for record in records]
    assert GAP in kinds
    assert kinds[0] == DATA
    assert sum(file.stat().st_size for file in Path(reader.folder).glob("*.seg")) < 2 * limit


def test_run_log_lines(tmp_path: Path) -> None:
    with joblog.RunLog("nightly", data_dir=tmp_path) as log:
        log.dispatched("build", 2, host="h1", command=["make", "all now"], queue="a=b")
        log.finished("build", 2, exit_code=0, seconds=1.23456)
        log.write("two\nlines")
    (reader,) = spools(tmp_path)
    lines = content(reader).decode().splitlines()
    assert reader.task.task == "@run"
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z ", line) for line in lines)
    assert [line.partition(" ")[2] for line in lines] == [
        'dispatched task=build attempt=2 host=h1 command="make all now" queue="a=b"',
        "finished task=build attempt=2 exit_code=0 seconds=1.235",
        "two",
        "lines",
    ]


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    def write(number: int) -> None:
        for step in range(50):
            log.write(f"{number}-{step}")

    with joblog.RunLog("r", data_dir=tmp_path) as log:
        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    (reader,) = spools(tmp_path)
    lines = [line.partition(" ")[2] for line in content(reader).decode().splitlines()]
    assert sorted(lines) == sorted(f"{n}-{i}" for n in range(8) for i in range(50))


def test_a_program_that_does_not_close_its_run_log(tmp_path: Path) -> None:
    program = f"import joblog, pathlib; joblog.RunLog('r', data_dir=pathlib.Path({str(tmp_path)!r})).write('x')"
    subprocess.run([sys.executable, "-P", "-c", program], check=True, timeout=60)
    (reader,) = spools(tmp_path)
    content(reader)
    assert reader.ended is not None


def test_logging_handler_and_a_fork(tmp_path: Path) -> None:
    program = f"""
import logging, os, pathlib, joblog
handler = joblog.LogHandler("r", "train", data_dir=pathlib.Path({str(tmp_path)!r}), attempt=5)
logging.getLogger().addHandler(handler)
logging.warning("one %s", "ü")
child = os.fork()
if child == 0:
    logging.warning("of the child")
    logging.shutdown()
    os._exit(0)
os.waitpid(child, 0)
logging.warning("two")
"""
    done = subprocess.run([sys.executable, "-P", "-c", program], check=True, timeout=60, capture_output=True, text=True)
    assert done.stderr == ""
    parent, child = spools(tmp_path)
    text = content(parent).decode()
    assert re.fullmatch(r".* WARNING root: one ü\n.* WARNING root: two\n", text)
    assert content(child).decode().endswith("WARNING root: of the child\n")
    assert (parent.task.attempt, child.task.attempt) == (5, 0)
    assert parent.ended is not None
    assert child.ended is not None


def test_a_forked_process_can_not_write_the_log_of_its_parent(tmp_path: Path) -> None:
    program = f"""
import os, pathlib, joblog
log = joblog.RunLog("r", data_dir=pathlib.Path({str(tmp_path)!r}))
log.write("one")
child = os.fork()
if child == 0:
    try:
        log.write("of the child")
    except joblog.errors.Conflict:
        log.close()
        os._exit(7)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
log.write("two")
log.close()
"""
    subprocess.run([sys.executable, "-P", "-c", program], check=True, timeout=60)
    (reader,) = spools(tmp_path)
    assert re.fullmatch(rb"\S+ one\n\S+ two\n", content(reader))


def test_names_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        joblog.RunLog("a/b", data_dir=tmp_path)
    with pytest.raises(InvalidInput):
        joblog.LogHandler("r", "@run2", data_dir=tmp_path)
    assert not (tmp_path / "worker").exists()


def test_a_handler_that_is_closed_does_not_disturb_the_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = joblog.LogHandler("r", "t", data_dir=tmp_path)
    handler.close()
    handler.handle(logging.makeLogRecord({"msg": "late"}))
    assert "is closed" in capsys.readouterr().err


def test_folders_are_private(tmp_path: Path) -> None:
    joblog.RunLog("r", data_dir=tmp_path / "new").close()
    for path in (tmp_path / "new").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    (task,) = (tmp_path / "new").rglob("task.json")
    assert json.loads(task.read_text())["kind"] == "runlog"


def test_the_leaders_own_namespaces_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="'@audit' is joblog's own"):
        LogWriter(LogName("@audit", "r", "t", 0), data_dir=tmp_path)
    command = [
        sys.executable,
        "-P",
        "-m",
        "joblog.cli.main",
        "run",
        "--namespace",
        "@audit",
        "--data-dir",
        str(tmp_path),
    ]
    done = subprocess.run([*command, "--", "echo", "x"], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, b""), done
    assert b"'@audit' is joblog's own" in done.stderr
    assert not list(tmp_path.rglob("task.json"))
