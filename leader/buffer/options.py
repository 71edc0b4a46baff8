"""What the store may use of memory and disk, and the RocksDB options that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class StoreOptions:
    """Bounds of one store. The defaults suit a leader that stays near 150 MB of memory under load.

    write_buffers_bytes: all memtables together. cache_bytes: blocks of the tables, of all column families together.
    max_open_files: table and blob files held open. min_blob_bytes: chunks from this size on lie in blob files, smaller
    ones inside the tables. max_wal_bytes: what a restart may have to replay. stall_seconds: how long a write waits for
    flushes to catch up before it gives up with OutOfSpace. background_jobs: RocksDB's own threads.
    """

    write_buffers_bytes: int = 64 * MIB
    cache_bytes: int = 16 * MIB
    max_open_files: int = 512
    min_blob_bytes: int = 2048
    max_wal_bytes: int = 128 * MIB
    stall_seconds: float = 30.0
    background_jobs: int = 2
