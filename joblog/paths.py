"""Where joblog keeps what on a machine: one data folder, everything below it, all folders 0700."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from joblog.errors import Denied, InvalidInput, OutOfSpace

DATA_DIR_VARIABLE = "JOBLOG_DATA_DIR"
# sun_path of a unix socket's address holds 108 bytes, the last of them 0.
MAX_SOCKET_PATH_BYTES = 107


def data_dir(given: Path | None, environ: Mapping[str, str]) -> Path:
    """The data folder: the one given, JOBLOG_DATA_DIR, $XDG_DATA_HOME/joblog or ~/.local/share/joblog; absolute.

    Raises InvalidInput where there is none of these.
    """
    if given is None and (named := environ.get(DATA_DIR_VARIABLE)):
        given = Path(named).expanduser()
    if given is None:
        folder = environ.get("XDG_DATA_HOME")
        home = None if folder else _home(environ)
        if not folder and home is None:
            raise InvalidInput(f"this user has no home folder: name a data folder with {DATA_DIR_VARIABLE}")
        given = Path(folder or Path(home or "/", ".local", "share"), "joblog")
    return given.absolute()


def config_file(program: str, given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The settings file of `program` ("leader" or "worker"), or None where there is none.

    The one given; the one in JOBLOG_LEADER_CONFIG or JOBLOG_WORKER_CONFIG; $XDG_CONFIG_HOME/joblog/leader.toml
    (~/.config/joblog/leader.toml); /etc/joblog/leader.toml. The first two need not exist here: reading them says so.
    """
    if given is not None:
        return given
    if named := environ.get(f"JOBLOG_{program.upper()}_CONFIG"):
        return Path(named).expanduser()
    home = _home(environ)
    own = environ.get("XDG_CONFIG_HOME") or (None if home is None else home / ".config")
    folders = [Path("/etc/joblog")] if own is None else [Path(own, "joblog"), Path("/etc/joblog")]
    for folder in folders:
        file = folder / f"{program}.toml"
        if file.is_file():
            return file
    return None


def _home(environ: Mapping[str, str]) -> Path | None:
    """The user's folder; None for a user that the system does not know, as in containers."""
    if named := environ.get("HOME"):
        return Path(named)
    try:
        return Path.home()
    except RuntimeError:
        return None


class DataFolder(NamedTuple):
    """Names of everything below a data folder; making folders is left to `make_folder`."""

    root: Path

    @property
    def leader(self) -> Path:
        """All that a leader keeps."""
        return self.root / "leader"

    @property
    def store(self) -> Path:
        """The leader's RocksDB store."""
        return self.leader / "store"

    @property
    def kek_file(self) -> Path:
        """The leader's key file, unless the settings name another one."""
        return self.leader / "kek.key"

    @property
    def access(self) -> Path:
        """Who may do what at the leader: tokens, certificates, the CA."""
        return self.leader / "access"

    @property
    def access_store(self) -> Path:
        """The leader's store of tokens and certificates."""
        return self.access / "access.sqlite3"

    @property
    def admin_token(self) -> Path:
        """The text of an admin token of the leader, for clients of its own user."""
        return self.access / "admin.token"

    @property
    def leader_file(self) -> Path:
        """The address file of the leader while it runs."""
        return self.leader / "leader.json"

    @property
    def worker(self) -> Path:
        """All that a worker keeps."""
        return self.root / "worker"

    @property
    def worker_id(self) -> Path:
        """The worker's id, the same over restarts."""
        return self.worker / "id"

    @property
    def worker_identity(self) -> Path:
        """The worker's key and certificate, and with which leader it joined."""
        return self.worker / "identity"

    @property
    def leader_lives(self) -> Path:
        """Which life of its leaders the worker has met."""
        return self.worker / "leaders.json"

    @property
    def worker_lock(self) -> Path:
        """Held by the worker daemon while it runs."""
        return self.worker / "worker.lock"

    @property
    def worker_socket(self) -> Path:
        """The worker's control socket."""
        return self.worker / "worker.sock"

    @property
    def notify_socket(self) -> Path:
        """Datagram socket on which supervisors tell the shipper of new bytes."""
        return self.worker / "notify.sock"

    @property
    def spools(self) -> Path:
        """Folder with one folder per spooled log."""
        return self.worker / "spool"

    @property
    def follow_secret(self) -> Path:
        """What followed logs' writer ids are made from."""
        return self.worker / "follow.key"

    @property
    def followed(self) -> Path:
        """Which followed logs are over."""
        return self.worker / "followed"

    @property
    def journal(self) -> Path:
        """How far the journal was read."""
        return self.worker / "journal.json"

    @property
    def journaled(self) -> Path:
        """Which logs from the journal are over."""
        return self.worker / "journaled"

    @property
    def refused(self) -> Path:
        """Folder with the spools that the leader refuses for good."""
        return self.worker / "refused"


def make_folder(path: Path) -> Path:
    """Makes `path`, and its parents where they are missing, so that only its owner can look into it; returns it.

    An existing folder is made as private as a new one. Raises InvalidInput, Denied or OutOfSpace.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
        if found.st_uid != os.geteuid():
            # Root could, but whoever owns the folder could still put other files in the place of ours.
            raise Denied(f"{path}: belongs to user {found.st_uid}, must belong to this one ({os.geteuid()})")
        if found.st_mode & 0o077:
            path.chmod(0o700)
    except (FileExistsError, NotADirectoryError):
        raise InvalidInput(
            f"{path}: is not a folder; name another one with --data-dir or {DATA_DIR_VARIABLE}"
        ) from None
    except PermissionError as error:
        raise Denied(f"{path}: can't be made, or made private: {error.strerror}; it must belong to this user") from None
    except OSError as error:
        kind = OutOfSpace if error.errno in (errno.ENOSPC, errno.EDQUOT) else InvalidInput
        raise kind(f"{path}: can't be made: {error.strerror}") from None
    return path


def check_socket_path(path: Path) -> Path:
    """Returns `path` when it is short enough for a unix socket; raises InvalidInput."""
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH_BYTES:
        raise InvalidInput(
            f"{path}: a unix socket's path has at most {MAX_SOCKET_PATH_BYTES} bytes, this one {length}: "
            "choose a data folder with a shorter path"
        )
    return path
