"""Damage to the files of a closed store, as a disk might do it."""

from __future__ import annotations

import random
from pathlib import Path

from joblog.leader.buffer import keys

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
