"""Store keys: opened once, made when they are due, wrapped anew at any time and after any interruption."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from joblog.errors import Corrupt, Denied, Unavailable, WrongVersion
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.crypto.known_kms import KnownKms
from joblog.leader.crypto.store_key_record import StoreKeyRecord, unpack_record
from joblog.leader.crypto.store_keys import StoreKeys


class Records(dict[bytes, bytes]):
    """A place for the keyring's records in memory. left: puts until the process is killed."""

    get_key = dict.get
    left = 10**9

    def put_key(self, name: bytes, value: bytes) -> None:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self[name] = value

    def key_names(self, prefix: bytes) -> list[bytes]:
        return sorted(name for name in self if name.startswith(prefix))


class CountedKms(FileKms):
    """Counts what it is asked. away: it can't be reached."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.calls: list[str] = []
        self.away = False

    def _asked(self, what: str) -> None:
        self.calls.append(what)
        if self.away:
            raise Unavailable("the KMS does not answer")

    def wrap(self, plain: bytes, context: Mapping[str, str]) -> bytes:
        self._asked("wrap")
        return super().wrap(plain, context)

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        self._asked("unwrap")
        return super().unwrap(wrapped, context)


@pytest.fixture
def kms(tmp_path: Path) -> CountedKms:
    return CountedKms(tmp_path / "kek.key")


def keys_of(records: Records, kms: FileKms, *former: FileKms, clock: Callable[[], float] = lambda: 0.0) -> StoreKeys:
    return StoreKeys(records, KnownKms(kms, former), "s", clock=clock)


def is_of(kms: FileKms) -> Callable[[StoreKeyRecord], bool]:
    return lambda record: record.key_id == kms.key_id


def test_old_keys_stay_readable_and_the_kms_is_asked_once_for_each(kms: CountedKms) -> None:
    records = Records()
    keyring = Keyring(keys_of(records, kms))
    wrapped = {}
    for _ in range(3):
        for _ in range(10):
            uid = os.urandom(16)
            dek, packed = keyring.new_dek(uid)
            wrapped[uid] = dek, packed
        keyring.store_keys.rotate()
    assert kms.calls == ["wrap"] * 4
    kms.calls.clear()
    keyring = Keyring(keys_of(records, kms))
    assert not kms.calls, "nothing is asked before something is needed"
    keyring.new_dek(os.urandom(16))
    assert kms.calls == ["unwrap"]
    barrier = threading.Barrier(8)

    def read_all() -> None:
        barrier.wait()
        for uid, (dek, packed) in wrapped.items():
            assert keyring.open_dek(uid, packed) == dek

    threads = [threading.Thread(target=read_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kms.calls == ["unwrap"] * 4


def test_while_the_kms_is_away_what_is_open_goes_on(kms: CountedKms) -> None:
    records = Records()
    keyring = Keyring(keys_of(records, kms))
    uid = os.urandom(16)
    _, old = keyring.new_dek(uid)
    keyring.store_keys.rotate()
    now = [0.0]
    keyring = Keyring(keys_of(records, kms, clock=lambda: now[0]))
    keyring.new_dek(uid)
    kms.away = True
    kms.calls.clear()
    with pytest.raises(Unavailable, match="does not answer"):
        keyring.store_keys.rotate()
    keyring.new_dek(uid)
    for _ in range(100):
        with pytest.raises(Unavailable, match="does not answer"):
            keyring.open_dek(uid, old)
    assert kms.calls == ["wrap", "unwrap"], "it is not asked by everybody while it is away"
    kms.away = False
    now[0] = 5.0
    assert keyring.open_dek(uid, old)


def test_a_move_that_is_killed_anywhere_goes_on(tmp_path: Path, kms: CountedKms) -> None:
    """The store opens with both KMSes at hand after each of its writes, and with the new one alone in the end."""
    new = FileKms(tmp_path / "new.key")
    before = Records()
    keyring = Keyring(keys_of(before, kms))
    logs = {}
    for _ in range(3):
        uid = os.urandom(16)
        logs[uid] = keyring.new_dek(uid)
        keyring.store_keys.rotate()
    kills = 0
    for left in range(20):
        records = Records(before)
        keys = keys_of(records, kms)
        records.left = left
        try:
            keys.switch(new, lambda: None)
            done = list(keys.rewrap(is_of(new)))
        except KeyboardInterrupt:
            kills += 1
            records.left = 10**9
            half = Keyring(keys_of(records, new, kms))
            assert all(half.open_dek(uid, packed) == dek for uid, (dek, packed) in logs.items())
            done = list(keys_of(records, new, kms).rewrap(is_of(new)))
        assert len(done) == 4
        alone = Keyring(keys_of(records, new))
        assert all(alone.open_dek(uid, packed) == dek for uid, (dek, packed) in logs.items())
        assert {key.record.generation for key in alone.store_keys.all()} == {1}
        if left >= kills + 1:
            break
    assert kills == 4


def test_new_versions_of_the_kek_wrap_the_same_keys(kms: CountedKms) -> None:
    records = Records()
    keyring = Keyring(keys_of(records, kms))
    uid = os.urandom(16)
    dek, packed = keyring.new_dek(uid)
    old = keyring.store_keys.all()[0].record.kek_version
    version = kms.rotate()
    keyring.store_keys.rotate()
    assert keyring.open_dek(uid, packed) == dek
    assert {key.record.kek_version for key in keyring.store_keys.all()} == {old, version}
    list(keyring.store_keys.rewrap(lambda record: record.kek_version == version))
    assert {key.record.kek_version for key in keyring.store_keys.all()} == {version}
    again = Keyring(keys_of(records, FileKms(kms.path)))
    assert again.open_dek(uid, packed) == dek


def test_a_kms_that_gives_back_other_bytes_changes_nothing(tmp_path: Path, kms: CountedKms) -> None:
    class Liar(FileKms):
        def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
            return bytes(32)

    records = Records()
    keys = keys_of(records, kms)
    keys.current()
    before = dict(records)
    keys.switch(Liar(tmp_path / "liar.key"), lambda: None)
    with pytest.raises(Corrupt, match="other bytes"):
        list(keys.rewrap(lambda record: False))
    assert records == before


def test_a_key_from_elsewhere_is_wrapped_by_the_own_kms(tmp_path: Path, kms: CountedKms) -> None:
    theirs = FileKms(tmp_path / "theirs.key")
    other = StoreKeys(Records(), KnownKms(theirs), "other")
    key_id, _ = other.current()
    described = other.describe(key_id)
    mine = keys_of(Records(), kms)
    mine.current()
    with pytest.raises(Denied, match="was wrapped by KMS"):
        mine.adopt(described)
    both = keys_of(Records(), kms, theirs)
    both.current()
    assert both.adopt(described)
    assert not both.adopt(described)
    adopted = next(key for key in both.all() if key.adopted)
    assert (adopted.key_id, adopted.store_id, adopted.record.key_id) == (key_id, "other", kms.key_id)


def test_records_of_both_versions(kms: CountedKms) -> None:
    record = StoreKeyRecord("kind", "key " * 100, b"wrapped", "7", 3, 5, 6)
    packed = record.pack()
    assert unpack_record(packed) == record
    first = b"\1\x04kind\x02id" + b"wrapped"
    assert unpack_record(first) == StoreKeyRecord("kind", "id", b"wrapped")
    for cut in range(len(packed) - len(b"wrapped")):
        with pytest.raises(Corrupt):
            unpack_record(packed[: cut + 1] if cut else b"")
    with pytest.raises(WrongVersion, match="version 3"):
        unpack_record(b"\3" + packed[1:])
    with pytest.raises(Corrupt, match="no text"):
        unpack_record(b"\1\x01\xff\x02idwrapped")
