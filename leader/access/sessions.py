"""Sessions of browsers on the leader's disk, beside tokens: who signed in, until when, by what."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from joblog.errors import Conflict
from joblog.leader.access.database import Database
from joblog.leader.access.records import constant_time_equal, has_expired, hash_of
from joblog.leader.access.roles import Grant
from joblog.token import SECRET_BYTES, new_token_id

_COLUMNS = "id, secret_hash, name, grants, token_id, created_ns, expires_ns, last_used_ns, revoked_ns"
# Ended ones are kept so long that a browser is told that its session has ended, and not that it never was.
_KEPT_NS = 7 * 86_400 * 10**9
_NO_HASH = hash_of(b"")
_SEPARATOR = "."


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session as the leader knows it. Times in nanoseconds; revoked_ns 0: never.

    origin: the id of the token that it was made with, or what else vouched for it, as `oidc:...`; a session counts as
    long as that does. grants: those of the token at the time.
    """

    id: str
    secret_hash: bytes = field(repr=False)
    name: str
    grants: tuple[Grant, ...]
    origin: str
    created_ns: int
    expires_ns: int
    last_used_ns: int
    revoked_ns: int = 0


class Sessions:
    """Made by AccessStore. Thread-safe; every change but `touch` is on disk, synced, when its method returns."""

    def __init__(self, database: Database, clock: Callable[[], int] = time.time_ns) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        # When sessions were last used, as far as it is not on disk yet.
        self._used: dict[str, int] = {}

    def create(
        self, name: str, grants: Iterable[Grant], *, origin: str, lifetime_seconds: float, until_ns: int = 0
    ) -> tuple[SessionRecord, str]:
        """A new session, and the secret text that its browser shows. It ends at until_ns at the latest, unless 0.

        Raises Conflict when its token was revoked meanwhile.
        """
        secret = secrets.token_bytes(SECRET_BYTES)
        now = self._clock()
        expires = now + int(lifetime_seconds * 1e9)
        record = SessionRecord(
            id=new_token_id(),
            secret_hash=hash_of(secret),
            name=name,
            grants=tuple(grants),
            origin=origin,
            created_ns=now,
            expires_ns=min(expires, until_ns) if until_ns else expires,
            last_used_ns=now,
        )
        said = json.dumps([[grant.role, list(grant.namespaces)] for grant in record.grants])
        values = (record.id, record.secret_hash, name, said, origin, now, record.expires_ns, now, 0)
        with self._database.transaction() as connection:
            gone = connection.execute("SELECT 1 FROM tokens WHERE id = ? AND revoked_ns != 0", (origin,)).fetchone()
            if gone:
                raise Conflict(f"token {origin} is revoked")
            connection.execute("DELETE FROM sessions WHERE expires_ns < ?", (now - _KEPT_NS,))
            connection.execute(f"INSERT INTO sessions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608
        return record, record.id + _SEPARATOR + base64.urlsafe_b64encode(secret).decode().rstrip("=")

    def find(self, session_id: str) -> SessionRecord | None:
        """The session, also one that has ended; None for one that never was, or ended long ago."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM sessions WHERE id = ?", (session_id,))  # noqa: S608
        if not rows:
            return None
        found, secret_hash, name, grants, origin, created, expires, used, revoked = rows[0]
        said = tuple(Grant(role, tuple(globs)) for role, globs in json.loads(grants))
        used = max(used, self._used.get(found, 0))
        return SessionRecord(found, secret_hash, name, said, origin, created, expires, used, revoked)

    def shown(self, text: str) -> SessionRecord | None:
        """The session whose secret text this is, also one that has ended; takes as long for each wrong one."""
        session_id, _, rest = text.partition(_SEPARATOR)
        try:
            secret = base64.b64decode(rest + "=" * (-len(rest) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        record = self.find(session_id[:100])
        is_right = constant_time_equal(hash_of(secret), record.secret_hash if record else _NO_HASH)
        return record if record is not None and is_right and len(secret) == SECRET_BYTES else None

    def revoke(self, session_id: str) -> bool:
        """The session has ended; False when it had already."""
        with self._database.transaction() as connection:
            changed = connection.execute(
                "UPDATE sessions SET revoked_ns = ? WHERE id = ? AND revoked_ns = 0", (self._clock(), session_id)
            ).rowcount
        return bool(changed)

    def touch(self, session_id: str) -> None:
        """The session is used now; kept in memory until write_used(), so that it costs nothing."""
        with self._lock:
            self._used[session_id] = self._clock()

    def write_used(self) -> None:
        """Writes down when sessions were last used; call it now and then."""
        with self._lock:
            used = dict(self._used)
        if not used:
            return
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE sessions SET last_used_ns = max(last_used_ns, ?) WHERE id = ?",
                [(when, session_id) for session_id, when in used.items()],
            )
        with self._lock:
            # Only now: whoever looks in between must not take a session for idle.
            self._used = {key: when for key, when in self._used.items() if used.get(key) != when}


def is_idle(record: SessionRecord, idle_ns: int, now_ns: int) -> bool:
    """Whether it was not used for too long; idle_ns 0: never."""
    return bool(idle_ns) and has_expired(record.last_used_ns + idle_ns, now_ns)
