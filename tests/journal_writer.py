"""Writes real journal files, through systemd-journal-remote, with what journald and systemd put into entries.

The fields are those of systemd.journal-fields(7). What process 1 says about a unit is as in systemd's
src/core/unit.c (unit_log_process_exit, unit_log_failure, unit_log_success) and src/core/job.c, what journald says of
lines that it left out as in src/journal/journald-server.c (server_driver_message).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

_PROGRAM = "lib/systemd/systemd-journal-remote"
_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu")
_PACKAGES = ("systemd-journal-remote", "libmicrohttpd12")
BOOT = "b" * 32


def journal_remote(folder: Path) -> tuple[list[str], dict[str, str]] | str:
    """The command and its environment, unpacked into a folder where it is not installed; else why it can't be had."""
    if shutil.which("journalctl") is None:
        return "journalctl is not installed"
    if os.path.exists(f"/{_PROGRAM}"):
        return [f"/{_PROGRAM}"], dict(os.environ)
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return "systemd-journal-remote is not installed, and unpacking it takes apt-get and dpkg-deb"
    for command in (["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *_PACKAGES],):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{' '.join(command)} failed: {done.stderr.strip()[-300:]}"
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)
    paths = [*(str(folder / name) for name in _LIBRARIES), "/usr/lib/x86_64-linux-gnu/systemd", "/lib/systemd"]
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(paths)}
    program = str(folder / _PROGRAM)
    done = subprocess.run([program, "--version"], env=environment, capture_output=True, text=True, check=False)
    return f"{program} does not run here: {done.stderr.strip()[-300:]}" if done.returncode else ([program], environment)


class Journal:
    """A folder of journal files, of which the newest is written. boot: of the machine that seems to write it."""

    def __init__(self, folder: Path, command: list[str], environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.boot = BOOT
        self._command, self._environment = command, dict(environment)
        self._number = 0
        self._ticks = 0
        self._remote: subprocess.Popen[bytes] | None = None
        folder.mkdir(exist_ok=True)
        self.rotate()

    def rotate(self) -> Path:
        """Begins another file; returns the one before."""
        before = self.folder / f"part-{self._number}.journal"
        self.close()
        self._number += 1
        path = self.folder / f"part-{self._number}.journal"
        self._remote = subprocess.Popen(
            [*self._command, "--split-mode=none", f"--output={path}", "-"],
            env=self._environment,
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        return before

    def write(self, **fields: str | bytes) -> None:
        """One entry, now."""
        assert self._remote is not None
        assert self._remote.stdin is not None
        self._ticks += 1
        said: dict[str, str | bytes] = {
            "__REALTIME_TIMESTAMP": str(time.time_ns() // 1000),
            "__MONOTONIC_TIMESTAMP": str(self._ticks),
            "_BOOT_ID": self.boot,
            **fields,
        }
        entry = bytearray()
        for name, value in said.items():
            data = value.encode() if isinstance(value, str) else value
            if b"\n" in data or any(byte < 32 for byte in data):
                entry += name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
            else:
                entry += name.encode() + b"=" + data + b"\n"
        self._remote.stdin.write(entry + b"\n")
        self._remote.stdin.flush()

    def close(self) -> None:
        """All that was written is in the files."""
        if self._remote is not None:
            assert self._remote.stdin is not None
            self._remote.stdin.close()
            self._remote.wait(30)
            self._remote = None


class Unit:
    """A unit of systemd. printed: by its present invocation."""

    def __init__(self, journal: Journal, name: str) -> None:
        self.journal = journal
        self.name = name
        self.invocation = ""
        self.printed = bytearray()

    def start(self) -> None:
        """Process 1 starts it."""
        self.invocation = os.urandom(16).hex()
        self.printed = bytearray()
        self._say("39f53479d3a045ac8e11786248231fbf", f"Started {self.name}.")

    def print(self, line: bytes, *, priority: int = 6, line_break: str = "") -> None:
        """A line on its standard output. line_break: how it was ended, where that was no newline."""
        self.printed += line + (b"" if line_break in ("eof", "line-max", "pid-change") else b"\n")
        more = {"_LINE_BREAK": line_break} if line_break else {}
        self.journal.write(
            MESSAGE=line,
            PRIORITY=str(priority),
            _TRANSPORT="stdout",
            _PID="4242",
            _SYSTEMD_UNIT=self.name,
            _SYSTEMD_INVOCATION_ID=self.invocation,
            **more,
        )

    def stop(self) -> None:
        """It ends as it should."""
        self._say("7ad2d189f7e94e70a38c781354912448", f"{self.name}: Deactivated successfully.")
        self._say("9d1aaa27d60140bd96365438aad20286", f"Stopped {self.name}.")

    def fail(self, result: str, *, code: str = "exited", status: int = 1) -> None:
        """It fails."""
        self._say(
            "98e322203f7a4ed290d09fe03c09fe15",
            f"{self.name}: Control process exited, code=exited, status=9/n/a",
            COMMAND="ExecStop",
            EXIT_CODE="exited",
            EXIT_STATUS="9",
        )
        self._say(
            "98e322203f7a4ed290d09fe03c09fe15",
            f"{self.name}: Main process exited, code={code}, status={status}/n/a",
            COMMAND="ExecStart",
            EXIT_CODE=code,
            EXIT_STATUS=str(status),
        )
        message = f"{self.name}: Failed with result '{result}'."
        self._say("d9b373ed55a64feb8242e02dbe79a49c", message, UNIT_RESULT=result)

    def drop(self, lines: int) -> None:
        """journald leaves lines out."""
        self.journal.write(
            MESSAGE=f"Suppressed {lines} messages from {self.name}",
            MESSAGE_ID="a596d6fe7bfa4994828e72309e95d61e",
            N_DROPPED=str(lines),
            _TRANSPORT="driver",
            _SYSTEMD_UNIT="systemd-journald.service",
            OBJECT_SYSTEMD_UNIT=self.name,
            OBJECT_SYSTEMD_INVOCATION_ID=self.invocation,
        )

    def _say(self, message_id: str, message: str, **more: str) -> None:
        self.journal.write(
            MESSAGE=message,
            MESSAGE_ID=message_id,
            UNIT=self.name,
            INVOCATION_ID=self.invocation,
            _PID="1",
            _TRANSPORT="journal",
            _SYSTEMD_UNIT="init.scope",
            **more,
        )
