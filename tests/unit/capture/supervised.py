"""Supervised tasks for tests: a real supervisor process, steered by JSON, and what its spool holds afterwards.

As a program: supervises the task that the JSON in its first argument describes and exits with the task's exit code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from joblog.worker.capture.spec import TaskSpec
from joblog.worker.capture.standard import open_standard_descriptors
from joblog.worker.capture.stdin import record_stdin
from joblog.worker.capture.supervisor import supervise
from joblog.worker.redaction import Masker
from joblog.worker.spool.bound import SpoolBounds
from joblog.worker.spool.format import SpoolTask
from joblog.worker.spool.reader import EndRecord, Record, SpoolReader
from joblog.worker.spool.writer import SpoolWriter

DEADLINE_SECONDS = 30.0


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Waits until the condition holds; fails when it does not in time."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.005)


class Captured:
    """What a spool holds: `streams` are the bytes by stream, `data` all of them in order."""

    def __init__(self, folder: Path) -> None:
        from joblog.batch import open_payload, unpack_frames
        from joblog.worker.spool.format import DATA, EVENT
        from joblog.worker.spool.merge import merge

        reader = SpoolReader(folder)
        self.records: list[Record] = []
        while part := reader.read(1 << 20):
            self.records += part
        data = bytearray()
        self.streams = {1: bytearray(), 2: bytearray()}
        self.times_ns: list[int] = []
        for record in self.records:
            if record.kind != DATA:
                continue
            batch = merge([record])
            raw = open_payload(batch.codec, batch.payload, batch.raw_length, batch.crc32c)
            frames = unpack_frames(record.frames, record.raw_length)
            at = 0
            for stream, length in zip(frames.streams, frames.lengths, strict=True):
                self.streams[stream] += raw[at : at + length]
                at += length
            self.times_ns += [record.first_time_ns + time_us * 1000 for time_us in frames.times_us]
            data += raw
        self.data = bytes(data)
        self.events = [json.loads(record.body)["kind"] for record in self.records if record.kind == EVENT]
        self.alive = reader.alive()
        self.end: EndRecord | None = reader.ended
        reader.close()

    @property
    def outcome(self) -> dict[str, Any]:
        """The outcome's fields; the log must have ended."""
        assert self.end is not None
        return self.end.outcome


class Supervised:
    """A task under a supervisor process of its own. spec: fields of TaskSpec; stdin_log: capture stdin instead."""

    def __init__(self, root: Path, command: list[str], *, popen: dict[str, Any] | None = None, **order: Any) -> None:
        self.folder = root / "worker" / "spool" / "task1"
        order = {"folder": str(self.folder), "command": command, **order}
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.capture.supervised", json.dumps(order)], **{**streams, **(popen or {})}
        )

    def finish(self) -> tuple[int, bytes, bytes]:
        """Waits for the end: exit code, and what was shown on stdout and stderr."""
        stdout, stderr = self.process.communicate(timeout=DEADLINE_SECONDS * 2)
        return self.process.returncode, stdout or b"", stderr or b""

    def captured(self) -> Captured:
        """What is in the spool now."""
        return Captured(self.folder)

    def until_captured(self, text: bytes) -> None:
        """Waits until the spool holds `text`."""
        eventually(lambda: text in self.so_far(), f"{text!r} captured")

    def so_far(self) -> bytes:
        """What is captured by now; nothing where there is no spool yet."""
        return self.captured().data if (self.folder / "task.json").exists() else b""

    def task_pid(self) -> int:
        """The task's process."""
        eventually(lambda: bool(self.so_far()), "the task runs")
        return int(json.loads((self.folder / "lock").read_bytes())["task"])


def run(root: Path, command: list[str], **order: Any) -> tuple[Captured, int, bytes, bytes]:
    """Runs a task to its end: what was captured, its supervisor's exit code, and what that showed."""
    task = Supervised(root, command, **order)
    code, stdout, stderr = task.finish()
    return task.captured(), code, stdout, stderr


def shell(script: str) -> list[str]:
    """A command that runs a shell script."""
    return ["/bin/sh", "-c", script]


def python(program: str) -> list[str]:
    """A command that runs a Python program."""
    return [sys.executable, "-I", "-S", "-c", program]


def main() -> None:
    """See the module."""
    open_standard_descriptors()
    order = json.loads(sys.argv[1])
    folder, echo = order.pop("folder"), order.pop("echo", True)
    bound, policy = order.pop("task_bytes", 1 << 30), order.pop("policy", "block")
    masks = order.pop("masks", [])
    stdin_log = order.pop("stdin_log", False)
    task = SpoolTask(writer_id=os.urandom(16), namespace="default", run="r", task="t", policy=policy)
    spool = SpoolWriter(folder, task, SpoolBounds(bound))
    mask = Masker([secret.encode() for secret in masks]) if masks else None
    if stdin_log:
        outcome = record_stdin(spool, echo=echo, mask=mask)
    else:
        outcome = supervise(TaskSpec(**order), spool, echo=echo, mask=mask)
    os._exit(outcome.exit_code)


if __name__ == "__main__":
    main()
