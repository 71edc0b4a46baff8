"""nginx before a leader, as docs/operations.md has it, and a leader that is served under a path by it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from joblog.leader.access.authority import Authority
from joblog.paths import DataFolder
from tests.browser.tab import Site
from tests.e2e.machine import until
from tests.packages import install

BASE_PATH = "/joblog/"
DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"

_CONFIGURATION = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/proxy.pem;
        ssl_certificate_key {folder}/proxy.pem;
{location}
    }}
}}
"""


def nginx_missing() -> str:
    """Why there is no nginx here, after an attempt to install it; empty when there is one."""
    return "" if _nginx() else install("nginx", ("nginx-light",))


def _nginx() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert isinstance(port, int)
    return port


class ProxiedSite(Site):
    """The daemons of a folder that are to be reached through a proxy alone."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        self.port, self._leader_port = free_port(), free_port()
        self.machine.environment |= {
            "JOBLOG_HTTP_URL": f"https://127.0.0.1:{self.port}",
            "JOBLOG_HTTP_BASE_PATH": BASE_PATH,
            "JOBLOG_HTTP_TRUSTED_PROXIES": "127.0.0.1",
        }

    @property
    def url(self) -> str:
        """That of the proxy."""
        return f"https://127.0.0.1:{self.port}{BASE_PATH.rstrip('/')}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """The daemons and the proxy."""
        self.machine.start_up("--http-listen", f"127.0.0.1:{self._leader_port}")
        configuration = self._configure()
        process = subprocess.Popen([_nginx() or "nginx", "-c", str(configuration), "-p", str(self.folder)])
        try:
            until(self._listens, "nginx listens")
            yield
        finally:
            process.terminate()
            process.wait()

    def _listens(self) -> bool:
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0

    def _configure(self) -> Path:
        pair = Authority.open(self.folder).server_pair(["127.0.0.1"], 3600)
        shown = self.folder / "proxy.pem"
        shown.touch(0o600)
        shown.write_bytes(pair.chain + pair.key)
        (documented,) = re.findall(
            r"^    location /joblog/ \{.*?^    \}", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE
        )
        ca = DataFolder(self.machine.data_dir).leader / "access" / "ca.pem"
        location = documented.replace("127.0.0.1:7081", f"127.0.0.1:{self._leader_port}").replace(
            "/var/lib/joblog/leader/access/ca.pem", str(ca)
        )
        text = _CONFIGURATION.format(
            user="user root;" if os.geteuid() == 0 else "",
            folder=self.folder,
            port=self.port,
            location=textwrap.indent(location, "    "),
        )
        file = self.folder / "nginx.conf"
        file.write_text(text)
        return file
