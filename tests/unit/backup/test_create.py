"""Backups hold one moment, send what is new alone, and come back as they were."""

from __future__ import annotations

import os
from pathlib import Path

from joblog.batch import STDOUT
from joblog.identity import LogName
from joblog.leader.access.roles import Grant
from joblog.leader.access.store import AccessStore
from joblog.leader.archive.objects import walk
from joblog.paths import DataFolder
from tests.backing_up import BackedUpLeader, contents, model_of, opened, restore
from tests.stored_log import fill


def sizes(leader: BackedUpLeader) -> dict[str, int]:
    return {info.key: info.size for info in walk(leader.target, "pieces/")}


def test_what_was_backed_up_comes_back_on_another_machine(leader: BackedUpLeader, tmp_path: Path) -> None:
    done, live = leader.log(LogName("a", "r", "t", 1)), leader.log(LogName("a", "r", "u", 1))
    fill(done, [os.urandom(70_000) for _ in range(20)])
    done.complete()
    fill(live, [b"so far\n"])
    before = model_of(done, live)
    summary = leader.backup()
    fill(live, [b"after the backup\n"])
    leader.log(LogName("a", "later", "t", 1))

    restored = restore(opened(leader.target, leader.source.path), "latest", tmp_path / "new", leader.source.path)

    assert contents(tmp_path / "new", leader.source.path) == before
    assert (restored.aside, restored.warnings) == ([], [])
    assert summary.store_id == leader.store.store_id
    assert not list((tmp_path / "new/leader").glob(".restoring-*"))
    assert not list((tmp_path / "data/leader").glob(".backup-*"))


def test_who_may_come_in_comes_back(leader: BackedUpLeader, tmp_path: Path) -> None:
    token, _ = leader.access.create_token("ci", (Grant("writer"),), created_by="somebody")
    gone, _ = leader.access.create_token("gone", (Grant("writer"),), created_by="somebody")
    leader.access.revoke_token(gone.id)
    leader.backup()
    restore(leader.repository, "latest", tmp_path / "new", leader.source.path)
    folder = DataFolder(tmp_path / "new")
    store = AccessStore(folder.access_store)
    try:
        found = store.find_token(token.id)
        assert found is not None and found.secret_hash == token.secret_hash and not found.revoked_ns
        revoked = store.find_token(gone.id)
        assert revoked is not None and revoked.revoked_ns
        own = [one for one in store.list_tokens()[0] if one.created_by == "leader"]
        # Its text lay on the disk that is gone.
        assert own and all(one.revoked_ns for one in own)
    finally:
        store.close()
    assert (folder.access / "ca.pem").read_bytes() == (leader.folder.access / "ca.pem").read_bytes()


def test_a_second_backup_sends_next_to_nothing(leader: BackedUpLeader) -> None:
    log = leader.log()
    fill(log, [os.urandom(100_000) for _ in range(40)])
    first = leader.backup()
    before = sizes(leader)
    second = leader.backup()
    assert first.sent_bytes > 4_000_000
    assert second.sent_bytes < 50_000
    assert second.bytes >= first.bytes - 1000
    assert sum(sizes(leader).values()) - sum(before.values()) == second.sent_bytes


def test_only_new_bytes_are_sent(leader: BackedUpLeader) -> None:
    log = leader.log()
    fill(log, [os.urandom(100_000) for _ in range(40)])
    leader.backup()
    fill(log, [os.urandom(100_000) for _ in range(3)])
    assert 300_000 < leader.backup().sent_bytes < 400_000


def test_content_is_known_again_where_files_are_not(leader: BackedUpLeader, tmp_path: Path) -> None:
    """After a restore inodes and times are other ones: files are read, and nothing is sent."""
    fill(leader.log(), [os.urandom(100_000) for _ in range(20)])
    leader.backup()
    leader.close()
    os.rename(tmp_path / "data", tmp_path / "old")
    kek = tmp_path / "old/leader/kek.key"
    restore(opened(leader.target, kek), "latest", tmp_path / "data2", kek)
    (tmp_path / "data2/leader/kek.key").write_bytes(kek.read_bytes())
    (tmp_path / "data2/leader/kek.key").chmod(0o600)
    again = BackedUpLeader(tmp_path / "data2", leader.target)
    try:
        assert again.store.store_id == leader.store.store_id
        assert again.backup().sent_bytes < 100_000
    finally:
        again.close()


def test_nothing_in_the_target_is_in_clear(leader: BackedUpLeader) -> None:
    secret = b"a line that nobody else may read\n"
    log = leader.log(LogName("secret-space", "secret-run", "secret-task", 1))
    log.append((STDOUT, secret))
    leader.access.create_token("secret-name", (Grant("writer"),), created_by="somebody")
    leader.backup()
    leader.backup()
    words = [secret, b"secret-space", b"secret-run", b"secret-name", b"BEGIN", b".sst", b"MANIFEST", b"store/"]
    seen = 0
    for info in walk(leader.target, ""):
        data = leader.target.get(info.key)
        seen += len(data)
        for word in words:
            assert word not in data, info.key
            assert word not in info.key.encode()
    assert seen > 1000
