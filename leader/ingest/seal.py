"""The seal of a log that is being closed: made from what the leader has, held against what the worker says."""

from __future__ import annotations

import hashlib

from joblog.errors import Corrupt
from joblog.leader.buffer.chunk import HEADER_BYTES, KIND_DATA
from joblog.leader.buffer.opening import open_bytes
from joblog.leader.buffer.store import Store
from joblog.leader.ingest.live_log import LiveLog, Refused
from joblog.v1 import ingest_pb2, types_pb2


def stored_bytes(store: Store, live: LiveLog) -> int:
    """Bytes that the chunks of `live`, all of which are durable, take in the store."""
    if live.stored_bytes is not None:
        return live.stored_bytes
    with store.view() as view:
        archived = sum(extent.length for extent in view.extents(live.number))
        return archived + sum(HEADER_BYTES + len(sealed) for _offset, _header, sealed in view.chunks(live.number, 0))


def make_seal(store: Store, live: LiveLog, close: ingest_pb2.CloseLog) -> types_pb2.Seal:
    """The seal of `live`, all of whose bytes are durable. Raises Refused when the close's hash or newlines are others.

    Reads the log again where the hash of what arrived is not known (the leader was restarted) or is not that of what is
    kept (the log's limit dropped chunks). Not where some of it is damaged, or is in the archive, which may be out of
    reach: then the worker's hash stands unless chunks were dropped, and else none; the archiver makes one when it seals
    the log.
    """
    gaps = store.gaps(live.number)
    dropped = any(gap.reason == types_pb2.GAP_REASON_LOG_LIMIT for gap in gaps)
    arrived = live.sha256.digest() if live.sha256 is not None else None
    if arrived is not None and not dropped:
        kept = arrived
    elif any(True for _ in store.extents(live.number)) or (again := _hash_again(store, live)) is None:
        kept = b"" if dropped else close.sha256
    else:
        kept = again
        arrived = arrived if dropped else kept
    name = live.record.id.task
    # A worker that does not know the hash lost count of the lines too.
    if close.sha256 and close.newlines != live.accepted_lines:
        raise _refusal(f"{name}: closed with {close.newlines} newlines, {live.accepted_lines} have arrived")
    if close.sha256 and arrived is not None and close.sha256 != arrived:
        raise _refusal(f"{name}: closed with SHA-256 {close.sha256.hex()}, the bytes that arrived have {arrived.hex()}")
    return types_pb2.Seal(length=close.length, sha256=kept, newlines=live.accepted_lines, gaps=gaps)


def _refusal(message: str) -> Refused:
    return Refused(ingest_pb2.REFUSAL_CODE_SEAL, message)


def _hash_again(store: Store, live: LiveLog) -> bytes | None:
    """Of all bytes; None when some are damaged."""
    found = hashlib.sha256()
    at = 0
    with store.view() as view:
        for offset, header, sealed in view.chunks(live.number, 0):
            if offset != at:
                return None
            if header.kind == KIND_DATA:
                try:
                    found.update(open_bytes(live.cipher, offset, header, sealed))
                except Corrupt:
                    return None
            at = offset + header.raw_length
    return found.digest() if at == live.next_offset else None
