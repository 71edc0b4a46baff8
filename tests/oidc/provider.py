"""A real OpenID Connect provider as a process, and a browser that signs in there."""

from __future__ import annotations

import contextlib
import fcntl
import html
import json
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from joblog.leader.access.authority import CA_FILE, Authority

FOLDER = Path(__file__).parent
CLIENT_ID, CLIENT_SECRET = "joblog", "a secret of the tests & nobody else's"
GROUPS = {
    "alice": ["platform", "all"],
    "bob": ["team-a"],
    "carol": ["cn=ops,ou=groups"],
    "mallory": ["elsewhere", "*"],
}
_INSTALL_SECONDS = 100
_START_SECONDS = 30


def install() -> None:
    """Installs what package-lock.json says, once. Skips the test where that is not possible."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed: the OpenID Connect provider of the tests needs them")
    whole = FOLDER / "node_modules" / ".whole"
    with Path(tempfile.gettempdir(), "joblog-tests-npm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if whole.is_file():
            return
        command = ["npm", "ci", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, timeout=_INSTALL_SECONDS, check=False)
        if done.returncode:
            pytest.skip(f"npm ci failed in {FOLDER}: {done.stderr.decode(errors='replace')[-500:]}")
        # A run that was stopped in the middle leaves none.
        whole.touch()


@dataclass
class Provider:
    """A provider that runs. issuer: its address. ca: PEM file of who vouches for it."""

    issuer: str
    ca: Path
    verify: ssl.SSLContext
    process: subprocess.Popen[bytes]

    def control(self, **how: Any) -> str:
        """Changes how it answers from now on (see provider.js); gives the last ID token that it made."""
        reply = httpx.post(f"{self.issuer}/control", json=how, verify=self.verify)
        return str(reply.json()["id_token"])

    def kill(self) -> None:
        """It is gone."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Provider]:
    """Runs a provider; its CA is the one in the folder."""
    install()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    issuer = f"https://localhost:{port}"
    authority = Authority.open(folder)
    pair = authority.server_pair(["localhost"], 3600)
    ca = folder / CA_FILE
    given = {
        "issuer": issuer,
        "port": port,
        "key": pair.key.decode(),
        "certificate": pair.chain.decode(),
        "groups": GROUPS,
        "clients": [
            {
                "client_id": CLIENT_ID,
                "client_secret": CLIENT_SECRET,
                "redirect_uris": ["https://leader.example/callback"],
                "scope": "openid profile email groups",
            }
        ],
    }
    messages = folder / "provider.messages"
    with messages.open("wb") as file:
        process = subprocess.Popen(
            ["node", "provider.js"], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file
        )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(given).encode())
        process.stdin.close()
        assert process.stdout.readline() == b"listening\n", messages.read_text()
        yield Provider(issuer, ca, ssl.create_default_context(cafile=str(ca)), process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Browser:
    """Keeps cookies and follows what it is told to, as far as the leader's address; a person types into its forms."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def get(self, url: str) -> httpx.Response:
        """One request."""
        return await self.client.get(url)

    async def to_provider(self, url: str) -> httpx.Response:
        """Follows the leader to the provider's form."""
        return await self._follow(await self.get(url))

    async def answer(self, form: httpx.Response, login: str) -> httpx.Response:
        """Signs in, agrees, and stops at the address of the leader that the provider sends it back to."""
        while True:
            assert form.status_code == 200, (form.url, form.text[:500])
            (action,) = re.findall(r'<form [^>]*action="([^"]+)"', form.text)
            (prompt,) = re.findall(r'name="prompt" value="([^"]+)"', form.text)
            typed = {"prompt": prompt, "login": login, "password": "any"}
            form = await self._follow(await self.client.post(html.unescape(action), data=typed))
            if form.is_redirect:
                return form

    async def sign_in(self, start: str, login: str) -> httpx.Response:
        """All of it; what the leader answers in the end."""
        back = await self.answer(await self.to_provider(start), login)
        return await self.get(back.headers["location"])

    async def _follow(self, reply: httpx.Response) -> httpx.Response:
        """Until a page, or what leads to the leader's callback."""
        while reply.is_redirect:
            target = reply.headers["location"]
            if "/oidc/callback" in target:
                return reply
            reply = await self.get(str(reply.url.join(target)))
        return reply
