"""Keys of the archive's objects, as docs/format.md, "Archive layout", describes them. Pure functions, no state.

Keys are relative to the archive's prefix. A key has at most MAX_KEY_BYTES bytes, all of them ASCII.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from joblog.errors import InvalidInput
from joblog.identity import LogName, check_log_name, check_name

LIVE_PREFIX = "_live/"
KEYS_PREFIX = "_keys/"
ACCESS_KEY = "_access/state"
HOLDS_KEY = "_holds/state"
SEALED_NAME = "log.joblog"
METADATA_NAME = "metadata.json"
PLAIN_NAME = "logs.txt"
# Three names of 250 characters, an attempt of 10, the longest file name, slashes.
MAX_KEY_BYTES = 820

# A namespace may be called so too; "!" is in no name.
_ESCAPED = {"_live": "!_live", "_keys": "!_keys", "_access": "!_access", "_holds": "!_holds"}
_NAMES = {escaped: name for name, escaped in _ESCAPED.items()}
_SEGMENT = re.compile(r"([0-9]{20})-([0-9]{20})\.seg\Z")
_STORE_KEY = re.compile(r"_keys/([0-9a-f]{32})\.json\Z")
_PACK = re.compile(r"([0-9]{20})\.pack\Z")


class LogKey(NamedTuple):
    """What a key in a log's folder is for. file: SEALED_NAME, METADATA_NAME, PLAIN_NAME, or the name of a segment.

    from_offset, to_offset: of a segment, else 0.
    """

    name: LogName
    file: str
    from_offset: int = 0
    to_offset: int = 0


def namespace_prefix(namespace: str) -> str:
    """What the keys of a namespace's logs start with."""
    check_name("namespace", namespace)
    return f"{_ESCAPED.get(namespace, namespace)}/"


def run_prefix(namespace: str, run: str) -> str:
    """What the keys of a run's logs start with."""
    return f"{namespace_prefix(namespace)}{check_name('run', run)}/"


def log_prefix(name: LogName) -> str:
    """What the keys of a log, whose attempt must be said, start with."""
    check_log_name(name)
    return f"{run_prefix(name.namespace, name.run)}{name.task}/{name.attempt}/"


def sealed_key(name: LogName) -> str:
    """The sealed log."""
    return log_prefix(name) + SEALED_NAME


def metadata_key(name: LogName) -> str:
    """A completed log's metadata."""
    return log_prefix(name) + METADATA_NAME


def plain_key(name: LogName) -> str:
    """The copy in clear text."""
    return log_prefix(name) + PLAIN_NAME


def segment_key(name: LogName, from_offset: int, to_offset: int) -> str:
    """A live log's rolled-up range; keys sort by offset."""
    if not 0 <= from_offset < to_offset < 2**64:
        raise InvalidInput(f"segment from {from_offset} to {to_offset}: is no range of offsets")
    return f"{log_prefix(name)}{from_offset:020}-{to_offset:020}.seg"


def live_prefix(leader: str) -> str:
    """What the keys of a leader's live logs start with. leader: its id, a valid name."""
    return f"{LIVE_PREFIX}{check_name('leader', leader)}/"


def pack_key(leader: str, sequence: int) -> str:
    """A pack; keys sort by sequence."""
    if not 0 <= sequence < 2**64:
        raise InvalidInput(f"pack number {sequence} is out of range: 0 to 2**64-1")
    return f"{live_prefix(leader)}{sequence:020}.pack"


def roster_key(leader: str, sequence: int) -> str:
    """Identities and wrapped keys of live logs; keys sort by sequence, which they share with packs."""
    return pack_key(leader, sequence).removesuffix(".pack") + ".roster"


def claim_key() -> str:
    """Says which leader may write below the prefix."""
    return f"{LIVE_PREFIX}claim.json"


def store_key_key(key_id: bytes) -> str:
    """A store key, wrapped."""
    return f"{KEYS_PREFIX}{key_id.hex()}.json"


def parse_store_key_key(key: str) -> bytes | None:
    """The id of a store key from its object's key; None for any other key."""
    found = _STORE_KEY.match(key)
    return bytes.fromhex(found[1]) if found else None


def parse_log_key(key: str) -> LogKey | None:
    """What a key in a log's folder is for; None for any other key."""
    parts = key.split("/")
    if len(parts) != 5 or parts[0] in _ESCAPED:
        return None
    namespace, run, task, attempt, file = parts
    if not attempt.isascii() or not attempt.isdigit() or len(attempt) > 10 or attempt.startswith("0"):
        return None
    name = LogName(_NAMES.get(namespace, namespace), run, task, int(attempt))
    try:
        check_log_name(name)
    except InvalidInput:
        return None
    if file in (SEALED_NAME, METADATA_NAME, PLAIN_NAME):
        return LogKey(name, file)
    segment = _SEGMENT.match(file)
    if segment is None or not int(segment[1]) < int(segment[2]) < 2**64:
        return None
    return LogKey(name, file, int(segment[1]), int(segment[2]))


def parse_pack_key(key: str) -> tuple[str, int] | None:
    """(leader, sequence) of a pack's key; None for any other key."""
    parts = key.split("/")
    pack = _PACK.match(parts[-1])
    if len(parts) != 3 or parts[0] + "/" != LIVE_PREFIX or pack is None or int(pack[1]) >= 2**64:
        return None
    try:
        return check_name("leader", parts[1]), int(pack[1])
    except InvalidInput:
        return None


def parse_roster_key(key: str) -> tuple[str, int] | None:
    """(leader, sequence) of a roster's key; None for any other key."""
    stem = key.removesuffix(".roster")
    return parse_pack_key(stem + ".pack") if stem != key else None
