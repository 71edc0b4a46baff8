"""The leader's store of chunks and records on its own disk; the only user of RocksDB."""
