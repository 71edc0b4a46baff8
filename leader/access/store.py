"""Tokens and certificates on the leader's disk, apart from the logs: who is known, and until when."""

from __future__ import annotations

import dataclasses
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from joblog.errors import Conflict, InvalidInput, NotFound
from joblog.leader.access.database import Database, Row, Values
from joblog.leader.access.records import CertificateRecord, Quota, Revoked, TokenRecord, hash_of
from joblog.leader.access.roles import Grant
from joblog.leader.access.sessions import Sessions
from joblog.leader.access.usage import UsageTable
from joblog.token import SECRET_BYTES, new_token_id

MAX_PAGE = 1000

_COLUMNS = {
    "tokens": "id, name, secret_hash, grants, worker_id, created_ns, expires_ns, last_used_ns, revoked_ns, created_by, "
    "quota",
    "certificates": "serial, worker_id, token_id, issued_ns, expires_ns, revoked_ns",
}
_TOKENS = f"SELECT {_COLUMNS['tokens']} FROM tokens"  # noqa: S608
_CERTIFICATES = f"SELECT {_COLUMNS['certificates']} FROM certificates"  # noqa: S608

OnRevoked = Callable[[Revoked], None]


class AccessStore:
    """Who is known to the leader. Thread-safe; every change is on disk, synced, when its method returns.

    clock: nanoseconds since 1970.
    """

    def __init__(self, path: Path, *, clock: Callable[[], int] = time.time_ns) -> None:
        """Opens the file, or makes it. Raises Corrupt, WrongVersion, OutOfSpace."""
        self._database = Database(path)
        self._clock = clock
        self.sessions = Sessions(self._database, clock)
        self.usage = UsageTable(self._database)
        self._told: list[OnRevoked] = []
        self._lock = threading.Lock()
        # When tokens were last used, as far as it is not on disk yet.
        self._used: dict[str, int] = {}

    def close(self) -> None:
        """Writes down what tokens were used, and closes the file."""
        self.write_used()
        self._database.close()

    def on_revoked(self, callback: OnRevoked) -> None:
        """`callback(what)` is called after each revocation, in the thread that revoked."""
        self._told.append(callback)

    def foreign_changes(self) -> int:
        """A number that changes when another process, as the command line, has changed something."""
        return self._database.foreign_changes()

    def changes(self) -> tuple[int, int]:
        """Another pair whenever anything was changed, here or by another process."""
        return self._database.changes()

    def is_new(self) -> bool:
        """Whether nobody was ever known here."""
        return not self._database.rows("SELECT 1 FROM tokens LIMIT 1")

    def restore(self, tokens: Iterable[TokenRecord], certificates: Iterable[CertificateRecord]) -> None:
        """Takes note, in one step, of what another leader knew; those that are known here stay as they are."""
        with self._database.transaction() as connection:
            for token in tokens:
                _insert(connection, "tokens", _token_values(token), known="OR IGNORE")
            for one in certificates:
                values = (one.serial, one.worker_id, one.token_id, one.issued_ns, one.expires_ns, one.revoked_ns)
                _insert(connection, "certificates", values, known="OR IGNORE")

    # Tokens

    def create_token(
        self,
        name: str,
        grants: Iterable[Grant],
        *,
        created_by: str,
        worker_id: str = "",
        lifetime_seconds: int = 0,
        quota: Quota | None = None,
    ) -> tuple[TokenRecord, bytes]:
        """A new token and its secret, which is kept nowhere. lifetime_seconds 0: it never expires."""
        secret = secrets.token_bytes(SECRET_BYTES)
        now = self._clock()
        record = TokenRecord(
            id=new_token_id(),
            name=name,
            secret_hash=hash_of(secret),
            grants=tuple(grants),
            worker_id=worker_id,
            created_ns=now,
            expires_ns=now + lifetime_seconds * 10**9 if lifetime_seconds else 0,
            created_by=created_by,
            quota=quota or Quota(),
        )
        with self._database.transaction() as connection:
            _insert(connection, "tokens", _token_values(record))
        return record, secret

    def find_token(self, token_id: str) -> TokenRecord | None:
        """The token, also one that is revoked or has expired; None for one that never was."""
        rows = self._database.rows(f"{_TOKENS} WHERE id = ?", (token_id,))
        return self._token(rows[0]) if rows else None

    def list_tokens(self, page_token: str = "", limit: int = 100) -> tuple[list[TokenRecord], str]:
        """A page of tokens, newest first, and where the next one begins; empty at the end. Raises InvalidInput."""
        rows, following = self._page(_TOKENS, ("created_ns", "id"), page_token, limit)
        return [self._token(row) for row in rows], following

    def revoke_token(self, token_id: str) -> TokenRecord:
        """The token does not count any more, nor do the certificates and sessions that it brought forth.

        Can be repeated. Raises NotFound.
        """
        now = self._clock()
        with self._database.transaction() as connection:
            changed = connection.execute(
                "UPDATE tokens SET revoked_ns = ? WHERE id = ? AND revoked_ns = 0", (now, token_id)
            ).rowcount
            revoked = [Revoked("token", token_id)] if changed else []
            for kind, table, key in (("certificate", "certificates", "serial"), ("session", "sessions", "id")):
                found = connection.execute(
                    f"UPDATE {table} SET revoked_ns = ? WHERE token_id = ? AND revoked_ns = 0 RETURNING {key}",  # noqa: S608
                    (now, token_id),
                ).fetchall()
                revoked += [Revoked(kind, row[0]) for row in found]  # type: ignore[arg-type]
        self._tell(revoked)
        record = self.find_token(token_id)
        if record is None:
            raise NotFound(f"there is no token {token_id[:60]!r}; `joblog token ls` lists them")
        return record

    def touch_token(self, token_id: str) -> None:
        """The token is used now; kept in memory until write_used(), so that it costs nothing."""
        with self._lock:
            self._used[token_id] = self._clock()

    def write_used(self) -> None:
        """Writes down when tokens and sessions were last used; call it now and then."""
        with self._lock:
            used, self._used = self._used, {}
        if used:
            with self._database.transaction() as connection:
                connection.executemany(
                    "UPDATE tokens SET last_used_ns = max(last_used_ns, ?) WHERE id = ?",
                    [(when, token_id) for token_id, when in used.items()],
                )

        self.sessions.write_used()

    def end_session(self, session_id: str) -> bool:
        """Somebody signed out; what was open in the session ends. False when it had ended already."""
        ended = self.sessions.revoke(session_id)
        self._tell([Revoked("session", session_id)])
        return ended

    # Certificates

    def add_certificate(self, serial: str, worker_id: str, token_id: str, expires_ns: int) -> CertificateRecord:
        """Takes note of a certificate before it is given to its worker. serial: as records.serial_text().

        Raises Conflict when the token is revoked meanwhile, or the serial is in use.
        """
        record = CertificateRecord(serial, worker_id, token_id, self._clock(), expires_ns)
        values = (serial, worker_id, token_id, record.issued_ns, expires_ns, 0)
        with self._database.transaction() as connection:
            taken = connection.execute("SELECT 1 FROM certificates WHERE serial = ?", (serial,)).fetchone()
            gone = connection.execute("SELECT 1 FROM tokens WHERE id = ? AND revoked_ns != 0", (token_id,)).fetchone()
            if taken or gone:
                raise Conflict(f"certificate {serial}: its token is revoked" if gone else f"{serial} is in use")
            _insert(connection, "certificates", values)
        return record

    def find_certificate(self, serial: str) -> CertificateRecord | None:
        """The certificate, also one that is revoked or has expired; None for one that the leader did not issue."""
        rows = self._database.rows(f"{_CERTIFICATES} WHERE serial = ?", (serial,))
        return CertificateRecord(*rows[0]) if rows else None

    def certificates_of(self, worker_id: str) -> list[CertificateRecord]:
        """All of a worker's, those that are revoked or have expired too."""
        return [
            CertificateRecord(*row) for row in self._database.rows(f"{_CERTIFICATES} WHERE worker_id = ?", (worker_id,))
        ]

    def list_certificates(self, page_token: str = "", limit: int = 100) -> tuple[list[CertificateRecord], str]:
        """A page of certificates, newest first, and where the next one begins. Raises InvalidInput."""
        rows, following = self._page(_CERTIFICATES, ("issued_ns", "serial"), page_token, limit)
        return [CertificateRecord(*row) for row in rows], following

    def revoke_certificates(self, *, serial: str = "", worker_id: str = "") -> list[CertificateRecord]:
        """Revokes the one with this serial, or all of this worker; newest first. Can be repeated. Raises NotFound."""
        if bool(serial) == bool(worker_id):
            raise InvalidInput("give either the serial of a certificate or the id of a worker")
        column, value = ("serial", serial) if serial else ("worker_id", worker_id)
        with self._database.transaction() as connection:
            found = connection.execute(
                f"UPDATE certificates SET revoked_ns = ? WHERE {column} = ? AND revoked_ns = 0 RETURNING serial",  # noqa: S608
                (self._clock(), value),
            ).fetchall()
        self._tell([Revoked("certificate", row[0]) for row in found])
        rows = self._database.rows(f"{_CERTIFICATES} WHERE {column} = ? ORDER BY issued_ns DESC", (value,))
        if not rows:
            raise NotFound(f"there is no certificate with {column} {value[:60]!r}")
        return [CertificateRecord(*row) for row in rows]

    # What is shared

    def _tell(self, revoked: list[Revoked]) -> None:
        for what in revoked:
            for callback in self._told:
                callback(what)

    def _token(self, row: Row) -> TokenRecord:
        token_id, name, secret_hash, grants, worker_id, created, expires, used, revoked, created_by, quota = row
        return TokenRecord(
            token_id,
            name,
            secret_hash,
            tuple(Grant(role, tuple(globs)) for role, globs in json.loads(grants)),
            worker_id,
            created,
            expires,
            max(used, self._used.get(token_id, 0)),
            revoked,
            created_by,
            Quota(**json.loads(quota)),
        )

    def _page(self, query: str, order: tuple[str, str], page_token: str, limit: int) -> tuple[list[Row], str]:
        """order: two columns that the query gives too: the age, and what tells rows of one age apart."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"page size {limit} is out of range: 1 to {MAX_PAGE}")
        # Newer than any.
        when, last = 2**63 - 1, ""
        if page_token:
            text, dot, last = page_token.partition(".")
            if not dot or not (text.isascii() and text.isdigit() and len(text) <= 19) or int(text) >= 2**63:
                raise InvalidInput(f"page token {page_token[:40]!r} is not one that this leader gave")
            when = int(text)
        age, key = order
        rows = self._database.rows(
            f"SELECT *, {age}, {key} FROM ({query}) WHERE ({age}, {key}) < (?, ?) "  # noqa: S608
            f"ORDER BY {age} DESC, {key} DESC LIMIT ?",
            (when, last, limit + 1),
        )
        shown = rows[:limit]
        following = f"{shown[-1][-2]}.{shown[-1][-1]}" if len(rows) > limit else ""
        return [row[:-2] for row in shown], following


def _token_values(record: TokenRecord) -> Values:
    return (
        record.id,
        record.name,
        record.secret_hash,
        json.dumps([[grant.role, list(grant.namespaces)] for grant in record.grants]),
        record.worker_id,
        record.created_ns,
        record.expires_ns,
        record.last_used_ns,
        record.revoked_ns,
        record.created_by,
        json.dumps(dataclasses.asdict(record.quota)),
    )


def _insert(connection: sqlite3.Connection, table: str, values: Values, known: str = "") -> None:
    """known: what becomes of one that is there already: an error, or as it says."""
    marks = ", ".join("?" * len(values))
    connection.execute(f"INSERT {known} INTO {table} ({_COLUMNS[table]}) VALUES ({marks})", values)  # noqa: S608
