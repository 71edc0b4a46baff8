"""Where the leader is and whom to trust as it: given, or in the address file that a running leader keeps in its folder.

Imports next to nothing: every `joblog run` looks here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from joblog import paths
from joblog.credentials import Logins, token_from_environment
from joblog.errors import InvalidInput, NotFound, Unavailable
from joblog.token import Token
from joblog.trust import Trust, fingerprint_of

LEADER_VARIABLE = "JOBLOG_LEADER"
PLAINTEXT_VARIABLE = "JOBLOG_PLAINTEXT"
_TRUTHS = frozenset({"1", "true", "yes", "on"})
_MAX_FILE_BYTES = 64 << 10


class LeaderFile(NamedTuple):
    """What a running leader says about itself in its data folder. http_url is empty where HTTP is turned off.

    workers_address: where workers with a certificate connect; empty in plaintext. ca: PEM of who vouches for the
    leader; empty: the system's CAs. server_name: the name in its certificate, where the address is not in it.
    """

    pid: int
    grpc_address: str
    http_url: str
    workers_address: str = ""
    plaintext: bool = True
    ca: str = ""
    server_name: str = ""


class KnownLeader(NamedTuple):
    """A leader's gRPC address, whom to trust as it, and what to show to it."""

    address: str
    trust: Trust


def check_address(address: str) -> str:
    """Returns `address` when it reads HOST:PORT or unix:PATH; raises InvalidInput."""
    if address.startswith("unix:"):
        return address
    host, _, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not host or (":" in host and not bracketed) or any(c.isspace() or c == "/" for c in host):
        raise InvalidInput(f"leader address {address[:100]!r} is not HOST:PORT (as in 127.0.0.1:7080 or [::1]:7080)")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise InvalidInput(f"leader address {address[:100]!r}: its port is not a number from 1 to 65535")
    return address


def check_listen(address: str) -> str:
    """Returns `address` when a server can listen there: HOST:PORT, port 0 for any free one; raises InvalidInput."""
    host, colon, port = address.rpartition(":")
    if address.startswith("unix:"):
        raise InvalidInput(f"{address[:100]!r} is not HOST:PORT")
    check_address(f"{host}{colon}{port if port != '0' else '1'}")
    return address


def is_running(pid: int) -> bool:
    """Whether a process of that id exists."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def read_leader_file(data_dir: Path) -> LeaderFile:
    """The running leader of a data folder.

    Raises NotFound when none runs there, Unavailable when it waits for something before it starts, InvalidInput when
    its address file can't be read or is not one.
    """
    path = paths.DataFolder(data_dir).leader_file
    start = f"start one with `joblog up --data-dir {data_dir}`, or name one with --leader or {LEADER_VARIABLE}"
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"no leader runs in {data_dir}: {start}") from None
    except OSError as error:
        raise InvalidInput(f"{path}: can't be read: {error.strerror}") from None
    try:
        fields = json.loads(text)
        if fields.get("waiting") and is_running(int(fields["pid"])):
            raise Unavailable(f"the leader in {data_dir} (process {fields['pid']}) starts: {fields['waiting']}")
        texts = {name: str(fields.get(name) or "") for name in ("http_url", "workers_address", "ca", "server_name")}
        found = LeaderFile(
            int(fields["pid"]),
            check_address(fields["grpc_address"]),
            # A leader that says nothing of it is one of a version that knew nothing else.
            plaintext=bool(fields.get("plaintext", True)),
            **texts,
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise InvalidInput(f"{path}: is not a leader's address file: remove it when no leader runs there") from None
    if not is_running(found.pid):
        raise NotFound(f"the leader in {data_dir} (process {found.pid}) has ended: {start}")
    return found


def is_plaintext(environ: Mapping[str, str]) -> bool:
    """Whether JOBLOG_PLAINTEXT asks for connections that are not encrypted."""
    return environ.get(PLAINTEXT_VARIABLE, "").strip().lower() in _TRUTHS


def find_leader(
    leader: str | None = None, data_dir: Path | None = None, environ: Mapping[str, str] = os.environ
) -> KnownLeader:
    """The leader to talk to.

    Its address, in this order: `leader`; the leader that runs in `data_dir`, where one is given; JOBLOG_LEADER; the one
    in the token of JOBLOG_TOKEN or JOBLOG_TOKEN_FILE; the leader that runs in the data folder that JOBLOG_DATA_DIR
    names, else in the user's; that of the last `joblog login`. For trust see trust_for. Raises NotFound where none
    runs, InvalidInput where an address or token is none.
    """
    token = token_from_environment(environ)
    folder = paths.data_dir(data_dir, environ)
    if leader:
        address = check_address(leader)
    elif data_dir is None and environ.get(LEADER_VARIABLE):
        address = check_address(environ[LEADER_VARIABLE])
    elif data_dir is None and token is not None and token.address:
        address = check_address(token.address)
    else:
        try:
            address = read_leader_file(folder).grpc_address
        except NotFound:
            current = Logins.of_user(environ).current if data_dir is None else ""
            if not current:
                raise
            address = check_address(current)
    return KnownLeader(address, trust_for(address, folder, token, environ))


def trust_for(address: str, data_dir: Path, token: Token | None, environ: Mapping[str, str]) -> Trust:
    """Whom to take for the leader at an address, and what to show to it.

    The leader that runs in `data_dir`: what lies in its folder, and its admin token, or `token` where that is one of
    this leader. Another one: `token`; on this machine, that of the leader in `data_dir`; what `joblog login` keeps. The
    TLS handshake shows whether it is the right one, before any token is sent.
    """
    local = _local(data_dir)
    is_local = local is not None and local.grpc_address == address
    plaintext = is_plaintext(environ) or (is_local and local is not None and local.plaintext)
    if local is not None and is_local:
        ca = local.ca.encode()
        other = token is not None and token.fingerprint and token.fingerprint != fingerprint_of(ca)
        shown = token.text if token is not None and not other else own_token(data_dir)
        return Trust(plaintext, ca, server_name=local.server_name, token=shown)
    if token is not None:
        return Trust(plaintext, fingerprint=token.fingerprint, token=token.text)
    login = Logins.of_user(environ).get(address)
    if login is not None:
        return Trust(plaintext, login.ca.encode(), token=login.token)
    if local is not None and is_loopback(address):
        # Perhaps the same leader through a tunnel.
        return Trust(plaintext, local.ca.encode(), server_name=local.server_name, token=own_token(data_dir))
    return Trust(plaintext)


def own_token(data_dir: Path) -> str:
    """The admin token in the folder of a leader; empty where this user can't read one."""
    try:
        return Token.parse(paths.DataFolder(data_dir).admin_token.read_text(errors="replace")).text
    except (OSError, InvalidInput):
        return ""


def _local(data_dir: Path) -> LeaderFile | None:
    try:
        return read_leader_file(data_dir)
    except (NotFound, InvalidInput):
        return None


def is_loopback(address: str) -> bool:
    """Whether HOST:PORT is an address of this machine alone."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost" or address.startswith("unix:"):
        return True
    if host.startswith("127."):
        return host.replace(".", "").isdigit()
    return host == "::1"


def unreachable(address: str, detail: str) -> Unavailable:
    """The error for a leader that does not answer."""
    return Unavailable(
        f"the leader at {address} can't be reached ({detail}): `joblog status` says whether one runs on this machine"
    )
