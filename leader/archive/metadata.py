"""A log's metadata.json: all that is known of it but its bytes, and where they are. Layout: docs/format.md.

With it and the KMS a log can be read, and a leader's catalog made anew.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import Message

from joblog.errors import Corrupt, InvalidInput, WrongVersion
from joblog.identity import LogName, check_labels, check_log_name
from joblog.leader.archive.container import KIND_SEALED, MAGIC, MAX_CHUNKS, Footer
from joblog.leader.archive.fields import Fields, format_time, parse_document
from joblog.leader.archive.layout import METADATA_NAME
from joblog.leader.crypto.envelope import UID_BYTES, LogCipher
from joblog.leader.crypto.keyring import WrappedDek
from joblog.leader.crypto.store_key_record import STORE_KEY_ID_BYTES
from joblog.v1 import types_pb2
from joblog.v1.types_pb2 import Adopted, Event, Gap, LogRecord, Outcome, Seal, TaskStart

FORMAT = "joblog log"
VERSION = 2
# Of an adopted log, whose document says too where its text lies.
ADOPTED_VERSION = 3
MAX_METADATA_BYTES = 16 << 20
# Of more, the newest are kept.
MAX_EVENTS = 10_000

_U32 = 2**32 - 1
_VOUCHED = "vouched"
# How a document ends that nobody has vouched for yet.
_UNSIGNED_END = b'"vouched": ""\n}\n'
_STATES = {
    "live": types_pb2.LOG_STATE_LIVE,
    "completed": types_pb2.LOG_STATE_COMPLETED,
    "interrupted": types_pb2.LOG_STATE_INTERRUPTED,
}
_REASONS: dict[str, int] = {
    "spool_full": types_pb2.GAP_REASON_SPOOL_FULL,
    "log_limit": types_pb2.GAP_REASON_LOG_LIMIT,
    "lost": types_pb2.GAP_REASON_LOST,
    "before_first_look": types_pb2.GAP_REASON_BEFORE_FIRST_LOOK,
    "unknown": types_pb2.GAP_REASON_UNSPECIFIED,
}
_OUTCOMES: dict[str, int] = {
    "exited": types_pb2.OUTCOME_KIND_EXITED,
    "signaled": types_pb2.OUTCOME_KIND_SIGNALED,
    "not_started": types_pb2.OUTCOME_KIND_NOT_STARTED,
    "supervisor_died": types_pb2.OUTCOME_KIND_SUPERVISOR_DIED,
    "timed_out": types_pb2.OUTCOME_KIND_TIMED_OUT,
    "evicted": types_pb2.OUTCOME_KIND_EVICTED,
    "node_lost": types_pb2.OUTCOME_KIND_NODE_LOST,
    "unknown": types_pb2.OUTCOME_KIND_UNSPECIFIED,
}


class SealedObject(NamedTuple):
    """The object with a completed log's bytes, beside its metadata.

    footer: the object's own. sha256: of the whole object; empty where it was put together inside the object store.
    """

    footer: Footer
    sha256: bytes

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return self.footer.size


class Metadata(NamedTuple):
    """What metadata.json says.

    record: parsed, it lacks what is a leader's own: number, writer_id, tier, stored_bytes, and gaps but the seal's.
    writer: LogCipher.seal_writer() of the writer id. sealed: None as long as the log is not sealed.
    digest, vouched: of a parsed document, to hold against each other with check_vouched() once the key is at hand.
    """

    record: LogRecord
    events: Sequence[Event]
    dek: WrappedDek
    writer: bytes
    sealed: SealedObject | None = None
    digest: bytes = b""
    vouched: bytes = b""

    @property
    def name(self) -> LogName:
        """The log's identity."""
        id_ = self.record.id
        return LogName(id_.namespace, id_.run, id_.task, id_.attempt)


def pack_metadata(metadata: Metadata, vouch: Callable[[bytes], bytes]) -> bytes:
    """The document: UTF-8, indented. Raises InvalidInput when it is too large.

    vouch: LogCipher.vouch() of the log; its answer stands in the document's last field, and covers all of the others.
    """
    is_adopted = metadata.record.HasField("adopted")
    document = {
        "format": FORMAT,
        "version": ADOPTED_VERSION if is_adopted else VERSION,
        **_identity(metadata),
        **_facts(metadata),
        **({"adopted": _adopted(metadata.record.adopted)} if is_adopted else {}),
        _VOUCHED: "",
    }
    unsigned = json.dumps(document, indent=1, ensure_ascii=False).encode(errors="replace") + b"\n"
    vouched = base64.b64encode(vouch(hashlib.sha256(unsigned).digest()))
    packed = unsigned[: -len(_UNSIGNED_END)] + _signed_end(vouched)
    if len(packed) > MAX_METADATA_BYTES:
        raise InvalidInput(f"metadata of {metadata.name} takes {len(packed)} bytes, allowed are {MAX_METADATA_BYTES}")
    return packed


def vouched_cipher(dek: bytes, metadata: Metadata) -> LogCipher:
    """The log's cipher, once its key has shown that the document was written with it. Raises Corrupt."""
    cipher = LogCipher(dek, metadata.record.uid)
    try:
        cipher.check_vouched(metadata.digest, metadata.vouched)
    except Corrupt as error:
        raise Corrupt(f"{METADATA_NAME} of {metadata.name}: {error}") from None
    return cipher


def _signed_end(vouched: bytes) -> bytes:
    return _UNSIGNED_END.replace(b'""', b'"' + vouched + b'"')


def _identity(metadata: Metadata) -> dict[str, object]:
    record = metadata.record
    return {
        **metadata.name._asdict(),
        "uid": record.uid.hex(),
        "state": next(word for word, state in _STATES.items() if state == record.state),
        "created_at": format_time(record.created_ns),
        "started_at": format_time(_started_ns(record)),
        "completed_at": format_time(record.completed_ns),
        "duration_seconds": _duration_seconds(record),
        "length": record.next_offset,
        "newlines": record.newlines,
        "last_append_at": format_time(record.last_append_ns),
    }


def _facts(metadata: Metadata) -> dict[str, object]:
    record, dek = metadata.record, metadata.dek
    return {
        "start": _start(record.start) if record.HasField("start") else None,
        "outcome": _outcome(record.outcome) if record.HasField("outcome") else None,
        "seal": _seal(record.seal) if record.HasField("seal") else None,
        "events": [_event(event) for event in metadata.events[-MAX_EVENTS:]],
        "key": {
            "dek": _base64(dek.dek),
            "writer": _base64(metadata.writer),
            "store_id": dek.store_id,
            "store_key_id": dek.store_key_id.hex(),
            "store_key": _base64(dek.store_key),
            "kms": dek.kms[0],
            "kms_key_id": dek.kms[1],
        },
        "object": None if metadata.sealed is None else _object(metadata.sealed),
    }


def _started_ns(record: LogRecord) -> int:
    return record.outcome.started_ns or record.start.started_ns


def _duration_seconds(record: LogRecord) -> float:
    """From the task's start to its end, as far as both are known; else 0."""
    started_ns, ended_ns = _started_ns(record), record.outcome.ended_ns
    return max(0, ended_ns - started_ns) / 1e9 if started_ns and ended_ns else 0.0


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _word(words: dict[str, int], number: int) -> str:
    return next((word for word, of in words.items() if of == number), "unknown")


def _start(start: TaskStart) -> dict[str, object]:
    return {
        "command": list(start.command),
        "host": start.host,
        "cwd": start.cwd,
        "started_at": format_time(start.started_ns),
        "labels": dict(sorted(start.labels.items())),
        "worker_id": start.worker_id,
    }


def _outcome(outcome: Outcome) -> dict[str, object]:
    return {
        "kind": _word(_OUTCOMES, outcome.kind),
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "oom_killed": outcome.oom_killed,
        "started_at": format_time(outcome.started_ns),
        "ended_at": format_time(outcome.ended_ns),
        "cpu_seconds": outcome.cpu_seconds if 0 <= outcome.cpu_seconds < 1e300 else 0.0,
        "peak_memory_bytes": outcome.peak_memory_bytes,
        "message": outcome.message,
    }


def _seal(seal: Seal) -> dict[str, object]:
    return {
        "length": seal.length,
        "sha256": seal.sha256.hex(),
        "newlines": seal.newlines,
        "gaps": [
            {"offset": g.offset, "length": g.length, "reason": _word(_REASONS, g.reason), "newlines": g.newlines}
            for g in seal.gaps
        ],
    }


def _event(event: Event) -> dict[str, object]:
    return {
        "offset": event.offset,
        "time": format_time(event.time_ns),
        "kind": event.kind,
        "message": event.message,
    }


def _adopted(adopted: Adopted) -> dict[str, object]:
    return {
        "url": adopted.url,
        "bytes": adopted.bytes,
        "etag": adopted.etag,
        "version_id": adopted.version_id,
        "gzip": adopted.gzip,
        "modified_at": format_time(adopted.modified_ns),
        "adopted_at": format_time(adopted.adopted_ns),
    }


def _object(sealed: SealedObject) -> dict[str, object]:
    footer = sealed.footer
    return {
        "size": footer.size,
        "chunks": footer.chunks,
        "index_position": footer.index_position,
        "index_length": footer.index_length,
        "index_sha256": footer.index_sha256.hex(),
        "sha256": sealed.sha256.hex(),
    }


def parse_metadata(data: bytes) -> Metadata:
    """What a document says. Raises Corrupt when it is not exactly one that pack_metadata() could have made.

    Raises WrongVersion for one of another version.
    """
    fields = parse_document(data, METADATA_NAME, MAX_METADATA_BYTES)
    if fields.text("format") != FORMAT:
        fields.fail("format", f"is not {FORMAT!r}: it is none of joblog's")
    version = fields.integer("version")
    if version not in (VERSION, ADOPTED_VERSION):
        raise WrongVersion(
            f"{METADATA_NAME} has version {version}; this joblog knows versions {VERSION} and {ADOPTED_VERSION}"
        )
    record = _parse_record(fields)
    if version == ADOPTED_VERSION:
        _parse_adopted(fields.object("adopted"), record.adopted)
    events = [_parse_event(each) for each in fields.objects("events")]
    if len(events) > MAX_EVENTS:
        fields.fail("events", f"has {len(events)} entries, at most {MAX_EVENTS} are allowed")
    dek, writer = _parse_key(fields.object("key"))
    place = fields.optional("object")
    sealed = None if place is None else _parse_object(place)
    vouched = fields.base64(_VOUCHED)
    fields.end()
    signed_end = _signed_end(base64.b64encode(vouched))
    if not data.endswith(signed_end):
        fields.fail(_VOUCHED, "is not the document's last field, as joblog writes it")
    digest = hashlib.sha256(data[: -len(signed_end)] + _UNSIGNED_END).digest()
    if sealed is not None and not record.HasField("seal"):
        fields.fail("object", "is there, but the log has no seal")
    return Metadata(record, events, dek, writer, sealed, digest, vouched)


def _parse_record(fields: Fields) -> LogRecord:
    record = LogRecord()
    name = LogName(fields.text("namespace"), fields.text("run"), fields.text("task"), fields.integer("attempt", 1))
    try:
        check_log_name(name)
    except InvalidInput as error:
        raise Corrupt(f"{METADATA_NAME}: {error}") from None
    record.id.namespace, record.id.run, record.id.task, record.id.attempt = name
    record.uid = fields.hex("uid", UID_BYTES)
    record.state = fields.choice("state", _STATES)  # type: ignore[assignment]
    record.created_ns = fields.time_ns("created_at")
    record.completed_ns = fields.time_ns("completed_at")
    # For people; they follow from start and outcome.
    fields.time_ns("started_at")
    fields.number("duration_seconds")
    record.next_offset = fields.integer("length")
    record.newlines = fields.integer("newlines")
    record.last_append_ns = fields.time_ns("last_append_at")
    parts: list[tuple[Fields | None, Message]] = [
        (fields.optional(part), getattr(record, part)) for part in ("start", "outcome", "seal")
    ]
    for part, message in parts:
        if part is not None:
            message.SetInParent()
            _PARSERS[type(message)](part, message)
            part.end()
    if record.state == types_pb2.LOG_STATE_COMPLETED and not record.HasField("seal"):
        fields.fail("seal", "is missing, but the log is completed")
    return record


def _parse_start(fields: Fields, start: TaskStart) -> None:
    start.command.extend(fields.texts("command"))
    start.host = fields.text("host")
    start.cwd = fields.text("cwd")
    start.started_ns = fields.time_ns("started_at")
    labels = fields.mapping("labels")
    try:
        start.labels.update(check_labels(labels))
    except InvalidInput as error:
        fields.fail("labels", str(error))
    start.worker_id = fields.text("worker_id")


def _parse_outcome(fields: Fields, outcome: Outcome) -> None:
    outcome.kind = fields.choice("kind", _OUTCOMES)  # type: ignore[assignment]
    outcome.exit_code = fields.integer("exit_code", -(2**31), 2**31 - 1)
    outcome.signal = fields.integer("signal", -(2**31), 2**31 - 1)
    outcome.oom_killed = fields.truth("oom_killed")
    outcome.started_ns = fields.time_ns("started_at")
    outcome.ended_ns = fields.time_ns("ended_at")
    outcome.cpu_seconds = fields.number("cpu_seconds")
    outcome.peak_memory_bytes = fields.integer("peak_memory_bytes")
    outcome.message = fields.text("message")


def _parse_seal(fields: Fields, seal: Seal) -> None:
    seal.length = fields.integer("length")
    seal.sha256 = fields.hex("sha256", 0, 32)
    seal.newlines = fields.integer("newlines")
    end = 0
    for each in fields.objects("gaps"):
        gap = Gap(
            offset=each.integer("offset", end),
            length=each.integer("length", 1),
            reason=each.choice("reason", _REASONS),  # type: ignore[arg-type]
            newlines=each.integer("newlines"),
        )
        each.end()
        end = gap.offset + gap.length
        if end > seal.length:
            fields.fail("gaps", f"go on to {end}, behind the log's end at {seal.length}")
        seal.gaps.append(gap)


_PARSERS: dict[type[Message], Callable[[Fields, Any], None]] = {
    TaskStart: _parse_start,
    Outcome: _parse_outcome,
    Seal: _parse_seal,
}


def _parse_event(fields: Fields) -> Event:
    event = Event(
        offset=fields.integer("offset"),
        time_ns=fields.time_ns("time"),
        kind=fields.text("kind"),
        message=fields.text("message"),
    )
    fields.end()
    return event


def _parse_key(fields: Fields) -> tuple[WrappedDek, bytes]:
    dek = WrappedDek(fields.base64("dek"), fields.text("store_id"), fields.base64("store_key"))
    writer = fields.base64("writer")
    if dek.store_key_id != fields.hex("store_key_id", STORE_KEY_ID_BYTES):
        fields.fail("store_key_id", "is not that of the wrapped DEK")
    if dek.kms != (fields.text("kms"), fields.text("kms_key_id")):
        fields.fail("kms", "is not that of the store key")
    fields.end()
    return dek, writer


def _parse_adopted(fields: Fields, adopted: Adopted) -> None:
    adopted.url = fields.text("url")
    adopted.bytes = fields.integer("bytes")
    adopted.etag = fields.text("etag")
    adopted.version_id = fields.text("version_id")
    adopted.gzip = fields.truth("gzip")
    adopted.modified_ns = fields.time_ns("modified_at")
    adopted.adopted_ns = fields.time_ns("adopted_at")
    adopted.SetInParent()
    fields.end()


def _parse_object(fields: Fields) -> SealedObject:
    size = fields.integer("size")
    footer = Footer(
        kind=KIND_SEALED,
        logs=1,
        chunks=fields.integer("chunks", 0, MAX_CHUNKS),
        index_position=fields.integer("index_position", len(MAGIC)),
        index_length=fields.integer("index_length", 1, _U32),
        index_sha256=fields.hex("index_sha256", 32),
    )
    sealed = SealedObject(footer, fields.hex("sha256", 0, 32))
    fields.end()
    if sealed.size != size:
        fields.fail("size", f"is {size}; index and footer end at {sealed.size}")
    return sealed
