"""Two machines for a leader and a worker: network namespaces where that is possible, else two loopback addresses."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from joblog.address import LeaderFile, read_leader_file
from joblog.errors import JoblogError
from tests.e2e.machine import DEADLINE_SECONDS, JOBLOG, until


class Host:
    """A machine with an address, a data folder and a home of its own."""

    def __init__(self, folder: Path, address: str, prefix: Sequence[str] = ()) -> None:
        self.folder = folder
        self.address = address
        self.data_dir = folder / "data"
        self.messages = folder / "messages"
        self._prefix = list(prefix)
        folder.mkdir()
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("JOBLOG_")}
        self.environment |= {"JOBLOG_DATA_DIR": str(self.data_dir), "HOME": str(folder), "XDG_CONFIG_HOME": ""}
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        """Starts a command; what it says goes to `messages`."""
        with self.messages.open("ab") as messages:
            process = subprocess.Popen(
                [*self._prefix, *JOBLOG, *arguments],
                env=self.environment | variables,
                stdin=subprocess.DEVNULL,
                stdout=messages,
                stderr=messages,
            )
        self.processes.append(process)
        return process

    def call(
        self, *arguments: str, check: bool = True, stdin: str = "", **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs a command to its end."""
        done = subprocess.run(
            [*self._prefix, *JOBLOG, *arguments],
            env=self.environment | variables,
            input=stdin.encode(),
            capture_output=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        assert not check or done.returncode == 0, (done.returncode, done.stderr.decode(), self.said()[-4000:])
        return done

    def start_python(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a Python program on this machine; its first line on stdout says that it is ready."""
        process = subprocess.Popen(
            [*self._prefix, sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    def start_leader(self, *flags: str, listen: str = "0", **variables: str) -> LeaderFile:
        """Starts a leader that listens on this machine's address; returns when it is ready."""
        process = self.start("leader", "--listen", f"{self.address}:{listen}", *flags, **variables)
        until(lambda: process.poll() is not None or self.leader() is not None, "the leader is ready")
        leader = self.leader()
        assert leader is not None and process.poll() is None, self.said()[-4000:]
        return leader

    def leader(self) -> LeaderFile | None:
        """The leader that runs here."""
        try:
            return read_leader_file(self.data_dir)
        except JoblogError:
            return None

    def token(self, role: str, *flags: str) -> str:
        """A new token of the leader that runs here."""
        return self.call("token", "create", "--role", role, *flags).stdout.decode().strip()

    def said(self) -> str:
        """What processes on this machine have said."""
        return self.messages.read_text(errors="replace") if self.messages.exists() else ""

    def close(self) -> None:
        """Ends everything that runs here."""
        print(f"--- {self.folder.name}\n{self.said()[-6000:]}")
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _namespaces(name: str) -> bool:
    """Makes the namespaces NAME-a and NAME-b with a cable between them; False where that is not allowed."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    try:
        for side in "ab":
            _ip("netns", "add", f"{name}-{side}")
        _ip("link", "add", "cable", "netns", f"{name}-a", "type", "veth", "peer", "name", "cable", "netns", f"{name}-b")
        for side, address in (("a", "10.77.0.1/24"), ("b", "10.77.0.2/24")):
            inside = ("-n", f"{name}-{side}")
            _ip(*inside, "link", "set", "lo", "up")
            _ip(*inside, "address", "add", address, "dev", "cable")
            _ip(*inside, "link", "set", "cable", "up")
    except (subprocess.CalledProcessError, OSError):
        _remove(name)
        return False
    return True


def _remove(name: str) -> None:
    for side in "ab":
        subprocess.run(["ip", "netns", "del", f"{name}-{side}"], check=False, capture_output=True)


@contextmanager
def two_machines(folder: Path) -> Iterator[tuple[Host, Host]]:
    """One for a leader, one for a worker."""
    name = f"joblog{os.getpid()}"
    apart = _namespaces(name)
    if apart:
        first = Host(folder / "1", "10.77.0.1", ["ip", "netns", "exec", f"{name}-a"])
        second = Host(folder / "2", "10.77.0.2", ["ip", "netns", "exec", f"{name}-b"])
    else:
        first, second = Host(folder / "1", "127.0.0.1"), Host(folder / "2", "127.0.0.2")
    try:
        yield first, second
    finally:
        second.close()
        first.close()
        if apart:
            _remove(name)
