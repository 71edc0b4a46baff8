"""What reads bytes that others may have had in their hands, each with inputs that it takes."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import google_crc32c

from joblog.address import read_leader_file
from joblog.batch import STDOUT, Frames, deflate, open_payload, pack_frames, unpack_frames
from joblog.identity import LogName, parse_log_path
from joblog.leader.access.audit import AuditEvent
from joblog.leader.access.audit_chain import verify_chain
from joblog.leader.access.audit_line import Head, make_line, parse_line
from joblog.leader.adoption.facts import FactRules, NotOver
from joblog.leader.adoption.rule import Rule
from joblog.leader.archive import container
from joblog.leader.archive.claim import _parse as parse_claim
from joblog.leader.archive.foreign_gzip import read_pieces
from joblog.leader.archive.key_objects import pack_store_key, parse_store_key
from joblog.leader.archive.layout import (
    parse_log_key,
    parse_pack_key,
    parse_roster_key,
    parse_store_key_key,
    sealed_key,
)
from joblog.leader.archive.metadata import Metadata, pack_metadata, parse_metadata
from joblog.leader.archive.roster import pack_roster, parse_roster
from joblog.leader.backup.keys import BackupKeys
from joblog.leader.backup.layout import new_copy_name
from joblog.leader.backup.manifest import (
    BackedUp,
    Manifest,
    PieceRef,
    Summary,
    content_of,
    pack_manifest,
    unpack_manifest,
)
from joblog.leader.backup.piece import pack_piece, unpack_piece
from joblog.leader.backup.repository import KeyRecord
from joblog.leader.backup.repository import _pack as pack_target
from joblog.leader.backup.repository import _parse as parse_target
from joblog.leader.buffer.chunk import pack_stored, unpack_chunk, unpack_stored
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import DescribedKeys, WrappedDek
from joblog.leader.crypto.store_key_record import DescribedKey, StoreKeyRecord, unpack_record
from joblog.leader.recovery import pack_recovery, parse_recovery
from joblog.token import Token
from joblog.v1 import types_pb2
from joblog.worker.control import protocol
from joblog.worker.docker.container import parse_container
from joblog.worker.journald.entry import parse_entry
from joblog.worker.spool.format import SpoolTask, decode_header, decode_segment_header, encode_segment_header
from joblog.worker.spool.format import decode_task as decode_spool_task
from tests.chunks import ChunkMaker, value_of, values

RAW = b"a line\nanother one\n" * 12
_DOCKER_CONFIG = (
    b'{"State":{"Running":false,"ExitCode":1,"StartedAt":"2026-01-31T12:00:00Z"},"Name":"/web","RestartCount":2,'
    b'"Config":{"Labels":{"a":"b"}},"Args":["x"],"Path":"sh","LogConfig":{"Config":{"max-size":"1"}},"Memory":7}'
)
_JOURNAL_ENTRY = (
    b'{"__CURSOR":"s=00000000000000000000000000000000;i=1;b=00000000000000000000000000000000;m=1;t=1;x=1",'
    b'"MESSAGE":[1,2],"_PID":"1","UNIT":"a","MESSAGE_ID":"98e322203f7a4ed290d09fe03c09fe15","COMMAND":"ExecStart",'
    b'"EXIT_STATUS":"1","_SYSTEMD_UNIT":["b","c"]}'
)


def _old_metadata(data: bytes) -> None:
    with contextlib.suppress(NotOver):
        FactRules({}, {}).read(data)


def _old_key(data: bytes) -> None:
    text = data.decode(errors="replace")
    Rule("{namespace}/{jobType}/{serviceName}/{jobName}/logs.txt").match(text)
    Rule(text).match("ns/run-task/x")


def _old_gzip(data: bytes) -> None:
    for _ in read_pieces(lambda at, length: data[at : at + length], len(data), gzip=True, piece_bytes=100):
        pass


class Target(NamedTuple):
    """read: the parser, which answers or raises a JoblogError. good: inputs that it takes."""

    read: Callable[[bytes], object]
    good: Sequence[bytes]


@cache
def maker() -> ChunkMaker:
    """A log's chunks."""
    return ChunkMaker()


@cache
def chunks() -> list[tuple[int, bytes]]:
    """Two data chunks with a gap in between, as the archive has them."""
    return values([maker().data(RAW), maker().gap(100, 3), maker().data(b"end")])


def _object(kind: int) -> bytes:
    return b"".join(container.write_container(kind, [(maker().uid, chunks())]))


def read_object(data: bytes) -> object:
    """A whole archive object, as verify reads it: footer, index, records, what they hold."""
    container.check_magic(data[:8])
    footer = container.read_footer(data[-container.FOOTER_BYTES :], len(data))
    index = container.read_index(data[footer.index_position :][: footer.index_length], footer)
    return [list(log) for log in index.logs.values()], list(container.walk_records(data[8 : footer.index_position]))


def open_stored(data: bytes) -> object:
    """A chunk of the store, opened with its log's key; what opens is the log's."""
    header, sealed = unpack_stored(7, 0, data)
    return None if not sealed else maker().cipher.open(header.pack(), 0, sealed)


def _frames_and_payload(data: bytes) -> object:
    """Columns, then a payload of RAW's length: what ingest gets in a batch."""
    size = int.from_bytes(data[:2], "little")
    return unpack_frames(data[2 : 2 + size], len(RAW)), open_payload(2, data[2 + size :], len(RAW), _crc())


def _crc() -> int:
    found: int = google_crc32c.value(RAW)
    return found


def _batch() -> bytes:
    columns = pack_frames(Frames(bytes([STDOUT] * 2), [0, 9], [1, len(RAW) - 1]))
    return len(columns).to_bytes(2, "little") + columns + deflate(RAW)[1]


@cache
def _keys() -> tuple[FileKms, WrappedDek, bytes]:
    import tempfile

    kms = FileKms(Path(tempfile.mkdtemp(prefix="joblog-fuzz-")) / "kek.key")
    key = DescribedKey(b"k" * 16, "5" * 32, b"")
    record = StoreKeyRecord(kms.name, kms.key_id, kms.wrap(bytes(32), key.context()), "v", 1, 2, 3).pack()
    cipher = key._replace(record=record).open(kms)
    nonce, uid = bytes(12), maker().uid
    wrapped = b"\x01" + key.key_id + nonce + cipher.encrypt(nonce, maker().dek, b"joblog dek" + uid)
    return kms, WrappedDek(wrapped, key.store_id, record), uid


def _metadata() -> bytes:
    record = types_pb2.LogRecord(
        id=types_pb2.LogId(namespace="n", run="r", task="t", attempt=1),
        uid=maker().uid,
        state=types_pb2.LOG_STATE_COMPLETED,
        created_ns=1_700_000_000_000_000_000,
        next_offset=5,
        start=types_pb2.TaskStart(command=["make", "-j"], host="h", labels={"a": "b"}),
        outcome=types_pb2.Outcome(kind=types_pb2.OUTCOME_KIND_EXITED, exit_code=1, message="x"),
        seal=types_pb2.Seal(length=5, newlines=1, gaps=[types_pb2.Gap(offset=1, length=2, reason=1)]),  # type: ignore[arg-type]
    )
    events = [types_pb2.Event(offset=1, time_ns=10**18, kind="k", message="m")]
    return pack_metadata(Metadata(record, events, _keys()[1], b"w" * 44), lambda digest: digest)


def _open_dek(data: bytes) -> object:
    kms, wrapped, uid = _keys()
    size = int.from_bytes(data[:2], "big")
    return DescribedKeys(kms).open_dek(uid, WrappedDek(data[2 : 2 + size], wrapped.store_id, data[2 + size :]))


def _dek() -> bytes:
    _, wrapped, _ = _keys()
    return len(wrapped.dek).to_bytes(2, "big") + wrapped.dek + wrapped.store_key


def _roster(data: bytes) -> object:
    """A roster whose digest fits, as whoever may write to the bucket can make one."""
    body = data[:-32]
    return list(parse_roster(data)), list(parse_roster(body + hashlib.sha256(body).digest()))


def _claim() -> bytes:
    said = {"version": 1, "store_id": "s", "epoch": 3, "token": "t", "host": "h", "claimed_ns": 1, "renewed_ns": 2}
    return json.dumps({**said, "renew_seconds": 60.0}).encode()


def _spool_task() -> bytes:
    task = SpoolTask(writer_id=b"w" * 16, namespace="default", run="r", task="t", command=["a"], labels={"k": "v"})
    return json.dumps({"version": 1, **task.fields()}).encode()


def _leader_file(data: bytes) -> object:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "leader")
        path.mkdir()
        (path / "leader.json").write_bytes(data)
        return read_leader_file(Path(folder))


def _audit() -> list[bytes]:
    lines, head = [], Head()
    for action in ("audit.begin", "log.read", "audit.end"):
        detail = {"log": "2026-11/audit/1", "after": ""}
        line = make_line(AuditEvent(action=action, outcome="ok", principal=None, detail=detail), 10**18, head)
        lines.append(line)
        head = Head(head.sequence + 1, hashlib.sha256(line[:-1]).hexdigest(), "2026-11/audit/1")
    return lines


def _keys_of_objects(data: bytes) -> object:
    text = data.decode("latin-1")
    return [read(text) for read in (parse_log_key, parse_pack_key, parse_roster_key, parse_store_key_key)]


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode(errors="surrogateescape"))


_BACKUP_KEYS = BackupKeys(bytes(32))
_BACKUP_ID = "20260131T120000000Z-0a1b2c3d"


def _piece() -> bytes:
    return b"".join(pack_piece(_BACKUP_KEYS, _BACKUP_KEYS.name(RAW), RAW))


def _manifest() -> bytes:
    pieces = (PieceRef(new_copy_name(_BACKUP_KEYS.name(RAW)), len(RAW)),)
    file = BackedUp("store/CURRENT", len(RAW), content_of(_BACKUP_KEYS, pieces), 1, 2, pieces)
    summary = Summary(_BACKUP_ID, 10**18, 10**18, "5" * 32, 2, "h", "1", 1, len(RAW), 9, "file", "k", "asked")
    return pack_manifest(_BACKUP_KEYS, Manifest(summary, (file,)))


def _backup_target() -> bytes:
    record = StoreKeyRecord("file", "key", bytes(60))
    return pack_target(KeyRecord(bytes(16), record, bytes(16), bytes(60)))


def targets() -> dict[str, Target]:
    """All of them, by the name of their folder in the corpus."""
    wrapped = _keys()[1]
    record = value_of(ChunkMaker().data(RAW))
    return {
        "pack": Target(read_object, [_object(container.KIND_PACK), _object(container.KIND_SEALED)]),
        "chunk": Target(unpack_chunk, [record, chunks()[1][1]]),
        "stored": Target(open_stored, [pack_stored(7, 0, chunks()[0][1]), pack_stored(7, 0, chunks()[1][1])]),
        "batch": Target(_frames_and_payload, [_batch()]),
        "metadata": Target(parse_metadata, [_metadata()]),
        "old_metadata": Target(_old_metadata, [b'{"exitCode": 0, "startTime": "2026-01-31T12:00:00Z", "a": {"b": 1}}']),
        "old_key": Target(_old_key, [b"{namespace}/{run}-{task}/x", b"{jobType}/{jobName}/{run}.log"]),
        "old_gzip": Target(_old_gzip, [gzip.compress(b"some text\n" * 100) + gzip.compress(b"more") + bytes(9)]),
        "roster": Target(_roster, [pack_roster([_metadata(), _metadata()])]),
        "claim": Target(lambda data: parse_claim("archive", data), [_claim()]),
        "store_key": Target(lambda data: parse_store_key(data, "key"), [pack_store_key(wrapped.key)]),
        "store_key_record": Target(unpack_record, [wrapped.store_key]),
        "dek": Target(_open_dek, [_dek()]),
        "recovery": Target(lambda data: parse_recovery(data, "file"), [pack_recovery([wrapped.key], "5" * 32, 1)]),
        "writer": Target(LogCipher(bytes(32), bytes(16)).open_writer, [os.urandom(44)]),
        "token": Target(_text(Token.parse), [Token("a" * 12, bytes(32), bytes(32), "h:1").text.encode()]),
        "log_path": Target(_text(parse_log_path), [b"run/task/1", b"r/t"]),
        "object_key": Target(_keys_of_objects, [sealed_key(LogName("n", "r", "t", 1)).encode(), b"_live/l/1.pack"]),
        "audit_line": Target(parse_line, _audit()),
        "audit_chain": Target(lambda data: verify_chain(data.splitlines()), [b"".join(_audit())]),
        "spool_task": Target(lambda data: decode_spool_task(data, "task.json"), [_spool_task()]),
        "spool_header": Target(lambda data: decode_header(data, 0) if len(data) >= 56 else None, [bytes(56)]),
        "spool_segment": Target(
            lambda data: decode_segment_header(data, "1.seg"), [encode_segment_header(9), encode_segment_header(0)]
        ),
        "piece": Target(lambda data: unpack_piece(_BACKUP_KEYS, _BACKUP_KEYS.name(RAW), data), [_piece()]),
        "manifest": Target(lambda data: unpack_manifest(_BACKUP_KEYS, data, _BACKUP_ID), [_manifest()]),
        "backup_target": Target(parse_target, [_backup_target()]),
        "control": Target(protocol.decode, [protocol.encode({"version": 1, "op": "status"})]),
        "docker_config": Target(lambda data: parse_container("0" * 64, data, data), [_DOCKER_CONFIG]),
        "journal_entry": Target(parse_entry, [_JOURNAL_ENTRY]),
        "leader_file": Target(_leader_file, [b'{"grpc": "127.0.0.1:1", "pid": 1}']),
    }
