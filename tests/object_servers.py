"""S3 servers for tests, on loopback: moto's, in memory, and Ceph's RADOS Gateway, a real one that keeps its data."""

from __future__ import annotations

import base64
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from joblog.leader.archive.options import S3Options
from tests.packages import install

ACCESS_KEY = "joblogtestkey"
SECRET_KEY = "joblog-test-secret-0123456789"
START_SECONDS = 90.0
KMS_KEY = "joblog-test-kms"
RGW_PACKAGES = ("ceph-mon", "ceph-osd", "radosgw", "ceph-common")


def free_port() -> int:
    """A port that nobody listens on now, of those that no connection is given by itself before somebody does."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def options_for(endpoint: str, **more: object) -> S3Options:
    """How tests reach a server of theirs."""
    fields: dict[str, object] = {
        "endpoint": endpoint,
        "path_style": True,
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "connect_timeout_seconds": 2.0,
        "read_timeout_seconds": 30.0,
    }
    return S3Options(**(fields | more))  # type: ignore[arg-type]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _until(condition: Callable[[], bool], what: str, processes: Sequence[subprocess.Popen[bytes]] = ()) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert all(process.poll() is None for process in processes), f"{what} ended before it was ready"
        assert time.monotonic() < deadline, f"{what} did not start within {START_SECONDS} s"
        time.sleep(0.1)


@contextmanager
def _process(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


@contextmanager
def moto_server(folder: Path) -> Iterator[str]:
    """The endpoint of a fresh moto server."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _process(command, folder / "moto.log"):
        url = f"http://127.0.0.1:{port}"
        _until(lambda: _answers(url), "moto")
        yield url


def rgw_missing() -> str:
    """Why a RADOS Gateway can't be had here, after an attempt to install it; empty when it is there."""
    if all(shutil.which(name) for name in ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin")):
        return ""
    return install("Ceph's radosgw", RGW_PACKAGES)


@contextmanager
def rgw_server(new_folder: Callable[[], Path]) -> Iterator[str]:
    """The endpoint of a fresh RADOS Gateway. A port may be taken under its hands: then another start has others."""
    server = Rgw(new_folder())
    running[:] = [server]
    for more_tries in (2, 1, 0):
        try:
            server.start()
            break
        except AssertionError:
            server.stop()
            if not more_tries:
                raise
            server = Rgw(new_folder())
            running[:] = [server]
    try:
        yield server.endpoint
    finally:
        server.stop()


def pass_days(endpoint: str, days: int) -> None:
    """Has the gateway at `endpoint` follow the lifecycle rules of its buckets as if so many days had gone by."""
    server = next(one for one in running if one.endpoint == endpoint)
    # A day is a second then.
    time.sleep(days + 1)
    server.admin("--rgw-lc-debug-interval=1", "lc", "process")


running: list[Rgw] = []


class Rgw:
    """A monitor, an OSD and a gateway in a folder. `endpoint` is where the gateway answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.monitor_port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._conf = str(folder / "ceph.conf")
        self._log = folder / "ceph.log"
        self._stack = ExitStack()
        self._processes: list[subprocess.Popen[bytes]] = []

    def _ceph(self, *command: str, check: bool = True) -> str:
        program, *rest = command
        done = subprocess.run(
            [program, "-c", self._conf, *rest], capture_output=True, text=True, check=False, timeout=START_SECONDS
        )
        assert not check or done.returncode == 0, f"{command}: {done.stderr[-1000:]}"
        return done.stdout.strip()

    def admin(self, *arguments: str) -> str:
        """What radosgw-admin says."""
        return self._ceph("radosgw-admin", "-n", "client.rgw.a", "--no-mon-config", *arguments)

    def start(self) -> None:
        """Makes an empty cluster and starts it."""
        for name in ("mon", "osd", "rgw", "run"):
            (self.folder / name).mkdir()
        fsid = str(uuid.uuid4())
        (self.folder / "ceph.conf").write_text(self._configuration(fsid))
        # The daemons may run as another user than the one that makes their files.
        monmap = str(self.folder / "monmap")
        address = f"127.0.0.1:{self.monitor_port}"
        subprocess.run(
            ["monmaptool", "--create", "--addv", "a", f"[v1:{address}]", "--fsid", fsid, monmap],
            check=True,
            capture_output=True,
        )
        self._ceph("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self._daemon("ceph-mon", "-i", "a", "-f")
        self._until(
            lambda: "fsid" in self._ceph("ceph", "--connect-timeout", "5", "-f", "json", "status", check=False), "mon"
        )
        osd = str(uuid.uuid4())
        self._ceph("ceph", "osd", "create", osd)
        self._ceph("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._ceph("ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=localhost")
        self._daemon("ceph-osd", "-i", "0", "-f")
        self._until(lambda: '"num_up_osds":1' in self._ceph("ceph", "-f", "json", "osd", "stat", check=False), "osd")
        self._ceph(
            "radosgw-admin",
            *("user", "create", "--uid", "joblog", "--display-name", "joblog"),
            *("--access-key", ACCESS_KEY, "--secret", SECRET_KEY),
        )
        self._daemon("radosgw", "-n", "client.rgw.a", "-f", "--no-mon-config")
        self._until(lambda: _answers(self.endpoint), "radosgw")

    def _daemon(self, program: str, *arguments: str) -> None:
        self._processes.append(self._stack.enter_context(_process([program, "-c", self._conf, *arguments], self._log)))

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        _until(condition, what, self._processes)

    def stop(self) -> None:
        """Kills all of it."""
        self._stack.close()

    def _configuration(self, fsid: str) -> str:
        key = base64.b64encode(bytes(range(32))).decode()
        folder = self.folder
        return f"""
[global]
fsid = {fsid}
mon host = [v1:127.0.0.1:{self.monitor_port}]
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
log file = {folder}/$name.log
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data = {folder}/mon
# Or each change of the cluster's maps waits for a second.
paxos propose interval = 0.02
paxos min wait = 0.01
mon warn on pool no redundancy = false
osd data = {folder}/osd
# What an OSD says of itself before it knows the cluster is refused, and ends it.
osd class update on start = false
osd crush update on start = false
osd objectstore = memstore
memstore device bytes = 4294967296
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:{self.port}
rgw data = {folder}/rgw
keyring = {folder}/rgw/keyring
rgw crypt require ssl = false
rgw crypt s3 kms backend = testing
rgw crypt s3 kms encryption keys = {KMS_KEY}={key}
"""
