"""Which token a client shows to which leader, and whom it takes for it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from joblog.address import find_leader
from joblog.cli.daemons import listen_flags
from joblog.credentials import Login, Logins
from joblog.errors import Denied, InvalidInput
from joblog.leader.access.authority import Authority
from joblog.token import SECRET_BYTES, Token, new_token_id


def token(fingerprint: bytes = b"", address: str = "") -> Token:
    return Token(new_token_id(), os.urandom(SECRET_BYTES), fingerprint, address)


@pytest.fixture
def local(tmp_path: Path) -> tuple[Path, Authority, Token]:
    """A data folder in which a leader seems to run: the folder, its CA, its admin token."""
    folder = tmp_path / "data"
    access = folder / "leader" / "access"
    access.mkdir(parents=True)
    ca = Authority.open(access)
    own = token(ca.fingerprint, "127.0.0.1:11")
    (access / "admin.token").write_text(own.text)
    said = {"pid": os.getpid(), "grpc_address": "127.0.0.1:11", "plaintext": False, "ca": ca.pem.decode()}
    (folder / "leader" / "leader.json").write_text(json.dumps(said))
    return folder, ca, own


def environ(folder: Path, **more: str) -> dict[str, str]:
    return {"JOBLOG_DATA_DIR": str(folder), "XDG_CONFIG_HOME": str(folder / "config"), **more}


def test_the_leader_of_the_data_folder_needs_no_step(local: tuple[Path, Authority, Token]) -> None:
    folder, ca, own = local
    found = find_leader(None, None, environ(folder))
    assert (found.address, found.trust.ca, found.trust.token) == ("127.0.0.1:11", ca.pem, own.text)
    assert not found.trust.plaintext
    # Through a tunnel on this machine too, and nowhere else.
    assert find_leader("127.0.0.1:12", None, environ(folder)).trust == found.trust
    assert find_leader("10.0.0.1:11", None, environ(folder)).trust.token == ""


def test_a_token_counts_for_the_leader_that_it_is_of(local: tuple[Path, Authority, Token]) -> None:
    folder, ca, own = local
    mine, theirs = token(ca.fingerprint), token(bytes(range(32)), "far:7080")
    assert find_leader(None, folder, environ(folder, JOBLOG_TOKEN=mine.text)).trust.token == mine.text
    assert find_leader(None, folder, environ(folder, JOBLOG_TOKEN=theirs.text)).trust.token == own.text
    far = find_leader(None, None, environ(folder, JOBLOG_TOKEN=theirs.text))
    assert (far.address, far.trust.fingerprint, far.trust.token) == ("far:7080", bytes(range(32)), theirs.text)
    assert far.trust.ca == b""
    (folder / "file").write_text(f"{theirs.text}\n")
    assert find_leader(None, None, environ(folder, JOBLOG_TOKEN_FILE=str(folder / "file"))) == far
    with pytest.raises(InvalidInput, match="JOBLOG_TOKEN: the token is none"):
        find_leader(None, None, environ(folder, JOBLOG_TOKEN="jl1.nonsense"))


def test_a_login_is_for_one_leader_and_private(tmp_path: Path) -> None:
    logins = Logins.of_user(environ(tmp_path))
    assert logins.current == "" and logins.get("far:7080") is None
    logins.put("far:7080", Login("secret-1", "CA-1"))
    logins.put("other:7080", Login("secret-2", ""))
    assert logins.path.stat().st_mode & 0o777 == 0o600
    found = find_leader(None, None, environ(tmp_path))
    assert (found.address, found.trust.token, found.trust.ca) == ("other:7080", "secret-2", b"")
    assert find_leader("far:7080", None, environ(tmp_path)).trust.token == "secret-1"
    assert find_leader("third:7080", None, environ(tmp_path)).trust.token == ""
    assert logins.remove("other:7080") and not logins.remove("other:7080")
    assert logins.current == "far:7080" and "secret" not in repr(logins.get("far:7080"))
    logins.path.chmod(0o644)
    with pytest.raises(Denied, match="chmod 600"):
        find_leader(None, None, environ(tmp_path))


def test_plaintext_only_when_it_is_asked_for(local: tuple[Path, Authority, Token]) -> None:
    folder, _, _ = local
    assert find_leader("far:1", None, environ(folder, JOBLOG_PLAINTEXT="1")).trust.plaintext
    assert not find_leader("far:1", None, environ(folder, JOBLOG_PLAINTEXT="0")).trust.plaintext


@pytest.mark.parametrize(
    ("listen", "grpc"),
    [
        ("10.0.0.1", "10.0.0.1:7080"),
        ("10.0.0.1:0", "10.0.0.1:0"),
        ("logs.example:9000", "logs.example:9000"),
        ("[::1]:9000", "[::1]:9000"),
        ("[::1]", "[::1]:7080"),
        ("::1", "[::1]:7080"),
    ],
)
def test_one_address_for_all_servers(listen: str, grpc: str) -> None:
    found = listen_flags(listen)
    host, _, port = grpc.rpartition(":")
    assert found["grpc.listen"] == grpc
    last = "0" if port == "0" else str(int(port) + 2)
    assert found["grpc.workers_listen"] == f"{host}:{last}"


@pytest.mark.parametrize("listen", ["10.0.0.1:65535", "10.0.0.1:x", "a b:1"])
def test_addresses_that_do_not_do(listen: str) -> None:
    with pytest.raises(InvalidInput):
        listen_flags(listen)
