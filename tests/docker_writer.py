"""Writes containers' files as dockerd does (moby/moby, the rules below), seeded, for tests of what collects them.

daemon/logger/jsonfilelog/jsonfilelog.go: <containers>/<id>/<id>-json.log, mode 0640; an object per line with log,
stream, attrs (where there are some) and time (RFC3339Nano), all in one write. The text ends with a newline unless the
copier (daemon/logger/copier.go) cut it: lines longer than 16 KiB come in pieces with the time of the first of them,
and what the container printed last, without a newline, is such a piece. jsonlog/jsonlogbytes.go escapes what JSON
asks for, < > & and U+2028, U+2029, and writes \\ufffd for bytes that are no UTF-8; fields that are empty are left
out.

daemon/logger/loggerutils/logfile.go: WriteLogEntry rotates before it writes, when the file has max-size bytes: closes
it; with max-file N > 1 removes .N-1 (.gz where it compresses), renames .i-1 to .i for all i > 1, then the file to .1,
and opens a new one; with max-file 1 (the default) it unlinks the file instead. compressFile then, beside the writing,
makes .1.gz of .1, in place, and removes .1; the next rotation waits for it. Without max-size nothing is ever rotated.

daemon/container/container.go: toDisk writes config.v2.json and hostconfig.json, each to a temporary file that is
renamed into place, mode 0600. State is that of daemon/container/state.go: SetRunning resets ExitCode and OOMKilled
and sets StartedAt, not FinishedAt; SetRestarting leaves Running true. daemon/start.go takes StartedAt before it makes
the task, and writes the file after the task has started: lines of it may be there first. daemon/monitor.go,
handleContainerExit: waits for the output, closes the log (Reset), counts the restart, sets the state, writes the
file; restarts follow after 100 ms (daemon/internal/restartmanager), doubled each time. daemon/delete.go: writes the
file with Dead, removes the folder.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.kubelet_writer import STREAMS, stamp

MAX_PIECE_BYTES = 16 << 10
_RESTART_SECONDS = 0.1
_NEVER = "0001-01-01T00:00:00Z"
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


class DockerRun:
    """What one run of a container printed, and how it ended."""

    def __init__(self) -> None:
        self.printed = bytearray()
        self.exit_code: int | None = None
        self.oom_killed = False


class DockerFiles:
    """One container. runs: of it, the last one perhaps going on. max_size_bytes: 0 for no rotation."""

    def __init__(
        self,
        containers: Path,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        max_size_bytes: int = 0,
        max_files: int = 1,
        compress: bool = False,
        driver: str = "json-file",
        memory_bytes: int = 0,
        clock: Callable[[], int] = time.time_ns,
        seed: int = 0,
    ) -> None:
        self.random = random.Random(f"{seed}/{name}")
        self.name = name
        self.id = f"{self.random.getrandbits(256):064x}"
        self.folder = containers / self.id
        self.path = self.folder / f"{self.id}-json.log"
        self.runs: list[DockerRun] = []
        self.rotations = 0
        self._labels = dict(labels or {})
        self._max_size, self._max_files, self._compress = max_size_bytes, max_files, compress
        self._driver, self._memory = driver, memory_bytes
        self._clock = clock
        self._fd = -1
        self._restart_count = 0
        self._state: dict[str, object] = {
            "Running": False,
            "Paused": False,
            "Restarting": False,
            "OOMKilled": False,
            "Dead": False,
            "Pid": 0,
            "ExitCode": 0,
            "Error": "",
            "StartedAt": _NEVER,
            "FinishedAt": _NEVER,
            "Health": None,
        }
        self.folder.mkdir(mode=0o710)
        self.checkpoint()

    @property
    def run(self) -> DockerRun:
        """The last one."""
        return self.runs[-1]

    def checkpoint(self) -> None:
        """CheckpointTo: what is known goes to the disk."""
        self._save(
            "config.v2.json",
            {
                "StreamConfig": {},
                "State": self._state,
                "ID": self.id,
                "Created": stamp(self._clock()),
                "Managed": False,
                "Path": "/bin/sh",
                "Args": ["-c", "work"],
                "Config": {"Image": "busybox:latest", "Env": ["PASSWORD=hunter2"], "Labels": self._labels},
                "LogPath": str(self.path),
                "Name": f"/{self.name}",
                "RestartCount": self._restart_count,
            },
        )
        options = {"max-size": str(self._max_size), "max-file": str(self._max_files)} if self._max_size else {}
        host = {"LogConfig": {"Type": self._driver, "Config": options}, "Memory": self._memory}
        self._save("hostconfig.json", host)

    def _save(self, name: str, said: object) -> None:
        new = self.folder / f".tmp-{name}{self.random.getrandbits(32)}"
        new.touch(mode=0o600)
        new.write_text(json.dumps(said) + "\n")
        os.rename(new, self.folder / name)

    def start(self, *, by_policy: bool = False, first: bytes = b"") -> DockerRun:
        """containerStart; a policy waits for 100 ms before.

        first: what is in the log before dockerd writes down that the container runs.
        """
        if by_policy:
            time.sleep(_RESTART_SECONDS)
        else:
            self._restart_count = 0
        started_ns = self._clock()
        self.runs.append(DockerRun())
        if self._driver == "json-file":
            self._fd = self._open(os.O_APPEND)
        if first:
            self.print(first)
        self._state |= {"Running": True, "Restarting": False, "OOMKilled": False, "ExitCode": 0, "Error": "", "Pid": 9}
        self._state["StartedAt"] = stamp(started_ns)
        self.checkpoint()
        return self.run

    def exit(self, code: int = 0, *, oom_killed: bool = False, restarts: bool = False) -> None:
        """handleContainerExit. restarts: a policy has it start again."""
        if oom_killed:
            self._state["OOMKilled"] = True
            self.checkpoint()
        exited_ns = self._clock()
        self.end()
        self.run.exit_code, self.run.oom_killed = code, oom_killed
        self._restart_count += restarts
        self._state |= {"Running": restarts, "Restarting": restarts, "Pid": 0, "ExitCode": code}
        self._state["FinishedAt"] = stamp(exited_ns)
        self.checkpoint()

    def end(self) -> None:
        """Lets go of the log."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def remove(self, *, dead_first: bool = True) -> None:
        """cleanupContainer."""
        if dead_first:
            self._state["Dead"] = True
            self.checkpoint()
        shutil.rmtree(self.folder)

    def print(self, data: bytes, stream: int = 1) -> None:
        """What the container prints at once; what ends with no newline is what it printed last."""
        text = data.decode(errors="replace")
        self.run.printed += text.encode()
        for line in text.splitlines(keepends=True) if "\r" not in text else _lines(text):
            time_text = stamp(self._clock())
            while len(line) > MAX_PIECE_BYTES + 1:
                self._log(line[:MAX_PIECE_BYTES], stream, time_text)
                line = line[MAX_PIECE_BYTES:]
            self._log(line, stream, time_text)

    def _log(self, text: str, stream: int, time_text: str) -> None:
        encoded = json.dumps(text, ensure_ascii=False)
        for plain, escape in _ESCAPES.items():
            encoded = encoded.replace(plain, escape)
        log = f'"log":{encoded},' if text else ""
        self._write(f'{{{log}"stream":"{STREAMS[stream - 1]}","time":"{time_text}"}}\n'.encode())

    def _write(self, entry: bytes) -> None:
        if self._max_size and os.fstat(self._fd).st_size >= self._max_size:
            self.rotate()
        os.write(self._fd, entry)

    def rotate(self) -> None:
        """LogFile.rotate."""
        self.rotations += 1
        os.close(self._fd)
        suffix = ".gz" if self._compress else ""
        if self._max_files < 2:
            os.unlink(self.path)
        else:
            Path(f"{self.path}.{self._max_files - 1}{suffix}").unlink(missing_ok=True)
            for number in range(self._max_files - 1, 1, -1):
                if os.path.exists(f"{self.path}.{number - 1}{suffix}"):
                    os.rename(f"{self.path}.{number - 1}{suffix}", f"{self.path}.{number}{suffix}")
            os.rename(self.path, f"{self.path}.1")
        self._fd = self._open(os.O_TRUNC)
        if self._compress and self._max_files > 1:
            with open(f"{self.path}.1", "rb") as source, gzip.open(f"{self.path}.1.gz", "wb") as target:
                shutil.copyfileobj(source, target)
            os.unlink(f"{self.path}.1")

    def _open(self, flags: int) -> int:
        return os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | flags, 0o640)


def _lines(text: str) -> list[str]:
    parts = text.split("\n")
    return [part + "\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
