"""A task whose output is known beforehand: run as a program it writes, imported it tells what was written.

python generator.py SEED PROGRESS [PIECES]

Writes pieces to stdout and stderr, as the seed says, until the file PROGRESS.stop is there, or so many PIECES. PROGRESS
is mapped: bytes written to stdout, to stderr, and the process id, little endian, 8 bytes each. They outlive a kill.
"""

from __future__ import annotations

import mmap
import os
import random
import struct
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

STDOUT, STDERR = 1, 2
# In every few bytes of text: must never be found on the leader's disk.
MARKER = b"clear-text-of-a-task"
PROGRESS = struct.Struct("<QQQ")
MAX_PIECE_BYTES = 400_000


class Piece(NamedTuple):
    """Bytes for one stream, and how long the task rests after them."""

    stream: int
    data: bytes
    pause_seconds: float


def pieces(seed: int) -> Iterator[Piece]:
    """What a task with this seed writes, in order, without end."""
    rng = random.Random(seed)
    while True:
        kind = rng.random()
        if kind < 0.55:
            data = b"%s %d %s\n" % (MARKER, rng.randrange(10**9), rng.randbytes(rng.randrange(40)).hex().encode())
        elif kind < 0.7:
            data = rng.randbytes(rng.randrange(1, 20_000))
        elif kind < 0.75:
            data = bytes(rng.randrange(1, 5000)) + b"\xff\xfe\r\n\r"
        elif kind < 0.78:
            data = (MARKER + rng.randbytes(7).hex().encode()) * rng.randrange(1, MAX_PIECE_BYTES // 40)
        elif kind < 0.8:
            data = rng.randbytes(rng.randrange(1, MAX_PIECE_BYTES))
        else:
            data = b"\r%3d%%" % rng.randrange(101)
        pause = rng.choice((0.0, 0.0, 0.0, 0.002, 0.01, rng.random() * 0.08))
        yield Piece(rng.choice((STDOUT, STDOUT, STDERR)), data, pause)


def written(seed: int, stdout_bytes: int, stderr_bytes: int) -> dict[int, bytes]:
    """The first bytes of each stream of the task with this seed."""
    wanted = {STDOUT: stdout_bytes, STDERR: stderr_bytes}
    found = {STDOUT: bytearray(), STDERR: bytearray()}
    for piece in pieces(seed):
        if all(len(found[stream]) >= wanted[stream] for stream in found):
            break
        found[piece.stream] += piece.data
    return {stream: bytes(found[stream][: wanted[stream]]) for stream in found}


def main(seed: int, path: str, count: int) -> None:
    with open(path, "r+b") as file:
        page = mmap.mmap(file.fileno(), PROGRESS.size)
    done = {STDOUT: 0, STDERR: 0}
    page[:] = PROGRESS.pack(0, 0, os.getpid())
    for number, piece in enumerate(pieces(seed)):
        if number == count or os.path.exists(f"{path}.stop"):
            return
        rest = memoryview(piece.data)
        while rest:
            size = os.write(piece.stream, rest)
            rest = rest[size:]
            done[piece.stream] += size
            page[:16] = struct.pack("<QQ", done[STDOUT], done[STDERR])
        if piece.pause_seconds:
            time.sleep(piece.pause_seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else -1)
