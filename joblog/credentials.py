"""Tokens that a client has: from the environment, or kept by `joblog login` for each leader."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from joblog.errors import InvalidInput, NotFound, WrongVersion
from joblog.token import MAX_TOKEN_LENGTH, Token

TOKEN_VARIABLE = "JOBLOG_TOKEN"  # noqa: S105 - a variable's name
TOKEN_FILE_VARIABLE = "JOBLOG_TOKEN_FILE"  # noqa: S105
_VERSION = 1


def token_from_file(path: Path) -> Token:
    """The token that is the content of a file. Raises InvalidInput."""
    try:
        with path.open("rb") as file:
            text = file.read(2 * MAX_TOKEN_LENGTH).decode(errors="replace")
    except OSError as error:
        raise InvalidInput(f"{path}: can't be read: {error.strerror}") from None
    try:
        return Token.parse(text)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from None


def token_from_environment(environ: Mapping[str, str]) -> Token | None:
    """The token in JOBLOG_TOKEN, or in the file that JOBLOG_TOKEN_FILE names. Raises InvalidInput."""
    if text := environ.get(TOKEN_VARIABLE):
        try:
            return Token.parse(text)
        except InvalidInput as error:
            raise InvalidInput(f"{TOKEN_VARIABLE}: {error}") from None
    if file := environ.get(TOKEN_FILE_VARIABLE):
        return token_from_file(Path(file).expanduser())
    return None


class Login(NamedTuple):
    """What is kept for one leader. ca: PEM of who vouches for it; empty: the system's CAs do."""

    token: str
    ca: str

    def __repr__(self) -> str:
        return "Login(***)"


class Logins:
    """The file of `joblog login`: mode 0600, by leader address; `current` is the one that was used last for a login."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def of_user(cls, environ: Mapping[str, str]) -> Logins:
        """$XDG_CONFIG_HOME/joblog/credentials.json, or the same below ~/.config."""
        home = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or Path.home(), ".config")
        return cls(Path(home, "joblog", "credentials.json"))

    @property
    def path(self) -> Path:
        """Where they are kept."""
        return self._path

    def get(self, address: str) -> Login | None:
        """The login at a leader. Raises Denied when others may read the file, Corrupt, InvalidInput, WrongVersion."""
        found = self._read()["leaders"].get(address)
        return None if found is None else Login(found["token"], found["ca"])

    @property
    def current(self) -> str:
        """The leader of the last login; empty where there is none."""
        return str(self._read()["current"])

    def put(self, address: str, login: Login) -> None:
        """Keeps a login, in place of the one before at that leader."""
        content = self._read()
        content["leaders"][address] = {"token": login.token, "ca": login.ca}
        content["current"] = address
        self._write(content)

    def remove(self, address: str) -> bool:
        """Forgets a login; False where there is none."""
        content = self._read()
        if content["leaders"].pop(address, None) is None:
            return False
        if content["current"] == address:
            content["current"] = next(reversed(content["leaders"]), "")
        self._write(content)
        return True

    def _read(self) -> dict[str, Any]:
        from joblog.private_file import read_private

        try:
            text = read_private(self._path)
        except NotFound:
            return {"version": _VERSION, "current": "", "leaders": {}}
        try:
            content = json.loads(text)
            version = content["version"]
            if version == _VERSION:
                leaders = {
                    str(key): {"token": str(one["token"]), "ca": str(one["ca"])}
                    for key, one in content["leaders"].items()
                }
                return {"version": _VERSION, "current": str(content["current"]), "leaders": leaders}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InvalidInput(
                f"{self._path}: is not what `joblog login` writes: remove it, and log in again"
            ) from None
        raise WrongVersion(f"{self._path}: has version {version!r:.20}, this version of joblog knows {_VERSION}")

    def _write(self, content: dict[str, Any]) -> None:
        from joblog.private_file import write_private

        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._path, json.dumps(content, indent=1).encode())


def user_logins() -> Logins:
    """Those of the user who runs this process."""
    return Logins.of_user(os.environ)
