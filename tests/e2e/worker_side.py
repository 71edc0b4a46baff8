"""Runs the command line as a user does, and looks at what it left in the spools."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from joblog.batch import unpack_frames
from joblog.worker.control.client import ControlClient, socket_path
from joblog.worker.spool.format import DATA, SpoolTask
from joblog.worker.spool.reader import SpoolReader, list_spools
from joblog.worker.spool.record import raw_bytes

DEADLINE_SECONDS = 30.0
COMMAND = [sys.executable, "-m", "joblog.cli.main"]


class Spooled(NamedTuple):
    """A spool's content. outcome: empty while the log has no end."""

    spool_id: str
    task: SpoolTask
    data: bytes
    by_stream: dict[int, bytes]
    outcome: dict[str, object]


def environment(data_dir: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**os.environ, "JOBLOG_DATA_DIR": str(data_dir), **(more or {})}


def joblog(
    data_dir: Path,
    *arguments: str,
    stdin: bytes = b"",
    cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        env=environment(data_dir, variables),
        cwd=cwd,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def read_spool(folder: Path) -> Spooled:
    reader = SpoolReader(folder)
    data, by_stream = b"", {1: b"", 2: b""}
    while records := reader.read(1 << 20):
        for record in records:
            if record.kind != DATA:
                continue
            raw = raw_bytes(record)
            frames = unpack_frames(record.frames, record.raw_length)
            at = 0
            for stream, length in zip(frames.streams, frames.lengths, strict=True):
                by_stream[stream] += raw[at : at + length]
                at += length
            data += raw
    outcome = dict(reader.ended.outcome) if reader.ended is not None else {}
    reader.close()
    return Spooled(folder.name, reader.task, data, by_stream, outcome)


def spools(data_dir: Path, kind: str = "command") -> list[Spooled]:
    found = [read_spool(folder) for folder in list_spools(data_dir / "worker" / "spool")]
    return [spool for spool in found if spool.task.kind == kind]


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS:g} s: {what}"
        time.sleep(0.01)


def answers(client: ControlClient) -> bool:
    try:
        client.ping()
    except Exception:
        return False
    return True


@contextmanager
def worker(data_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker daemon without a leader, taking tasks."""
    process = subprocess.Popen([*COMMAND, "worker"], env=environment(data_dir), stderr=subprocess.DEVNULL)
    try:
        client = ControlClient(socket_path(data_dir), 5.0)
        until(lambda: process.poll() is not None or answers(client), "the worker answers")
        assert process.poll() is None
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
