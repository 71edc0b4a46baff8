"""What a store says of itself: the version of its format, and its id."""

from __future__ import annotations

import secrets

from joblog.errors import Corrupt, WrongVersion
from joblog.leader.buffer import keys
from joblog.leader.buffer.engine import Engine, Operations

FORMAT_VERSION = 2


def check_format(engine: Engine) -> str:
    """The store's id; gives one to a new store. Raises WrongVersion, Corrupt."""
    version = engine.get(keys.META, keys.META_FORMAT)
    if version is None:
        if not engine.is_new():
            raise Corrupt(f"store {engine.path}: a RocksDB without joblog's format version is none of joblog's stores")
        store_id = secrets.token_hex(16)
        puts = [
            (keys.META, keys.META_FORMAT, FORMAT_VERSION.to_bytes(4, "big")),
            (keys.META, keys.META_STORE_ID, store_id.encode()),
        ]
        engine.write(Operations([], [], puts))
        engine.sync()
        return store_id
    if version != FORMAT_VERSION.to_bytes(4, "big"):
        raise WrongVersion(
            f"store {engine.path} has format version {int.from_bytes(version, 'big')}; this joblog knows version "
            f"{FORMAT_VERSION}: use the joblog that wrote it"
        )
    found = engine.get(keys.META, keys.META_STORE_ID)
    if found is None:
        raise Corrupt(f"store {engine.path}: its id is missing; restore a backup")
    return found.decode()
