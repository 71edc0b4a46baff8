"""Who may make, see and revoke which tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.errors import Denied, InvalidInput, NotFound
from joblog.leader.access.issuing import Issuer, Wanted, record_or_undo, token_event
from joblog.leader.access.principal import EVERYBODY, Principal
from joblog.leader.access.records import Quota
from joblog.leader.access.roles import Grant
from joblog.leader.access.store import AccessStore
from joblog.token import Token

ADMIN = Principal("token", "root", "a", (Grant("admin"),))
TEAM = Principal("token", "lead", "b", (Grant("admin", ("team-*",)),))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AccessStore]:
    store = AccessStore(tmp_path / "access.sqlite3")
    yield store
    store.close()


@pytest.fixture
def issuer(store: AccessStore) -> Issuer:
    return Issuer(store, address=lambda: "leader:7080", fingerprint=lambda: b"f" * 32)


def wanted(role: str = "reader", *globs: str, **fields: object) -> Wanted:
    return Wanted("t", (Grant(role, globs or ("*",)),), **fields)  # type: ignore[arg-type]


def test_a_token_says_where_and_whom_to_trust(issuer: Issuer, store: AccessStore) -> None:
    record, text = issuer.create(ADMIN, wanted(quota=Quota(live_logs=3)))
    token = Token.parse(text)
    assert (token.id, token.address, token.fingerprint) == (record.id, "leader:7080", b"f" * 32)
    found = store.find_token(record.id)
    assert found is not None and found.has_secret(token.secret)
    assert (found.created_by, found.quota.live_logs) == ("root", 3)
    assert Token.parse(issuer.create(ADMIN, wanted(address="elsewhere:1"))[1]).address == "elsewhere:1"


def test_nobody_grants_more_than_they_hold(issuer: Issuer) -> None:
    for role, globs in (("admin", ("team-a",)), ("writer", ("team-a", "team-b*")), ("operator", ("team-*",))):
        issuer.create(TEAM, wanted(role, *globs))
    for role, globs in (("reader", ("*",)), ("reader", ("team-a", "other")), ("viewer", ("tea*",)), ("admin", ("@*",))):
        with pytest.raises(Denied, match="can't be granted more"):
            issuer.create(TEAM, wanted(role, *globs))
    with pytest.raises(Denied):
        issuer.create(ADMIN, wanted("reader", "@audit"))
    issuer.create(EVERYBODY, wanted("reader", "@*"))


def test_nor_for_longer_nor_for_another_worker(issuer: Issuer) -> None:
    import time

    brief = Principal("token", "brief", "c", (Grant("admin"),), expires_ns=time.time_ns() + 100 * 10**9)
    issuer.create(brief, wanted(lifetime_seconds=50))
    for lifetime in (0, 200):
        with pytest.raises(Denied, match="lifetime_seconds"):
            issuer.create(brief, wanted(lifetime_seconds=lifetime))
    bound = Principal("token", "bound", "d", (Grant("admin"),), worker_id="w1")
    issuer.create(bound, wanted(worker_id="w1"))
    for worker_id in ("", "w2"):
        with pytest.raises(Denied, match="worker_id"):
            issuer.create(bound, wanted(worker_id=worker_id))


def test_an_admin_of_some_namespaces_sees_and_revokes_what_it_could_have_made(issuer: Issuer) -> None:
    others = [issuer.create(ADMIN, wanted("reader", glob))[0] for glob in ("*", "other", "team-a") for _ in range(5)]
    seen: list[str] = []
    page = ""
    while True:
        found = issuer.tokens(TEAM, page, 2)
        seen += [record.id for record in found.tokens]
        page = found.next_token
        if not page:
            break
    assert seen == [record.id for record in others[:9:-1]]
    for record in others[:10]:
        with pytest.raises(NotFound):
            issuer.revoke(TEAM, record.id)
    assert issuer.revoke(TEAM, others[10].id).revoked_ns
    assert len(issuer.tokens(ADMIN, "", 100).tokens) == 15


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"name": "a\nb"},
        {"grants": ()},
        {"worker_id": "\x1b[31m"},
        {"lifetime_seconds": -1},
        {"lifetime_seconds": 2**60},
        {"address": "a b\n"},
        {"quota": Quota(bytes_per_day=2**63)},
    ],
)
def test_what_no_token_can_be(issuer: Issuer, fields: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        issuer.create(ADMIN, Wanted(**{"name": "t", "grants": (Grant("reader"),), **fields}))  # type: ignore[arg-type]


async def test_a_token_that_can_not_be_written_to_the_audit_log_is_none(issuer: Issuer, store: AccessStore) -> None:
    class Full:
        def note(self, event: object) -> None:
            raise AssertionError

        async def record(self, event: object) -> None:
            raise InvalidInput("full")

    record, _ = issuer.create(ADMIN, wanted())
    with pytest.raises(InvalidInput):
        await record_or_undo(
            Full(), token_event("token.create", ADMIN, record), lambda: issuer.revoke(ADMIN, record.id)
        )
    found = store.find_token(record.id)
    assert found is not None and found.revoked_ns
