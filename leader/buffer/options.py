"""What the store may use of memory and disk, and the RocksDB options that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    DBRecoveryMode,
    Options,
)

from joblog.leader.buffer.keys import CHUNKS, COLUMN_FAMILIES

MIB = 1 << 20
# The share of blob files, the oldest, that a compaction clears of what was deleted.
BLOB_GC_AGE_CUTOFF = 0.25
# So many flushes of chunks make a compaction.
CHUNK_TABLES = 16
_L0_TRIGGERS = (40, 60)


class Spared(Enum):
    """What of the chunks' files compactions leave alone, as it is damaged."""

    NOTHING = ""
    BLOBS = "blobs"
    TABLES = "tables"


@dataclass(frozen=True)
class StoreOptions:
    """Bounds of one store. The defaults suit a leader that stays near 150 MB of memory under load.

    write_buffers_bytes: all memtables together. cache_bytes: blocks of the tables, of all column families together.
    max_open_files: table and blob files held open. min_blob_bytes: chunks from this size on lie in blob files, smaller
    ones inside the tables. blob_file_bytes: size of a blob file; space comes back in such pieces. max_wal_bytes: what a
    restart may have to replay. stall_seconds: how long a write waits for flushes to catch up before it gives up with
    Unavailable. background_jobs: RocksDB's own threads.
    """

    write_buffers_bytes: int = 64 * MIB
    cache_bytes: int = 16 * MIB
    max_open_files: int = 512
    min_blob_bytes: int = 2048
    blob_file_bytes: int = 64 * MIB
    max_wal_bytes: int = 128 * MIB
    stall_seconds: float = 30.0
    background_jobs: int = 2


DEFAULT_OPTIONS = StoreOptions()


def database_options(options: StoreOptions) -> Options:
    """Options of the database as a whole."""
    database = Options(raw_mode=True)
    database.create_if_missing(True)
    database.create_missing_column_families(True)
    database.set_paranoid_checks(True)
    # After a power cut the tail that was never synced may be torn or full of holes; up to there the store is whole.
    # That no synced write lies beyond is checked by the engine (its sync mark), as this mode alone would not tell.
    database.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    database.set_db_write_buffer_size(options.write_buffers_bytes)
    database.set_max_total_wal_size(options.max_wal_bytes)
    database.set_max_open_files(options.max_open_files)
    database.set_max_background_jobs(options.background_jobs)
    database.set_bytes_per_sync(MIB)
    database.set_avoid_unnecessary_blocking_io(True)
    database.set_keep_log_file_num(4)
    database.set_max_log_file_size(4 * MIB)
    database.set_stats_dump_period_sec(0)
    database.set_stats_persist_period_sec(0)
    return database


# What RocksDB must not do once files of chunks are damaged: a compaction that meets damage fails, and no write is taken
# from then on. Moving blobs reads them; any compaction reads tables.
NO_BLOBS = {"enable_blob_garbage_collection": "false"}
NO_TABLES = {
    "disable_auto_compactions": "true",
    "level0_slowdown_writes_trigger": "1000000",
    "level0_stop_writes_trigger": "1000000",
}


def spared_options(spared: Spared) -> dict[str, str]:
    """The changeable options of chunks in a store of which so much is damaged."""
    blobs = NO_BLOBS if spared is not Spared.NOTHING else {"enable_blob_garbage_collection": "true"}
    if spared is Spared.TABLES:
        return {**blobs, **NO_TABLES}
    slow, stop = map(str, _L0_TRIGGERS)
    triggers = {"level0_slowdown_writes_trigger": slow, "level0_stop_writes_trigger": stop}
    return {**blobs, "disable_auto_compactions": "false", **triggers}


def family_options(name: str, options: StoreOptions, cache: Cache, spared: Spared = Spared.NOTHING) -> Options:
    """Options of column family `name`. spared: of chunks."""
    family = Options(raw_mode=True)
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    table.set_bloom_filter(10, False)
    table.set_format_version(5)
    family.set_block_based_table_factory(table)
    family.set_level_compaction_dynamic_level_bytes(True)
    # The engine turns "slow down" into waiting outside the interpreter lock; far-off triggers keep that rare.
    family.set_level_zero_slowdown_writes_trigger(_L0_TRIGGERS[0])
    family.set_level_zero_stop_writes_trigger(_L0_TRIGGERS[1])
    if name == CHUNKS:
        _set_chunks(family, options)
        family.set_enable_blob_gc(spared is Spared.NOTHING)
        if spared is Spared.TABLES:
            family.set_disable_auto_compactions(True)
            family.set_level_zero_slowdown_writes_trigger(1_000_000)
            family.set_level_zero_stop_writes_trigger(1_000_000)
    else:
        family.set_write_buffer_size(min(4 * MIB, options.write_buffers_bytes // 4))
        family.set_max_write_buffer_number(3)
        family.set_compression_type(DBCompressionType.lz4())
    return family


def _set_chunks(family: Options, options: StoreOptions) -> None:
    """Chunks are compressed and encrypted already: nothing is gained by compressing them, so large ones go to blobs."""
    family.set_write_buffer_size(options.write_buffers_bytes // 4)
    family.set_max_write_buffer_number(6)
    family.set_compression_type(DBCompressionType.none())
    family.set_enable_blob_files(True)
    family.set_min_blob_size(options.min_blob_bytes)
    family.set_blob_file_size(options.blob_file_bytes)
    family.set_blob_compression_type(DBCompressionType.none())
    # A compaction also moves the chunks that still live out of the oldest blob files. With all of them in question, and
    # one with every fourth flush, that took twice the CPU of everything else here; the tables themselves are small, as
    # they hold little but references. Engine.compact() asks for all files.
    family.set_level_zero_file_num_compaction_trigger(CHUNK_TABLES)
    family.set_enable_blob_gc(True)
    family.set_blob_gc_age_cutoff(BLOB_GC_AGE_CUTOFF)
    family.set_blob_gc_force_threshold(0.5)


ALL_FAMILIES = ("default", *COLUMN_FAMILIES)
