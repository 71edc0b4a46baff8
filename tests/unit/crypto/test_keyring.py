from __future__ import annotations

import os
from pathlib import Path

import pytest

from joblog.errors import Corrupt, Denied, WrongVersion
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.crypto.passphrase_kms import PassphraseKms, ScryptParams

CHEAP = ScryptParams(log_n=4)


class Records(dict[bytes, bytes]):
    """A place for the keyring's records in memory."""

    get_key = dict.get

    def put_key(self, name: bytes, value: bytes) -> None:
        self[name] = value

    def key_names(self, prefix: bytes) -> list[bytes]:
        return sorted(name for name in self if name.startswith(prefix))


@pytest.fixture
def kms(tmp_path: Path) -> FileKms:
    return FileKms(tmp_path / "kek.key")


def test_deks_open_again_after_a_restart(tmp_path: Path, kms: FileKms) -> None:
    store = Store.open(tmp_path / "store")
    uid = os.urandom(16)
    dek, wrapped = Keyring.open(store, kms, store.store_id).new_dek(uid)
    assert dek not in wrapped
    store.close()
    store = Store.open(tmp_path / "store")
    assert Keyring.open(store, FileKms(kms.path), store.store_id).open_dek(uid, wrapped) == dek
    store.close()


def test_a_dek_opens_for_its_own_log_only(kms: FileKms) -> None:
    keyring = Keyring.open(Records(), kms, "s")
    _, wrapped = keyring.new_dek(b"a" * 16)
    assert len(wrapped) == 77
    with pytest.raises(Corrupt, match="another log's"):
        keyring.open_dek(b"b" * 16, wrapped)
    for damaged in (wrapped[:-1], wrapped + b"x", b"", wrapped[:-1] + bytes([wrapped[-1] ^ 1])):
        with pytest.raises(Corrupt):
            keyring.open_dek(b"a" * 16, damaged)
    with pytest.raises(WrongVersion, match="version 2"):
        keyring.open_dek(b"a" * 16, b"\2" + wrapped[1:])
    with pytest.raises(Corrupt, match="is missing"):
        keyring.open_dek(b"a" * 16, wrapped[:1] + bytes(16) + wrapped[17:])


def test_another_key_file_is_denied(tmp_path: Path, kms: FileKms) -> None:
    records = Records()
    Keyring.open(records, kms, "s")
    other = FileKms(tmp_path / "other.key")
    with pytest.raises(Denied, match=f"{kms.key_id}.*{other.key_id}.*give the key file or passphrase"):
        Keyring.open(records, other, "s")
    with pytest.raises(Denied, match="passphrase"):
        Keyring.open(records, PassphraseKms("a long passphrase", CHEAP), "s")


def test_a_wrong_passphrase_is_denied() -> None:
    records = Records()
    Keyring.open(records, PassphraseKms("a long passphrase", CHEAP), "s")
    with pytest.raises(Denied, match="check it"):
        Keyring.open(records, PassphraseKms("another passphrase", CHEAP), "s")
    Keyring.open(records, PassphraseKms("a long passphrase", CHEAP), "s")


def test_the_store_key_of_another_store_does_not_open(kms: FileKms) -> None:
    records = Records()
    Keyring.open(records, kms, "s")
    with pytest.raises(Corrupt, match="another store"):
        Keyring.open(records, kms, "t")


def test_damaged_records_are_refused(kms: FileKms) -> None:
    records = Records()
    Keyring.open(records, kms, "s")
    name = next(name for name in records if name != b"current")
    good = records[name]
    for damaged in (good[:3], good[:-1], b"\1"):
        records[name] = damaged
        with pytest.raises(Corrupt):
            Keyring.open(records, kms, "s")
    records[name] = b"\7" + good[1:]
    with pytest.raises(WrongVersion):
        Keyring.open(records, kms, "s")
