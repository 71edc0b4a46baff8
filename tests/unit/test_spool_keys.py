"""Spool keys at the leader: kept for their worker, wrapped, over restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from joblog.errors import Conflict, Corrupt, InvalidInput, WrongVersion
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.crypto.wrapped_secret import open_secret, wrap_secret
from joblog.leader.ingest import spool_keys
from joblog.leader.ingest.spool_keys import SpoolKeys, key_id_of
from joblog.v1 import ingest_pb2
from joblog.worker.spool.sealing import SpoolKey

ONE, TWO = b"1" * 32, b"2" * 32


def opened(folder: Path) -> tuple[Store, SpoolKeys, Keyring]:
    store = Store.open(folder / "store")
    keyring = Keyring.open(store, FileKms(folder / "kek.key"), store.store_id)
    times = iter(range(1000, 2000))
    return store, SpoolKeys(store, keyring.store_keys, clock_ns=lambda: next(times)), keyring


def test_keys_are_kept_over_restarts_and_dropped_when_said(tmp_path: Path) -> None:
    store, keys, _ = opened(tmp_path)
    keys.keep("w", ONE)
    keys.keep("w", TWO)
    keys.keep("w", ONE)
    keys.keep("wx", TWO)
    store.close()
    store, keys, _ = opened(tmp_path)
    try:
        assert keys.get("w") == [ingest_pb2.SpoolKey(key=ONE, kept_ns=1000), ingest_pb2.SpoolKey(key=TWO, kept_ns=1001)]
        assert keys.get("nobody") == []
        keys.drop("w", {key_id_of(ONE), b"another1"})
        assert [one.key for one in keys.get("w")] == [TWO]
        assert [one.key for one in keys.get("wx")] == [TWO]
    finally:
        store.close()
    for path in (tmp_path / "store").rglob("*"):
        if path.is_file():
            assert ONE not in path.read_bytes()
            assert TWO not in path.read_bytes()


def test_both_sides_name_a_key_alike() -> None:
    assert key_id_of(ONE).hex() == SpoolKey(ONE).key_id


def test_a_key_is_its_workers_alone(tmp_path: Path) -> None:
    store, keys, keyring = opened(tmp_path)
    try:
        keys.keep("w", ONE)
        record = store.get_key(b"spool/w")
        assert record is not None
        store.put_key(b"spool/thief", record)
        with pytest.raises(Corrupt, match="belongs to somebody else"):
            keys.get("thief")
        wrapped = wrap_secret(keyring.store_keys, b"purpose", b"secret")
        assert open_secret(keyring.store_keys, b"purpose", wrapped) == b"secret"
        with pytest.raises(WrongVersion):
            open_secret(keyring.store_keys, b"purpose", b"\x09" + wrapped[1:])
        with pytest.raises(Corrupt):
            open_secret(keyring.store_keys, b"purpose", wrapped[:30])
    finally:
        store.close()


def test_what_can_not_be_kept_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, keys, _ = opened(tmp_path)
    try:
        for worker_id in ("", "a\nb", "w" * 251):
            with pytest.raises(InvalidInput):
                keys.keep(worker_id, ONE)
        with pytest.raises(InvalidInput, match="31 bytes"):
            keys.keep("w", ONE[1:])
        monkeypatch.setattr(spool_keys, "MAX_KEYS", 1)
        keys.keep("w", ONE)
        with pytest.raises(Conflict):
            keys.keep("w", TWO)
        store.put_key(b"spool/w", b"\xff\xff")
        with pytest.raises(Corrupt):
            keys.get("w")
    finally:
        store.close()
