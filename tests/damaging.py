"""Damage to the files of a closed store, as a disk might do it; and logs to be damaged, straight in a store."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

from joblog.leader.buffer import keys
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import KIND_DATA, ChunkHeader
from joblog.leader.buffer.store import Store
from joblog.v1.types_pb2 import LogRecord

Opener = Callable[..., LogRecord]
Texts = dict[int, dict[int, bytes]]

# Sizes of chunks that lie in blob files, and of such as lie in tables.
BLOBS = [5000, 100_000, 3000]
SMALL = [100, 500, 30]
_FOOTER_BYTES = 53


def chunk_files(store: Path) -> list[Path]:
    """The files that hold chunks: blob files, and tables that say that they are of their family."""
    tables = [file for file in store.glob("*.sst") if keys.CHUNKS.encode() in file.read_bytes()]
    return sorted([*tables, *store.glob("*.blob")])


def flip(file: Path, at: int) -> None:
    """Changes one bit."""
    data = bytearray(file.read_bytes())
    data[at] ^= 1 << (at % 8)
    file.write_bytes(data)


def flip_pattern(store: Path, pattern: bytes) -> Path:
    """Changes a bit of the only place in the store's files with these bytes; the file."""
    found = [
        (file, at)
        for file in [*store.glob("*.sst"), *store.glob("*.blob")]
        if (at := file.read_bytes().find(pattern)) >= 0
    ]
    [(file, at)] = found
    flip(file, at)
    return file


def flip_anywhere(store: Path, seed: int, suffix: str) -> Path:
    """Changes one byte somewhere in the chunks of one file: not in a table's footer, index or filter."""
    rng = random.Random(seed)
    file = rng.choice([file for file in chunk_files(store) if file.suffix == suffix])
    size = file.stat().st_size
    flip(file, rng.randrange(0, size * 3 // 4 if suffix == ".sst" else size - _FOOTER_BYTES))
    return file


def value_of(size: int, lines_before: int = 0) -> bytes:
    return ChunkHeader(KIND_DATA, 1, 1, size, lines_before, 100 + lines_before, 0, 0).pack() + os.urandom(size)


def three_logs(path: Path, opener: Opener, sizes: list[int], rounds: int = 1) -> Texts:
    """A closed store with three logs whose chunks lie beside each other; what was written, by number and offset."""
    store = Store.open(path)
    texts: Texts = {}
    for record in [opener(store, task=f"t{at}") for at in range(3)]:
        texts[record.number] = {}
    ends = dict.fromkeys(texts, 0)
    for _ in range(rounds):
        for size in sizes:
            changes = Changes()
            for number, chunks in texts.items():
                value = value_of(size, len(chunks))
                chunks[ends[number]] = value
                changes.put_chunk(number, ends[number], value)
                ends[number] += size
            store.write(changes)
    store.close()
    return texts


def read(store: Store, number: int, from_offset: int = 0) -> dict[int, bytes]:
    with store.view() as view:
        return {offset: header.pack() + sealed for offset, header, sealed in view.chunks(number, from_offset)}


def writes(store: Store, number: int, offset: int) -> None:
    changes = Changes()
    changes.put_chunk(number, offset, value_of(10))
    store.write(changes)
