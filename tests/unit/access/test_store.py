"""The access store: tokens and certificates over restarts, in threads, and what it refuses."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.errors import Conflict, Corrupt, InvalidInput, NotFound, WrongVersion
from joblog.leader.access.records import Quota, Revoked, serial_text
from joblog.leader.access.roles import Grant
from joblog.leader.access.store import AccessStore

READER = (Grant("reader", ("team-*",)),)


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000

    def __call__(self) -> int:
        self.now_ns += 1
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "access.sqlite3"


@pytest.fixture
def store(file: Path, clock: Clock) -> Iterator[AccessStore]:
    store = AccessStore(file, clock=clock)
    yield store
    store.close()


def test_a_token_is_found_after_a_restart_and_its_secret_lies_nowhere(store: AccessStore, file: Path) -> None:
    quota = Quota(bytes_per_day=5)
    record, secret = store.create_token(
        "ci", READER, created_by="root", worker_id="w", lifetime_seconds=60, quota=quota
    )
    store.close()
    for part in file.parent.iterdir():
        assert secret not in part.read_bytes()
        assert stat.S_IMODE(part.stat().st_mode) == 0o600, part
    again = AccessStore(file)
    found = again.find_token(record.id)
    again.close()
    assert found == record
    assert found.has_secret(secret)
    assert not found.has_secret(secret[:-1])
    assert not found.has_secret(b"")
    assert (found.grants, found.worker_id, found.created_by, found.quota) == (READER, "w", "root", quota)
    assert found.expires_ns == found.created_ns + 60 * 10**9
    assert found.is_good(found.expires_ns - 1)
    assert not found.is_good(found.expires_ns)


def test_all_files_are_private_while_it_is_open(store: AccessStore, file: Path) -> None:
    store.create_token("a", READER, created_by="root")
    names = {part.name for part in file.parent.iterdir()}
    assert names == {"access.sqlite3", "access.sqlite3-wal", "access.sqlite3-shm"}
    assert {stat.S_IMODE(part.stat().st_mode) for part in file.parent.iterdir()} == {0o600}


def test_lists_are_newest_first_page_by_page(store: AccessStore) -> None:
    ids = [store.create_token(f"t{number}", READER, created_by="root")[0].id for number in range(7)]
    seen: list[str] = []
    token = ""
    while True:
        page, token = store.list_tokens(token, 3)
        seen += [record.id for record in page]
        if not token:
            break
    assert seen == ids[::-1]
    for wrong in ("x", "1", "-1.a", f"{2**63}.a", "9" * 30 + ".a"):
        with pytest.raises(InvalidInput):
            store.list_tokens(wrong, 3)
    for limit in (0, 1001):
        with pytest.raises(InvalidInput):
            store.list_tokens("", limit)


def test_a_revoked_token_takes_its_certificates_along_and_tells_once(store: AccessStore) -> None:
    told: list[Revoked] = []
    store.on_revoked(told.append)
    record, _ = store.create_token("w", READER, created_by="root")
    other, _ = store.create_token("o", READER, created_by="root")
    store.add_certificate("a1", "w1", record.id, 2**62)
    store.add_certificate("b2", "w1", record.id, 2**62)
    store.add_certificate("c3", "w1", other.id, 2**62)
    revoked = store.revoke_token(record.id)
    assert revoked.revoked_ns and not revoked.is_good(revoked.revoked_ns)
    assert told[0] == Revoked("token", record.id)
    assert {(what.kind, what.id) for what in told[1:]} == {("certificate", "a1"), ("certificate", "b2")}
    assert store.revoke_token(record.id) == revoked
    assert len(told) == 3
    kept = store.find_certificate("c3")
    assert kept is not None and not kept.revoked_ns
    with pytest.raises(NotFound):
        store.revoke_token("nosuchtoken2")
    with pytest.raises(Conflict):
        store.add_certificate("d4", "w1", record.id, 2**62)


def test_certificates_are_revoked_by_serial_or_by_worker(store: AccessStore) -> None:
    told: list[Revoked] = []
    store.on_revoked(told.append)
    for serial, worker in (("a", "w1"), ("b", "w1"), ("c", "w2")):
        store.add_certificate(serial, worker, "", 2**62)
    with pytest.raises(Conflict):
        store.add_certificate("a", "w1", "", 2**62)
    assert [found.serial for found in store.revoke_certificates(serial="a")] == ["a"]
    assert [found.serial for found in store.revoke_certificates(worker_id="w1")] == ["b", "a"]
    assert [what.id for what in told] == ["a", "b"]
    assert [found.serial for found in store.list_certificates()[0]] == ["c", "b", "a"]
    for nothing in ({"serial": "zz"}, {"worker_id": "zz"}):
        with pytest.raises(NotFound):
            store.revoke_certificates(**nothing)
    for wrong in ({}, {"serial": "a", "worker_id": "w1"}):
        with pytest.raises(InvalidInput):
            store.revoke_certificates(**wrong)
    assert serial_text(0x0AB) == "ab"


def test_last_use_is_shown_at_once_and_kept(store: AccessStore, file: Path, clock: Clock) -> None:
    record, _ = store.create_token("a", READER, created_by="root")
    store.touch_token(record.id)
    used = clock.now_ns
    assert store.list_tokens()[0][0].last_used_ns == used
    store.write_used()
    store.write_used()
    again = AccessStore(file)
    found = again.find_token(record.id)
    again.close()
    assert found is not None and found.last_used_ns == used


def test_what_another_process_changes_is_noticed(store: AccessStore, file: Path) -> None:
    before = store.foreign_changes()
    store.create_token("own", READER, created_by="root")
    assert store.foreign_changes() == before
    other = AccessStore(file)
    record, _ = other.create_token("other", READER, created_by="root")
    other.close()
    assert store.foreign_changes() != before
    assert store.find_token(record.id) == record


def test_threads_share_it(store: AccessStore) -> None:
    made: list[str] = []

    def work() -> None:
        for _ in range(20):
            record, _ = store.create_token("t", READER, created_by="root")
            store.touch_token(record.id)
            store.write_used()
            made.append(store.revoke_token(record.id).id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = store.list_tokens("", 1000)[0]
    assert sorted(record.id for record in found) == sorted(made)
    assert len(made) == 80
    assert all(record.revoked_ns and record.last_used_ns for record in found)


def test_an_unknown_version_and_a_damaged_file_are_refused(tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    AccessStore(newer).close()
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(WrongVersion, match="99"):
        AccessStore(newer)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"no database" * 1000)
    with pytest.raises(Corrupt):
        AccessStore(damaged)
