"""metadata.json: what is written is read again, and nothing else is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from joblog.errors import Corrupt, Denied, InvalidInput, WrongVersion
from joblog.leader.archive.container import KIND_SEALED, Footer
from joblog.leader.archive.metadata import Metadata, SealedObject, pack_metadata, parse_metadata, vouched_cipher
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring, open_described
from joblog.v1 import types_pb2
from joblog.v1.types_pb2 import Event, LogRecord

Document = dict[str, Any]
FIRST_TIME_NS = 1_700_000_000_123_456_789


class Records(dict[bytes, bytes]):
    """A keyring's records, in memory."""

    def get_key(self, name: bytes) -> bytes | None:
        return self.get(name)

    def put_key(self, name: bytes, value: bytes) -> None:
        self[name] = value

    def key_names(self, prefix: bytes) -> list[bytes]:
        return sorted(name for name in self if name.startswith(prefix))


@pytest.fixture
def kms(tmp_path: Path) -> FileKms:
    return FileKms(tmp_path / "kek.key")


@pytest.fixture
def metadata(kms: FileKms) -> Metadata:
    keyring = Keyring.open(Records(), kms, "ab" * 16)
    uid = os.urandom(16)
    dek, wrapped = keyring.new_dek(uid)
    record = LogRecord(
        id=types_pb2.LogId(namespace="default", run="r", task="@run", attempt=3),
        uid=uid,
        state=types_pb2.LOG_STATE_COMPLETED,
        created_ns=FIRST_TIME_NS,
        completed_ns=FIRST_TIME_NS + 7,
        last_append_ns=FIRST_TIME_NS + 5,
        next_offset=2**63,
        newlines=12,
        start=types_pb2.TaskStart(
            command=["make", "ünï\n"],
            host="h",
            cwd="/",
            started_ns=FIRST_TIME_NS,
            labels={"commit": "abc"},
            worker_id="w",
        ),
        outcome=types_pb2.Outcome(
            kind=types_pb2.OUTCOME_KIND_SIGNALED,
            exit_code=-1,
            signal=9,
            oom_killed=True,
            started_ns=FIRST_TIME_NS,
            ended_ns=FIRST_TIME_NS + 1_500_000_000,
            cpu_seconds=0.25,
            peak_memory_bytes=2**40,
            message="killed",
        ),
        seal=types_pb2.Seal(
            length=2**63,
            sha256=os.urandom(32),
            newlines=12,
            gaps=[types_pb2.Gap(offset=5, length=6, reason=types_pb2.GAP_REASON_LOST, newlines=2)],
        ),
    )
    return Metadata(
        record,
        [Event(offset=3, time_ns=FIRST_TIME_NS, kind="worker_lost", message="away")],
        keyring.describe(wrapped),
        LogCipher(dek, uid).seal_writer(b"w" * 16),
        SealedObject(Footer(KIND_SEALED, 1, 5, 1000, 50, os.urandom(32)), os.urandom(32)),
    )


def stamp(digest: bytes) -> bytes:
    return digest[:12]


def said(metadata: Metadata) -> Metadata:
    return metadata._replace(digest=b"", vouched=b"")


def test_what_is_written_is_read_again(metadata: Metadata) -> None:
    packed = pack_metadata(metadata, stamp)
    found = parse_metadata(packed)
    assert said(found) == metadata
    assert pack_metadata(found, stamp) == packed
    document = json.loads(packed)
    assert document["created_at"] == "2023-11-14T22:13:20.123456789Z"
    assert document["duration_seconds"] == 1.5


def test_a_live_log_has_neither_outcome_nor_seal(metadata: Metadata) -> None:
    record = LogRecord(
        id=metadata.record.id, uid=metadata.record.uid, state=types_pb2.LOG_STATE_LIVE, created_ns=FIRST_TIME_NS
    )
    live = metadata._replace(record=record, sealed=None, events=[])
    found = parse_metadata(pack_metadata(live, stamp))
    assert said(found) == live
    assert not found.record.HasField("outcome")


def test_the_kms_alone_opens_the_key(metadata: Metadata, kms: FileKms, tmp_path: Path) -> None:
    found = parse_metadata(pack_metadata(metadata, stamp))
    uid = found.record.uid
    dek = open_described(kms, uid, found.dek)
    assert LogCipher(dek, uid).open_writer(found.writer) == b"w" * 16
    with pytest.raises(Denied):
        open_described(FileKms(tmp_path / "other.key"), uid, found.dek)
    with pytest.raises(Corrupt):
        open_described(kms, os.urandom(16), found.dek)
    with pytest.raises(Corrupt):
        open_described(kms, uid, found.dek._replace(store_id="cd" * 16))
    with pytest.raises(Corrupt):
        LogCipher(dek, os.urandom(16)).open_writer(found.writer)


def test_another_store_adopts_the_key(metadata: Metadata, kms: FileKms) -> None:
    records = Records()
    keyring = Keyring.open(records, kms, "cd" * 16)
    uid = metadata.record.uid
    with pytest.raises(Corrupt, match="missing"):
        keyring.open_dek(uid, metadata.dek.dek)
    keyring.adopt(metadata.dek)
    keyring.adopt(metadata.dek)
    again = Keyring.open(records, kms, "cd" * 16)
    assert again.open_dek(uid, metadata.dek.dek) == open_described(kms, uid, metadata.dek)
    assert again.describe(metadata.dek.dek) == metadata.dek
    with pytest.raises(Corrupt):
        keyring.adopt(metadata.dek._replace(store_id="ef" * 16))


def changed(metadata: Metadata, change: Callable[[Document], object]) -> bytes:
    document = json.loads(pack_metadata(metadata, stamp))
    change(document)
    return json.dumps(document, indent=1).encode() + b"\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("uid"),
        lambda d: d.update(more=1),
        lambda d: d.update(format="other"),
        lambda d: d.update(namespace="../x"),
        lambda d: d.update(run="a/b"),
        lambda d: d.update(attempt=0),
        lambda d: d.update(attempt=True),
        lambda d: d.update(attempt="3"),
        lambda d: d.update(attempt=2**31),
        lambda d: d.update(uid="AB" * 16),
        lambda d: d.update(uid="ab" * 15),
        lambda d: d.update(state="sealed"),
        lambda d: d.update(length=-1),
        lambda d: d.update(length=2**64),
        lambda d: d.update(length=1.0),
        lambda d: d.update(created_at="2023-11-14T22:13:20Z"),
        lambda d: d.update(created_at="2023-02-30T22:13:20.000000000Z"),
        lambda d: d.update(created_at="9999-01-01T00:00:00.000000000Z"),
        lambda d: d.update(duration_seconds=-1),
        lambda d: d.update(duration_seconds=None),
        lambda d: d.update(seal=None),
        lambda d: d.update(events={}),
        lambda d: d.update(events=[1]),
        lambda d: d.update(start=[]),
        lambda d: d["start"].update(command="ls"),
        lambda d: d["start"].update(command=[1]),
        lambda d: d["start"].update(labels={"a\0b": "c"}),
        lambda d: d["start"].update(labels={"a": 1}),
        lambda d: d["start"].update(labels=[]),
        lambda d: d["start"].update(host="\ud800"),
        lambda d: d["outcome"].update(kind="sunny"),
        lambda d: d["outcome"].update(exit_code=2**31),
        lambda d: d["outcome"].update(oom_killed=0),
        lambda d: d["outcome"].update(more=0),
        lambda d: d["seal"].update(sha256="ab"),
        lambda d: d["seal"]["gaps"].append(d["seal"]["gaps"][0]),
        lambda d: d["seal"]["gaps"][0].update(length=0),
        lambda d: d["seal"]["gaps"][0].update(offset=2**63),
        lambda d: d["key"].update(dek="AQAA"),
        lambda d: d["key"].update(dek="*"),
        lambda d: d["key"].update(store_key=""),
        lambda d: d["key"].update(kms="other"),
        lambda d: d["key"].update(store_key_id="ab" * 16),
        lambda d: d["object"].update(size=7),
        lambda d: d["object"].update(chunks=2**40),
        lambda d: d["object"].update(index_sha256=""),
    ],
)
def test_anything_else_is_refused(metadata: Metadata, change: Callable[[Document], object]) -> None:
    parse_metadata(changed(metadata, lambda _: None))
    with pytest.raises(Corrupt, match=r"metadata|record|wrapped DEK"):
        parse_metadata(changed(metadata, change))


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"null", b"\xff", b'{"a": 1, "a": 2}', b'{"format": NaN}', b"[" * 100_000, b" " * (17 << 20)]
)
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(Corrupt, match="metadata"):
        parse_metadata(data)


def _update(said: Document, document: Document) -> None:
    document.update(said)


def test_another_version_is_told_from_damage(metadata: Metadata) -> None:
    for version in (1, 4):
        said: Document = {"version": version, "more": {}}
        with pytest.raises(WrongVersion, match=f"version {version}"):
            parse_metadata(changed(metadata, partial(_update, said)))


def test_an_adopted_log_says_where_its_text_lies(metadata: Metadata) -> None:
    adopted = types_pb2.Adopted(url="s3://old/a b/logs.txt.gz", bytes=7, etag='"e"', gzip=True, modified_ns=10**18)
    metadata.record.adopted.CopyFrom(adopted)
    packed = pack_metadata(metadata, lambda _: b"")
    assert b'"version": 3,' in packed
    assert parse_metadata(packed).record.adopted == adopted
    with pytest.raises(Corrupt, match="adopted is missing"):
        parse_metadata(changed(metadata, lambda said: said.pop("adopted")))
    with pytest.raises(Corrupt, match="not a field that this version knows"):
        parse_metadata(changed(metadata, partial(_update, {"version": 2})))


def test_only_the_logs_key_vouches_for_it(metadata: Metadata) -> None:
    uid = metadata.record.uid
    dek, other = os.urandom(32), os.urandom(32)
    packed = pack_metadata(metadata, LogCipher(dek, uid).vouch)
    vouched_cipher(dek, parse_metadata(packed))
    for changed_bytes in (
        packed.replace(b'"exit_code": -1', b'"exit_code": 0'),
        pack_metadata(metadata, LogCipher(other, uid).vouch),
        pack_metadata(metadata, LogCipher(dek, os.urandom(16)).vouch),
        pack_metadata(metadata, lambda _: b""),
    ):
        assert changed_bytes != packed
        with pytest.raises(Corrupt, match="was changed, or was said of another one"):
            vouched_cipher(dek, parse_metadata(changed_bytes))


def test_any_cut_is_noticed(metadata: Metadata) -> None:
    packed = pack_metadata(metadata, stamp).rstrip()
    for end in range(0, len(packed), 7):
        with pytest.raises(Corrupt):
            parse_metadata(packed[:end])


def test_the_newest_events_are_kept(metadata: Metadata) -> None:
    many = [Event(offset=at, time_ns=1, kind="k") for at in range(10_005)]
    assert [
        event.offset for event in parse_metadata(pack_metadata(metadata._replace(events=many), stamp)).events
    ] == list(range(5, 10_005))


def test_what_no_reader_would_take_is_not_written(metadata: Metadata) -> None:
    metadata.record.start.cwd = "x" * (17 << 20)
    with pytest.raises(InvalidInput, match="allowed"):
        pack_metadata(metadata, stamp)
