"""CRI log files read back by joblog's own parser."""

from __future__ import annotations

import os
from pathlib import Path

from joblog.batch import unpack_frames
from joblog.worker.following.chain import chain
from joblog.worker.formats.cri import Cri


def decoded(content: bytes) -> list[tuple[int, bytes]]:
    """(stream, bytes) of the log that joblog reads from such a file, neighbours of one stream in one."""
    found = Cri().decode(content, whole=True, after_ns=0, now_ns=2**62)
    assert (found.consumed, found.odd_lines) == (len(content), 0)
    if not found.raw:
        return []
    frames = unpack_frames(found.frames, len(found.raw))
    pieces, at = [], 0
    for stream, length in zip(frames.streams, frames.lengths, strict=True):
        pieces.append((stream, found.raw[at : at + length]))
        at += length
    return merged(pieces)


def merged(pieces: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    out: list[tuple[int, bytes]] = []
    for stream, data in pieces:
        if out and out[-1][0] == stream:
            out[-1] = stream, out[-1][1] + data
        elif data:
            out.append((stream, data))
    return out


def files(folder: str | os.PathLike[str]) -> list[str]:
    """The files of the only task there, the oldest first."""
    (current,) = Path(folder).glob("*/*/*.log")
    return chain(str(current))


def read(folder: str | os.PathLike[str]) -> list[tuple[int, bytes]]:
    return decoded(b"".join(Path(path).read_bytes() for path in files(folder)))
