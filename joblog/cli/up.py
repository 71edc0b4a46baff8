"""`joblog up`: a leader and a worker on this machine, as child processes that live and end with it."""

from __future__ import annotations

import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Self, TypeVar

import typer

from joblog import paths
from joblog.address import LEADER_VARIABLE, LeaderFile, read_leader_file
from joblog.cli.browsing import sign_in_link
from joblog.cli.options import DataDir, chosen_data_dir
from joblog.cli.words import duration_text
from joblog.client import Client
from joblog.errors import Conflict, Interrupted, JoblogError, NotFound, Unavailable

_POLL_SECONDS = 0.05
# Settings and credentials of the leader alone; what libraries read by themselves among them.
_LEADERS_VARIABLES = (
    "JOBLOG_ACCESS_",
    "JOBLOG_ARCHIVE_",
    "JOBLOG_KEYS_",
    "JOBLOG_OIDC_",
    "JOBLOG_OTLP_EXPORT_",
    "JOBLOG_RECOVERY_",
    "JOBLOG_TLS_",
    "AWS_",
    "BAO_",
    "VAULT_",
)

T = TypeVar("T")


def up(
    *,
    data_dir: DataDir = None,
    grpc_listen: Annotated[
        str | None, typer.Option("--grpc-listen", metavar="HOST:PORT", help="gRPC address; port 0 is any free one.")
    ] = None,
    http_listen: Annotated[
        str | None, typer.Option("--http-listen", metavar="HOST:PORT", help="HTTP address; port 0 is any free one.")
    ] = None,
    plaintext: Annotated[
        bool, typer.Option("--plaintext", help="No encryption: whoever is on the way sees logs and tokens.")
    ] = False,
    ready_seconds: Annotated[
        float, typer.Option("--ready-timeout", metavar="SECONDS", min=0.1, help="Longest wait until both are ready.")
    ] = 60.0,
    stop_seconds: Annotated[
        float, typer.Option("--stop-timeout", metavar="SECONDS", min=0, help="Longest wait for each to stop.")
    ] = 30.0,
) -> None:
    """Run a leader and a worker here, with all state below the data folder, until SIGTERM or Ctrl-C.

    Stops both cleanly: first the worker, which sends what it still has, then the leader. When one of them ends by
    itself, the other is stopped too, and the exit code is 1. A second signal kills both at once: nothing that was acked
    is lost.
    """
    folder = paths.DataFolder(chosen_data_dir(data_dir))
    _check_free(folder)
    paths.make_folder(folder.root)
    flags = [*_flag("--grpc-listen", grpc_listen), *_flag("--http-listen", http_listen)]
    flags += ["--plaintext"] if plaintext else []
    with Signals() as signals, Children(signals, stop_seconds) as children:
        children.start("leader", folder.root, flags)
        leader = children.wait_until("leader", lambda: _ready_leader(folder.root), ready_seconds)
        children.start("worker", folder.root, ["--leader", leader.grpc_address])
        children.wait_until("worker", lambda: _ready_worker(folder), ready_seconds)
        _print_where(folder.root, leader, _sign_in_link(folder.root))
        children.wait_for_end()


def environment_of(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """What a daemon sees of the user's variables: tasks of the worker must not come by what opens the archive."""
    dropped = _LEADERS_VARIABLES if name == "worker" else ()
    return {
        key: value for key, value in environ.items() if key != LEADER_VARIABLE and not key.startswith(tuple(dropped))
    }


def _flag(name: str, value: str | None) -> list[str]:
    return [] if value is None else [name, value]


def _check_free(folder: paths.DataFolder) -> None:
    try:
        found = read_leader_file(folder.root)
    except NotFound:
        return
    raise Conflict(
        f"a leader runs in {folder.root} already (process {found.pid}, {found.grpc_address}): see `joblog status`, or "
        "name another folder with --data-dir"
    )


def _ready_leader(data_dir: Path) -> LeaderFile | None:
    try:
        found = read_leader_file(data_dir)
        with Client(data_dir=data_dir, timeout_seconds=1.0) as client:
            client.status()
    except JoblogError:
        return None
    return found


def _ready_worker(folder: paths.DataFolder) -> bool | None:
    from joblog.worker.control.client import ControlClient

    try:
        ControlClient(str(folder.worker_socket), 1.0).ping()
    except JoblogError:
        return None
    return True


def _sign_in_link(data_dir: Path) -> str:
    with Client(data_dir=data_dir) as client:
        return sign_in_link(client)


def _print_where(data_dir: Path, leader: LeaderFile, link: str) -> None:
    joblog = "joblog" if shutil.which("joblog") else shlex.quote(str(Path(sys.executable).with_name("joblog")))
    where = "" if data_dir == paths.data_dir(None, os.environ) else f" --data-dir {shlex.quote(str(data_dir))}"
    lines = [
        "joblog is up: a leader and a worker",
        f"  data   {data_dir}",
        f"  grpc   {leader.grpc_address}",
        f"  http   {leader.http_url or 'turned off'}",
        "try, in another terminal:",
        f"  {joblog} run{where} --run demo --task hello -- sh -c 'for i in 1 2 3; do echo line $i; sleep 1; done'",
        f"  {joblog} logs{where} -f demo/hello",
        *(
            [f"in a browser, within two minutes (`{joblog} ui{where}` makes another link):", f"  {link}"]
            if link
            else []
        ),
        "Ctrl-C stops both.",
    ]
    typer.echo("\n".join(lines))


class Signals:
    """SIGTERM, SIGINT and SIGHUP as something to wait for; `count` says how many came. A context manager."""

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[int, object] = {}
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._came)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(-1)
        os.close(self._read_fd)
        os.close(self._write_fd)

    def _came(self, _number: int, _frame: object) -> None:
        self.count += 1

    def wait(self, fds: list[int], timeout_seconds: float | None) -> None:
        """Waits until a signal comes, one of fds can be read, or the time is over."""
        ready, _, _ = select.select([self._read_fd, *fds], [], [], timeout_seconds)
        if self._read_fd in ready:
            os.read(self._read_fd, 512)


class Child:
    """A daemon that was started here."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.process = process
        # Can be waited for together with signals.
        self.pid_fd = os.pidfd_open(process.pid)

    def ended(self) -> str | None:
        """How it ended, in words; None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        how = f"by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"with exit code {code}"
        return f"the {self.name} (process {self.process.pid}) ended {how}"


class Children:
    """The daemons in the order in which they were started; leaving the context stops them in the opposite one.

    Each has the reading end of a pipe whose other end is held open here, and ends by itself once that is closed: also
    when this process is killed.
    """

    def __init__(self, signals: Signals, stop_seconds: float) -> None:
        self._signals = signals
        self._stop_seconds = stop_seconds
        self._children: list[Child] = []
        self._parent_read_fd, self._parent_write_fd = os.pipe2(os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        signals_before = self._signals.count
        if signals_before:
            typer.echo("joblog: stopping; another signal kills both", err=True)
        for child in reversed(self._children):
            self._stop(child, signals_before)
        for child in self._children:
            os.close(child.pid_fd)
        os.close(self._parent_read_fd)
        os.close(self._parent_write_fd)

    def start(self, name: str, data_dir: Path, flags: list[str]) -> None:
        """Starts `joblog <name>` in a process group of its own, so that Ctrl-C reaches it through us alone."""
        command = [sys.executable, "-P", "-m", "joblog.cli.main", name, "--data-dir", str(data_dir), *flags]
        command += ["--parent-pipe", str(self._parent_read_fd)]
        environment = environment_of(name, os.environ)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            # What a daemon says belongs with our own messages.
            stdout=2,
            env=environment,
            pass_fds=(self._parent_read_fd,),
            process_group=0,
        )
        self._children.append(Child(name, process))

    def wait_until(self, name: str, ready: Callable[[], T | None], timeout_seconds: float) -> T:
        """Waits until ready() gives something. Raises JoblogError when a child ends or time runs out."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            self._check_running()
            found = ready()
            if found is not None:
                return found
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"the {name} was not ready after {duration_text(timeout_seconds)}: its messages say why"
                )
            self._signals.wait([child.pid_fd for child in self._children], _POLL_SECONDS)
            if self._signals.count:
                raise Interrupted("stopped before both were ready")

    def wait_for_end(self) -> None:
        """Waits for a signal. Raises JoblogError when a child ends before."""
        while not self._signals.count:
            self._check_running()
            self._signals.wait([child.pid_fd for child in self._children], None)

    def _check_running(self) -> None:
        for child in self._children:
            ended = child.ended()
            if ended is not None:
                raise JoblogError(f"{ended}: stopping the rest; its messages above say why")

    def _stop(self, child: Child, signals_before: int) -> None:
        """SIGTERM, then, after the deadline or at another signal of the user, SIGKILL."""
        if child.ended() is not None:
            return
        child.process.terminate()
        deadline = time.monotonic() + self._stop_seconds
        while child.ended() is None:
            left = deadline - time.monotonic()
            if left <= 0 or self._signals.count > signals_before:
                typer.echo(f"joblog: killing the {child.name} (process {child.process.pid})", err=True)
                child.process.kill()
                child.process.wait()
                return
            self._signals.wait([child.pid_fd], left)
