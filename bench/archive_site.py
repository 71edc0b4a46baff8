"""Logs of noise in a leader's store, written without keeping a copy of their bytes."""

from __future__ import annotations

import os

import google_crc32c

from joblog.batch import CODEC_NONE, STDOUT, Frames, pack_frames
from joblog.identity import LogName
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import KIND_DATA, ChunkHeader
from tests.stored_log import FIRST_TIME_NS, StoredLeader, StoredLog

CHUNK_BYTES = 1 << 20


class _Length(bytearray):
    """Stands for bytes that are not kept."""

    size = 0

    def __len__(self) -> int:
        return self.size


def new_log(leader: StoredLeader, name: LogName) -> StoredLog:
    """A live log for add_noise()."""
    log = leader.log(name)
    log.model.data = _Length()
    return log


def add_noise(log: StoredLog, size: int) -> list[bytes]:
    """Writes so many random bytes as full chunks; returns them."""
    pieces = []
    length = log.model.data
    assert isinstance(length, _Length)
    while size:
        raw = os.urandom(min(size, CHUNK_BYTES))
        frames = pack_frames(Frames(bytes([STDOUT]), [0], [len(raw)]))
        header = ChunkHeader(
            kind=KIND_DATA,
            codec=CODEC_NONE,
            newlines=raw.count(b"\n"),
            raw_length=len(raw),
            lines_before=log.lines,
            first_time_ns=FIRST_TIME_NS,
            crc32c=google_crc32c.value(raw),
            frames_length=len(frames),
        ).pack()
        changes = Changes()
        changes.put_chunk(log.number, length.size, header + log.cipher.seal(header, length.size, frames + raw))
        log.store.write(changes)
        log.lines += raw.count(b"\n")
        length.size += len(raw)
        size -= len(raw)
        pieces.append(raw)
    return pieces
