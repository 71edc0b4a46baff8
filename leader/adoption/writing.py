"""One adopted log: an object of ours with where each range of its text lies, its metadata, and its record.

The text is read once, for its length, lines, checksums and SHA-256, and stored nowhere.
"""

from __future__ import annotations

import hashlib
import os
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import google_crc32c

from joblog.batch import STDOUT, Frames, pack_frames
from joblog.identity import LogName
from joblog.leader.adoption.facts import Facts
from joblog.leader.archive.assembling import Assembled, Assembly
from joblog.leader.archive.container import KIND_SEALED
from joblog.leader.archive.foreign import ForeignInfo
from joblog.leader.archive.layout import metadata_key, sealed_key
from joblog.leader.archive.metadata import Metadata, SealedObject, pack_metadata
from joblog.leader.archive.putting import Putter
from joblog.leader.archive.seal import empty_extent
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import KIND_DATA, ChunkHeader
from joblog.leader.buffer.opening import CODEC_FOREIGN
from joblog.leader.crypto.envelope import UID_BYTES, LogCipher
from joblog.leader.crypto.keyring import Keyring
from joblog.v1 import types_pb2
from joblog.v1.archive_pb2 import Extent, ForeignRange
from joblog.v1.types_pb2 import Adopted, Event, LogRecord

# What is read, at least, to give any byte of a range, and to hold it against its checksum.
RANGE_BYTES = 256 << 10
# About as much takes a range in the object of ours.
_ENTRY_BYTES = 400


class Wanted(NamedTuple):
    """A log to adopt. url: of its object."""

    name: LogName
    url: str
    info: ForeignInfo
    labels: dict[str, str]
    facts: Facts


class Written(NamedTuple):
    """An adopted log whose objects are put, and that the catalog does not know yet."""

    wanted: Wanted
    record: LogRecord
    events: list[Event]
    wrapped_dek: bytes
    extents: list[Extent]

    def add_to(self, changes: Changes, number: int) -> None:
        """Puts it in the catalog under this number."""
        self.record.number = number
        changes.put_dek(number, self.wrapped_dek)
        for event in self.events:
            changes.put_event(number, event)
        for extent in self.extents:
            changes.put_extent(number, extent)
        changes.put_log(self.record)


class _Totals:
    """What the text adds up to so far."""

    def __init__(self) -> None:
        self.length = 0
        self.newlines = 0
        self.sha256 = hashlib.sha256()


def write(
    wanted: Wanted, pieces: Iterable[bytes], putter: Putter, keyring: Keyring, check_stopped: Callable[[], None]
) -> Written:
    """Reads the text, and puts the two objects, which are announced. Raises what the stores raise, and `pieces`."""
    uid = os.urandom(UID_BYTES)
    dek, wrapped = keyring.new_dek(uid)
    cipher = LogCipher(dek, uid)
    key = sealed_key(wanted.name)
    record = _record(wanted, uid)
    hint = wanted.info.size // RANGE_BYTES * _ENTRY_BYTES
    assembly = Assembly(putter, key, KIND_SEALED, uid, hint)
    totals = _Totals()
    try:
        for raw in _ranges(pieces):
            check_stopped()
            assembly.add(totals.length, _chunk(wanted, cipher, totals, raw, record.created_ns))
            totals.length += len(raw)
            totals.newlines += raw.count(b"\n")
            totals.sha256.update(raw)
        assembled = assembly.finish()
    except BaseException:
        assembly.abort()
        raise
    _complete(record, totals, assembled)
    events = _events(wanted, record)
    document = pack_metadata(
        Metadata(
            record,
            events,
            keyring.describe(wrapped),
            cipher.seal_writer(record.writer_id),
            SealedObject(assembled.footer, assembled.sha256),
        ),
        cipher.vouch,
    )
    putter.put_over(metadata_key(wanted.name), document)
    extents = assembled.extents(key, 0) or [empty_extent(assembled, key)]
    for extent in extents:
        extent.companions.append(metadata_key(wanted.name))
    return Written(wanted, record, events, wrapped, extents)


def _ranges(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The text in ranges of RANGE_BYTES; the last one may be shorter."""
    rest = b""
    for piece in pieces:
        rest = rest + piece if rest else piece
        whole = len(rest) - len(rest) % RANGE_BYTES
        for at in range(0, whole, RANGE_BYTES):
            yield rest[at : at + RANGE_BYTES]
        rest = rest[whole:]
    if rest:
        yield rest


def _chunk(wanted: Wanted, cipher: LogCipher, totals: _Totals, raw: bytes, time_ns: int) -> bytes:
    """A data chunk that says where its bytes lie."""
    info = wanted.info
    place = ForeignRange(
        url=wanted.url,
        object_bytes=info.size,
        etag=info.etag,
        version_id=info.version_id,
        gzip=info.gzip,
        position=totals.length,
    ).SerializeToString()
    frames = pack_frames(Frames(bytes([STDOUT]), [0], array("I", [len(raw)])))
    header = ChunkHeader(
        kind=KIND_DATA,
        codec=CODEC_FOREIGN,
        newlines=raw.count(b"\n"),
        raw_length=len(raw),
        lines_before=totals.newlines,
        first_time_ns=time_ns,
        crc32c=google_crc32c.value(raw),
        frames_length=len(frames),
    ).pack()
    return header + cipher.seal(header, totals.length, frames + place)


def _record(wanted: Wanted, uid: bytes) -> LogRecord:
    """What is known before the text is read."""
    facts, info, name = wanted.facts, wanted.info, wanted.name
    ended_ns = facts.ended_ns or info.modified_ns
    created_ns = facts.started_ns or ended_ns
    return LogRecord(
        id=types_pb2.LogId(namespace=name.namespace, run=name.run, task=name.task, attempt=name.attempt),
        uid=uid,
        writer_id=os.urandom(16),
        state=types_pb2.LOG_STATE_COMPLETED,
        tier=types_pb2.TIER_ARCHIVE,
        created_ns=created_ns,
        completed_ns=max(created_ns, ended_ns),
        last_append_ns=max(created_ns, ended_ns),
        start=types_pb2.TaskStart(
            command=facts.command,
            host=facts.host,
            started_ns=facts.started_ns,
            labels={**facts.labels, **wanted.labels},
        ),
        outcome=facts.outcome,
        adopted=Adopted(
            url=wanted.url,
            bytes=info.size,
            etag=info.etag,
            version_id=info.version_id,
            gzip=info.gzip,
            modified_ns=info.modified_ns,
            adopted_ns=time.time_ns(),
        ),
    )


def _complete(record: LogRecord, totals: _Totals, assembled: Assembled) -> None:
    record.next_offset, record.newlines = totals.length, totals.newlines
    record.seal.length, record.seal.newlines = totals.length, totals.newlines
    record.seal.sha256 = totals.sha256.digest()
    record.stored_bytes = assembled.footer.size


def _events(wanted: Wanted, record: LogRecord) -> list[Event]:
    adopted_ns = record.adopted.adopted_ns
    message = (
        f"the log was adopted from {wanted.url}, where its text stays; its seal is of what was there then, and no "
        "writer's"
    )
    events = [Event(time_ns=adopted_ns, kind="adopted", message=message)]
    if wanted.facts.rest:
        events.append(Event(time_ns=adopted_ns, kind="adopted_metadata", message=wanted.facts.rest))
    return events
