"""Whom a leader lets in, kept in the archive: sealed, fenced, given to the next leader."""

from __future__ import annotations

import base64
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joblog.errors import Corrupt, NotFound, Unavailable
from joblog.leader.access.admin_token import ensure_admin_token
from joblog.leader.access.authority import CA_FILE, Authority
from joblog.leader.access.roles import Grant
from joblog.leader.access.snapshot import pack_snapshot, restore, take_snapshot, unpack_snapshot
from joblog.leader.access.store import AccessStore
from joblog.leader.archive import failpoints
from joblog.leader.archive.claim import Claim, ClaimLost
from joblog.leader.archive.gc import Collector
from joblog.leader.archive.key_objects import archive_keys
from joblog.leader.archive.layout import ACCESS_KEY
from joblog.leader.archive.state_object import ACCESS, StateWriter, check_state, load_state, state_keys
from joblog.leader.archive.verify import Verifier
from joblog.leader.archived_access import AccessRestorer
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.ingest.spool_keys import SpoolKeys
from joblog.token import Token
from tests.archiving import ArchiveSite, CountedPuts, Killed, kill_at

SPOOL_KEY = bytes(range(32))
HOUR_NS = 3600 * 10**9


class Known:
    """The access folder of a leader."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.store = AccessStore(folder / "access.sqlite3")
        self.authority = Authority.open(folder)
        self.keys = Store.open(folder / "keys")
        keyring = Keyring.open(self.keys, FileKms(folder / "own.key"), self.keys.store_id)
        self.spool_keys = SpoolKeys(self.keys, keyring.store_keys)

    def close(self) -> None:
        self.store.close()
        self.keys.close()

    def admin(self) -> Token:
        ensure_admin_token(self.store, self.folder / "admin.token")
        return Token.parse((self.folder / "admin.token").read_text())

    def restorer(self) -> AccessRestorer:
        return AccessRestorer(self.store, self.authority, self.folder, self.spool_keys)


@pytest.fixture
def known(tmp_path: Path) -> Iterator[Callable[[str], Known]]:
    made: list[Known] = []

    def make(name: str) -> Known:
        made.append(Known(tmp_path / name))
        return made[-1]

    yield make
    failpoints.disarm()
    for one in made:
        one.close()


@pytest.fixture
def objects(tmp_path: Path) -> CountedPuts:
    return CountedPuts(tmp_path / "archive")


@pytest.fixture
def site(tmp_path: Path, objects: CountedPuts) -> Iterator[ArchiveSite]:
    made = ArchiveSite(tmp_path / "one", objects)
    made.context.claim.ensure()
    yield made
    made.close()


def writer(site: ArchiveSite, ready: Callable[[], None] | None = None) -> StateWriter:
    return StateWriter(ACCESS, site.objects, site.leader.keyring, ready or site.context.claim.ensure)


def content_of(known: Known) -> bytes:
    return pack_snapshot(take_snapshot(known.store, known.folder, known.spool_keys.all()))


def test_the_next_leader_knows_who_the_one_before_knew(known: Callable[[str], Known]) -> None:
    one, two = known("a"), known("b")
    admin = one.admin()
    grants = (Grant("writer", ("team-*",)), Grant("reader"))
    good, secret = one.store.create_token("w", grants, created_by="ann", worker_id="w1", lifetime_seconds=60)
    gone, _ = one.store.create_token("gone", grants, created_by="ann")
    expires = time.time_ns() + HOUR_NS
    one.store.add_certificate("aa", "w1", good.id, expires)
    one.store.add_certificate("bb", "w2", admin.id, expires)
    one.store.add_certificate("cc", "w3", gone.id, expires)
    one.store.add_certificate("dd", "w4", good.id, time.time_ns() - 1)
    one.store.revoke_token(gone.id)

    found = unpack_snapshot(content_of(one))
    assert pack_snapshot(found) == content_of(one)
    assert good.id not in repr(found) and "PRIVATE" not in repr(found)
    for _ in range(2):
        restore(two.store, two.authority, two.folder, found)
        assert two.store.find_token(good.id) == good
        there = two.store.find_token(good.id)
        assert there is not None and there.has_secret(secret)
        old, lost = two.store.find_token(gone.id), two.store.find_token(admin.id)
        assert old is not None and old.revoked_ns and lost is not None and lost.revoked_ns
        certificates = {each.serial: bool(each.revoked_ns) for each in two.store.list_certificates()[0]}
        assert certificates == {"aa": False, "bb": True, "cc": True}
        assert two.authority.fingerprint == one.authority.fingerprint == Authority.open(two.folder).fingerprint
        own = two.store.find_token(two.admin().id)
        assert own is not None and own.id != admin.id and not own.revoked_ns


def test_a_ca_that_was_half_replaced_is_replaced_the_next_time(known: Callable[[str], Known]) -> None:
    one, two = known("a"), known("b")
    found = unpack_snapshot(content_of(one))
    (two.folder / CA_FILE).unlink()
    (two.folder / "ca.key").write_bytes(found.ca_key)
    half = Authority.open(two.folder)
    assert half.fingerprint != one.authority.fingerprint
    restore(two.store, half, two.folder, found)
    assert half.pem == Authority.open(two.folder).pem == one.authority.pem


def test_it_opens_with_bucket_and_kms_alone_and_nothing_of_it_is_in_clear(
    site: ArchiveSite, objects: CountedPuts, known: Callable[[str], Known], tmp_path: Path
) -> None:
    one = known("a")
    record, secret = one.store.create_token("secret-name", (Grant("reader"),), created_by="ann")
    content = content_of(one)
    made = writer(site)
    assert not made.is_current(content)
    made.write(content)
    made.write(content)
    assert made.is_current(content)
    keys = archive_keys(objects, FileKms(tmp_path / "one" / "kek.key", create=False))
    assert load_state(ACCESS, objects, keys) == content
    assert [check.problems for check in Verifier(objects, keys).run() if check.key == ACCESS_KEY] == [[]]
    document = objects.get(ACCESS_KEY)
    for clear in (b"secret-name", secret, secret.hex().encode(), b"PRIVATE", b"BEGIN", record.secret_hash):
        assert clear not in document
    # A new store key is for this too.
    site.leader.keyring.store_keys.rotate()
    assert not made.is_current(content)
    made.write(content)
    assert load_state(ACCESS, objects, state_keys(objects, site.leader.keyring)) == content
    assert objects.get(ACCESS_KEY) != document


def test_each_changed_byte_is_found(site: ArchiveSite, objects: CountedPuts, known: Callable[[str], Known]) -> None:
    writer(site).write(content_of(known("a")))
    document = objects.get(ACCESS_KEY)
    keys = state_keys(objects, site.leader.keyring)
    content = load_state(ACCESS, objects, keys)
    step = 37
    for at in range(0, len(document), step):
        objects.delete([ACCESS_KEY])
        objects.put(ACCESS_KEY, document[:at] + bytes([document[at] ^ 1]) + document[at + 1 :])
        problems = check_state(ACCESS, objects, state_keys(objects, site.leader.keyring))
        # Times and names of the KMS are for people, blanks are nothing.
        assert problems or load_state(ACCESS, objects, keys) == content
        restorer = known(f"b{at}").restorer()
        assert restorer.restore(objects, state_keys(objects, site.leader.keyring)) == (not problems)
    objects.delete([ACCESS_KEY])
    assert load_state(ACCESS, objects, keys) is None
    with pytest.raises(NotFound):
        check_state(ACCESS, objects, keys)


def test_gc_leaves_it_alone(site: ArchiveSite, objects: CountedPuts, known: Callable[[str], Known]) -> None:
    writer(site).write(content_of(known("a")))
    assert not list(Collector(objects, site.store, min_age_seconds=-60).find())


def test_a_leader_that_was_taken_over_from_writes_it_no_more(
    site: ArchiveSite, objects: CountedPuts, known: Callable[[str], Known], tmp_path: Path
) -> None:
    one, two = known("a"), known("b")
    late = writer(site)
    late.write(content_of(one))
    other = ArchiveSite(tmp_path / "two", objects)

    def taken_over() -> None:
        failpoints.disarm()
        other.context.claim.take(force=True)
        writer(other).write(content_of(two))

    failpoints.arm("access.ready", taken_over)
    one.store.create_token("late", (Grant("reader"),), created_by="ann")
    with pytest.raises(ClaimLost):
        late.write(content_of(one))
    assert load_state(ACCESS, objects, state_keys(objects, other.leader.keyring)) == content_of(two)
    other.close()


@pytest.mark.parametrize("step", failpoints.ACCESS_STEPS)
def test_a_leader_killed_while_it_writes_writes_again(
    step: str, site: ArchiveSite, objects: CountedPuts, known: Callable[[str], Known]
) -> None:
    one = known("a")
    kill_at(step)
    with pytest.raises(Killed):
        writer(site).write(content_of(one))
    failpoints.disarm()
    one.store.create_token("more", (Grant("reader"),), created_by="ann")
    again = writer(site, Claim(objects, site.store.store_id).ensure)
    again.write(content_of(one))
    assert load_state(ACCESS, objects, state_keys(objects, site.leader.keyring)) == content_of(one)


async def test_what_changes_is_written_and_an_outage_is_told(
    site: ArchiveSite, objects: CountedPuts, known: Callable[[str], Known]
) -> None:
    one = known("a")
    is_out = True

    def ready() -> None:
        if is_out:
            raise Unavailable("nobody answers")
        site.context.claim.ensure()

    keeper = one.restorer().keeper(writer(site, ready))
    await keeper.drain(1.0)
    assert keeper.warnings() == ["archive: tokens and certificates are not kept there: nobody answers"]
    is_out = False
    await keeper.drain(1.0)
    assert not keeper.warnings()
    one.store.create_token("more", (Grant("reader"),), created_by="ann")
    await keeper.drain(1.0)
    assert load_state(ACCESS, objects, state_keys(objects, site.leader.keyring)) == content_of(one)
    one.store.touch_token(one.store.list_tokens()[0][0].id)
    one.store.write_used()
    await keeper.drain(1.0)
    assert sum(key == ACCESS_KEY for key, _ in objects.puts) == 2
    one.spool_keys.keep("w1", SPOOL_KEY)
    await keeper.drain(1.0)
    assert load_state(ACCESS, objects, state_keys(objects, site.leader.keyring)) == content_of(one)
    assert SPOOL_KEY.hex().encode() in zlib.decompress(content_of(one))


def test_spool_keys_go_on_to_the_next_leader(
    site: ArchiveSite, objects: CountedPuts, known: Callable[[str], Known]
) -> None:
    one, two = known("a"), known("b")
    one.store.create_token("w", (Grant("writer"),), created_by="ann")
    one.spool_keys.keep("w1", SPOOL_KEY, kept_ns=123)
    one.spool_keys.keep("w2", SPOOL_KEY[::-1], kept_ns=124)
    # A damaged record is that worker's loss alone.
    one.keys.put_key(b"spool/w3", b"\xff\xff")
    writer(site).write(content_of(one))
    document = objects.get(ACCESS_KEY)
    assert not any(form in document for form in (SPOOL_KEY, SPOOL_KEY.hex().encode(), base64.b64encode(SPOOL_KEY)))
    for _ in range(2):
        assert two.restorer().restore(objects, state_keys(objects, site.leader.keyring))
        (kept,) = two.spool_keys.get("w1")
        assert (kept.key, kept.kept_ns) == (SPOOL_KEY, 123)
        assert [one.key for one in two.spool_keys.get("w2")] == [SPOOL_KEY[::-1]]
    assert SPOOL_KEY.hex() not in repr(two.spool_keys.all())


def test_a_leader_that_has_the_archive_and_lost_who_it_knew_gets_it_back(
    site: ArchiveSite, objects: CountedPuts, known: Callable[[str], Known], tmp_path: Path
) -> None:
    one, two, three = known("a"), known("b"), known("c")
    one.store.create_token("w", (Grant("writer"),), created_by="ann")
    writer(site).write(content_of(one))
    keys = state_keys(objects, site.leader.keyring)
    three.restorer().restore_own(objects, keys, "another store")
    assert three.restorer().is_needed
    two.restorer().restore_own(objects, keys, site.store.store_id)
    assert [token.name for token in two.store.list_tokens()[0]] == ["w"]
    assert not two.restorer().is_needed


def test_what_is_cut_short_or_none_of_ours_is_refused() -> None:
    for data in (b"", b"x", pack_snapshot(unpack_snapshot(_empty()))[:-1]):
        with pytest.raises(Corrupt):
            unpack_snapshot(data)


def _empty() -> bytes:
    return zlib.compress(b'{"ca": "", "ca_key": "", "tokens": [], "certificates": []}')
