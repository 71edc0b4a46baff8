"""The leader's own admin token: what its user's clients on its machine show."""

from __future__ import annotations

import os
from pathlib import Path

from joblog.errors import InvalidInput
from joblog.leader.access.roles import Grant
from joblog.leader.access.store import MAX_PAGE, AccessStore
from joblog.token import Token

ADMIN_TOKEN_FILE = "admin.token"  # noqa: S105 - a name
ADMIN_TOKEN_NAME = "leader-admin"  # noqa: S105 - a name
CREATED_BY = "leader"


def ensure_admin_token(store: AccessStore, path: Path, *, fingerprint: bytes = b"", address: str = "") -> bool:
    """Makes the token and its file where there is none that is good; True when it did.

    Where the leader's CA or address is another one than the file says, the file is written anew with the same token.
    """
    found = _read(path)
    record = store.find_token(found.id) if found is not None else None
    if found is not None and record is not None and record.has_secret(found.secret) and not record.revoked_ns:
        said = Token(found.id, found.secret, fingerprint, address)
        if said != found:
            _write(path, said)
        return False
    _make(store, path, fingerprint, address)
    return True


def remake_admin_token(store: AccessStore, path: Path) -> Token:
    """A new admin token in place of the one that was lost, which is revoked, with every worker that joined with it."""
    found = _read(path)
    page = ""
    while True:
        records, page = store.list_tokens(page, MAX_PAGE)
        for record in records:
            if record.created_by == CREATED_BY and record.name == ADMIN_TOKEN_NAME and not record.revoked_ns:
                store.revoke_token(record.id)
        if not page:
            break
    return _make(store, path, found.fingerprint if found else b"", found.address if found else "")


def admin_token_in(folder: Path) -> Token | None:
    """The token in the file of an access folder; None where there is none, or it can't be read."""
    try:
        return _read(folder / ADMIN_TOKEN_FILE)
    except OSError:
        return None


def _make(store: AccessStore, path: Path, fingerprint: bytes, address: str) -> Token:
    record, secret = store.create_token(ADMIN_TOKEN_NAME, (Grant("admin"),), created_by=CREATED_BY)
    token = Token(record.id, secret, fingerprint, address)
    _write(path, token)
    return token


def _read(path: Path) -> Token | None:
    try:
        return Token.parse(path.read_text(errors="replace"))
    except (FileNotFoundError, InvalidInput):
        return None


def _write(path: Path, token: Token) -> None:
    fresh = path.with_name(f"{path.name}.tmp")
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(token.text + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
