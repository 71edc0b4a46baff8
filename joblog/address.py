"""Where the leader is: an address that was given, or the address file that a running leader keeps in its folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from joblog import paths
from joblog.errors import InvalidInput, NotFound, Unavailable

LEADER_VARIABLE = "JOBLOG_LEADER"
_MAX_FILE_BYTES = 64 << 10


class LeaderFile(NamedTuple):
    """What a running leader says about itself in its data folder. http_url is empty where HTTP is turned off."""

    pid: int
    grpc_address: str
    http_url: str


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


def is_running(pid: int) -> bool:
    """Whether a process of that id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
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
        found = LeaderFile(int(fields["pid"]), check_address(fields["grpc_address"]), str(fields.get("http_url") or ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InvalidInput(f"{path}: is not a leader's address file: remove it when no leader runs there") from None
    if not is_running(found.pid):
        raise NotFound(f"the leader in {data_dir} (process {found.pid}) has ended: {start}")
    return found


def find_leader(
    leader: str | None = None, data_dir: Path | None = None, environ: Mapping[str, str] = os.environ
) -> str:
    """The gRPC address of the leader to talk to.

    In this order: `leader`; the leader that runs in `data_dir`, where one is given; JOBLOG_LEADER; the leader that runs
    in the data folder that JOBLOG_DATA_DIR names, else in the user's. Raises NotFound where none runs, InvalidInput
    where an address is none.
    """
    if leader:
        return check_address(leader)
    if data_dir is None and environ.get(LEADER_VARIABLE):
        return check_address(environ[LEADER_VARIABLE])
    return read_leader_file(paths.data_dir(data_dir, environ)).grpc_address


def unreachable(address: str, detail: str) -> Unavailable:
    """The error for a leader that does not answer."""
    return Unavailable(
        f"the leader at {address} can't be reached ({detail}): `joblog status` says whether one runs on this machine"
    )
