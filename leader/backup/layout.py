"""Keys of a backup target's objects, as docs/format.md, "Backup target", describes them. Pure functions, no state."""

from __future__ import annotations

import re
import secrets
import time

from joblog.errors import InvalidInput
from joblog.identity import check_name

REPOSITORY_KEY = "repository.json"
PIECES_PREFIX = "pieces/"
BACKUPS_PREFIX = "backups/"
VERIFIED_PREFIX = "verified/"
FENCE_PREFIX = "_live/stores/"
# Below _live/, as nothing there is locked or put into another storage class.
RUNNING_PREFIX = "_live/running/"
TRASH_PREFIX = "_live/trash/"

PIECE_ID_BYTES = 32
_COPY_BYTES = 4
_ID = re.compile(r"[0-9]{8}T[0-9]{9}Z-[0-9a-f]{8}\Z", re.ASCII)
_PIECE = re.compile(r"[0-9a-f]{64}-[0-9a-f]{8}\Z", re.ASCII)


def new_backup_id(now_ns: int) -> str:
    """The id of a backup that begins now; later ones sort behind it."""
    seconds, milliseconds = now_ns // 10**9, now_ns // 10**6 % 1000
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(seconds))}{milliseconds:03}Z-{secrets.token_hex(4)}"


def is_backup_id(text: str) -> bool:
    """Whether `text` can be the id of a backup."""
    return _ID.match(text) is not None


def check_backup_id(text: str) -> str:
    """Returns `text` when it can be the id of a backup; raises InvalidInput."""
    if not is_backup_id(text):
        raise InvalidInput(
            f"{text[:60]!r} is not the id of a backup, such as 20260131T120000000Z-0a1b2c3d: `joblog backup list`"
        )
    return text


def new_copy_name(piece_id: bytes) -> str:
    """A name for an object with this piece that no other object ever has: what is deleted is never put again."""
    return f"{piece_id.hex()}-{secrets.token_hex(_COPY_BYTES)}"


def is_copy_name(text: str) -> bool:
    """Whether `text` can be made by new_copy_name()."""
    return _PIECE.match(text) is not None


def piece_of(name: str) -> bytes:
    """The id of the piece in a name made by new_copy_name()."""
    return bytes.fromhex(name[: 2 * PIECE_ID_BYTES])


def piece_key(name: str) -> str:
    """Where the object with this name lies."""
    return f"{PIECES_PREFIX}{name[:2]}/{name}"


def parse_piece_key(key: str) -> str | None:
    """The name in a key made by piece_key(); None for any other key."""
    name = key.rpartition("/")[2]
    return name if is_copy_name(name) and piece_key(name) == key else None


def backup_key(backup_id: str) -> str:
    """The manifest of a backup: there when the backup is complete."""
    return f"{BACKUPS_PREFIX}{check_backup_id(backup_id)}"


def parse_backup_key(key: str) -> str | None:
    """The id in a key made by backup_key(); None for any other key."""
    found = key.removeprefix(BACKUPS_PREFIX)
    return found if found != key and is_backup_id(found) else None


def fence_key(store_id: str) -> str:
    """Says which life of a store counts."""
    return f"{FENCE_PREFIX}{check_name('store', store_id)}.json"


def verified_key(backup_id: str) -> str:
    """What verifying a backup has found."""
    return f"{VERIFIED_PREFIX}{check_backup_id(backup_id)}.json"


def running_key(backup_id: str) -> str:
    """Says that a backup is being made."""
    return f"{RUNNING_PREFIX}{check_backup_id(backup_id)}.json"


def parse_running_key(key: str) -> str | None:
    """The id in a key made by running_key(); None for any other key."""
    found = key.removeprefix(RUNNING_PREFIX).removesuffix(".json")
    return found if is_backup_id(found) and running_key(found) == key else None
