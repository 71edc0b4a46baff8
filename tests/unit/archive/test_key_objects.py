"""Store keys in the archive: what opens its logs when the KEK that they were written under is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.errors import Corrupt, Denied, WrongVersion
from joblog.leader.archive import failpoints
from joblog.leader.archive.cat import LogParts, find_log, open_log
from joblog.leader.archive.gc import Collector
from joblog.leader.archive.key_objects import (
    KeyObjects,
    archive_keys,
    load_store_keys,
    pack_store_key,
    parse_store_key,
)
from joblog.leader.archive.layout import log_prefix, parse_log_key, parse_store_key_key, store_key_key
from joblog.leader.archive.rebuild import Rebuild
from joblog.leader.archive.verify import Verifier
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.crypto.known_kms import KnownKms
from joblog.leader.crypto.store_key_record import unpack_record
from tests.archiving import ArchiveSite, CountedPuts, Killed, kill_at
from tests.stored_log import NAME, StoredLog, fill


@pytest.fixture
def objects(tmp_path: Path) -> CountedPuts:
    return CountedPuts(tmp_path / "archive")


@pytest.fixture
def site(tmp_path: Path, objects: CountedPuts) -> Iterator[ArchiveSite]:
    folder = tmp_path / "one"
    folder.mkdir()
    made = ArchiveSite(folder, objects)
    yield made
    made.close()


@pytest.fixture
def copies(site: ArchiveSite) -> KeyObjects:
    site.context.claim.ensure()
    return KeyObjects(site.leader.keyring.store_keys, site.context.putter)


@pytest.fixture
def old(tmp_path: Path, site: ArchiveSite) -> FileKms:
    return FileKms(tmp_path / "one" / "kek.key", create=False)


@pytest.fixture
def new(tmp_path: Path) -> FileKms:
    return FileKms(tmp_path / "new.key")


def sealed_and_live(site: ArchiveSite) -> list[StoredLog]:
    logs = [site.leader.log(NAME), site.leader.log(NAME._replace(task="live"))]
    for log in logs:
        fill(log, [b"some bytes\n", os.urandom(1000)])
    site.flush(everything=True)
    logs[0].complete()
    site.seal()
    return logs


def move(site: ArchiveSite, kms: FileKms) -> None:
    keys = site.leader.keyring.store_keys
    keys.switch(kms, lambda: None)
    done = list(keys.rewrap(lambda record: keys.kms.is_present(record.kms, record.key_id)))
    assert {key.record.key_id for key in done} == {kms.key_id}


def cat(objects: CountedPuts, log: StoredLog, kms: FileKms, *former: FileKms) -> bytes:
    found = find_log(objects, NAME._replace(task=log.record.id.task))
    keys = archive_keys(objects, KnownKms(kms, former))
    with LogParts(objects, open_log(keys, found.metadata), found) as parts:
        return b"".join(part.data for part in parts.parts())


def test_the_archive_outlives_the_kek_that_its_logs_were_written_under(
    tmp_path: Path, site: ArchiveSite, copies: KeyObjects, old: FileKms, new: FileKms
) -> None:
    logs = sealed_and_live(site)
    objects = CountedPuts(tmp_path / "archive")
    assert copies.behind()
    assert copies.write() == 1
    assert not copies.behind()
    assert copies.write() == 0
    for log in logs:
        assert cat(objects, log, old) == log.model.present(0, log.length, None)
        with pytest.raises(Denied):
            cat(objects, log, new)
    move(site, new)
    assert copies.behind()
    assert copies.write() == 1
    old.path.unlink()
    for log in logs:
        assert cat(objects, log, new) == log.model.present(0, log.length, None)
    assert not [one for one in Verifier(objects, new).run() if one.problems]
    root = tmp_path / "archive"
    place = root / log_prefix(NAME)
    read: list[str | Path] = [
        sys.executable,
        "-I",
        "tests/plain_reader.py",
        place / "log.joblog",
        new.path,
        place / "metadata.json",
    ]
    ran = subprocess.run([*read, *root.glob("_keys/*.json")], capture_output=True, check=True, timeout=60)
    assert ran.stdout == logs[0].model.present(0, logs[0].length, None)
    # What can be seen and done in the archive leaves them alone.
    assert not list(Collector(objects, site.store, min_age_seconds=0).find())
    with_store = Store.open(tmp_path / "two")
    keyring = Keyring.open(with_store, new, with_store.store_id)
    rebuilt = Rebuild(with_store, keyring, objects).run()
    assert (rebuilt.sealed, rebuilt.live, rebuilt.problems) == (1, 1, [])
    number = with_store.find_log(NAME)
    wrapped = None if number is None else with_store.get_dek(number)
    assert wrapped is not None
    again = Keyring(Keyring.open(with_store, new, with_store.store_id).store_keys)
    assert again.open_dek(logs[0].record.uid, wrapped)
    with_store.close()


def test_until_the_copy_is_there_the_old_kek_is_needed_and_works(
    site: ArchiveSite, objects: CountedPuts, copies: KeyObjects, old: FileKms, new: FileKms
) -> None:
    log = sealed_and_live(site)[0]
    move(site, new)
    assert not load_store_keys(objects)
    assert cat(objects, log, old) == log.model.present(0, log.length, None)
    copies.write()
    # A leader's archive in the middle of a move: both are at hand.
    assert cat(objects, log, old, new) == log.model.present(0, log.length, None)
    # The old one alone still opens the copy beside the log, as long as it exists.
    assert cat(objects, log, old) == log.model.present(0, log.length, None)


@pytest.mark.parametrize("step", failpoints.KEY_STEPS)
def test_a_leader_killed_while_it_writes_copies_goes_on(
    site: ArchiveSite, objects: CountedPuts, copies: KeyObjects, new: FileKms, step: str
) -> None:
    log = sealed_and_live(site)[0]
    copies.write()
    move(site, new)
    kill_at(step)
    with pytest.raises(Killed):
        copies.write()
    later = KeyObjects(site.leader.keyring.store_keys, site.context.putter)
    assert later.behind()
    assert later.write() == (1 if step == "store_key.found" else 0)
    assert cat(objects, log, new) == log.model.present(0, log.length, None)


def test_a_store_from_before_the_move_takes_the_newer_copy(
    site: ArchiveSite, objects: CountedPuts, copies: KeyObjects, old: FileKms, new: FileKms
) -> None:
    log = sealed_and_live(site)[0]
    keys = site.leader.keyring.store_keys
    name = b"store/" + keys.all()[0].key_id
    before = site.store.get_key(name)
    assert before is not None
    move(site, new)
    copies.write()
    site.store.put_key(name, before)
    later = KeyObjects(keys, site.context.putter)
    assert later.write() == 0
    assert unpack_record(keys.all()[0].record.pack()).key_id == new.key_id
    assert cat(objects, log, new) == log.model.present(0, log.length, None)


def test_a_damaged_copy_is_told_passed_over_and_written_again(
    site: ArchiveSite, objects: CountedPuts, copies: KeyObjects, old: FileKms, caplog: pytest.LogCaptureFixture
) -> None:
    log = sealed_and_live(site)[0]
    copies.write()
    at = store_key_key(site.leader.keyring.store_keys.all()[0].key_id)
    good = objects.get(at)
    objects.put(at, good.replace(b'"store_id": "', b'"store_id": "0'))
    problems = {one.key: one.problems for one in Verifier(objects, old).run() if one.problems}
    assert list(problems) == [at]
    assert cat(objects, log, old) == log.model.present(0, log.length, None)
    objects.put(at, b"{}")
    assert cat(objects, log, old) == log.model.present(0, log.length, None)
    assert "is used" in caplog.text
    assert KeyObjects(site.leader.keyring.store_keys, site.context.putter).write() == 1
    assert objects.get(at) == good


def test_the_document(site: ArchiveSite, objects: CountedPuts) -> None:
    key = site.leader.keyring.store_keys.describe(site.leader.keyring.store_keys.all()[0].key_id)
    packed = pack_store_key(key)
    assert parse_store_key(packed, "it") == key
    at = store_key_key(key.key_id)
    assert parse_store_key_key(at) == key.key_id
    assert parse_store_key_key(at + "x") is None
    # A namespace of that name lies elsewhere.
    assert log_prefix(NAME._replace(namespace="_keys")).startswith("!_keys/")
    assert parse_log_key("_keys/a/b/1/log.joblog") is None
    said = json.loads(packed)
    for field, wrong, error in (
        ("version", 2, WrongVersion),
        ("kms", "other", Corrupt),
        ("format", "other", Corrupt),
        ("record", "AAAA", WrongVersion),
        ("store_key_id", "00", Corrupt),
    ):
        with pytest.raises(error):
            parse_store_key(json.dumps(said | {field: wrong}).encode(), "it")
