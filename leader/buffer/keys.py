"""Column families and keys of the store, as docs/format.md, "Keys", describes them. Pure functions, no state.

Numbers are big-endian, so that byte order is number order. Names hold no NUL (joblog.identity), so a NUL after each
name keeps "a" before "a.b" and lets no name run into the next. Times in lists are inverted: the newest comes first.
"""

from __future__ import annotations

import struct

META = "meta"
RUNS = "runs"
LOGS = "logs"
CHUNKS = "chunks"
EXTENTS = "extents"
KEYS = "keys"
INDEX = "index"
COLUMN_FAMILIES = (META, RUNS, LOGS, CHUNKS, EXTENTS, KEYS, INDEX)

META_FORMAT = b"format"
META_STORE_ID = b"store_id"
META_NEXT_NUMBER = b"next_number"
META_UNREADABLE_HOLDS = b"unreadable_holds"

MAX_U64 = 2**64 - 1
_RECORD = b"r"
_EVENT = b"e"
_GAP = b"g"
_VERIFIED = b"v"
_DEK = b"d"
_KEYRING = b"k"
# A record of the keyring's: there as long as files may hold the DEKs of deleted logs.
SHRED = _KEYRING + b"shred"
_ATTEMPT = b"a"
_UNSEALED = b"c"
_DEATH = b"d"
_EXPIRING = b"e"
_HOLD = b"h"
_UNMERGED = b"n"
_LABEL = b"l"
_ROSTER = b"m"
_OPEN = b"o"
_EXPORT = b"p"
_STATE = b"s"
_TIME = b"t"
_WRITER = b"w"
_USES = b"x"
_UNUSED = b"y"
_LOCKED = b"z"
_NUL = b"\0"
_TWO_U64 = struct.Struct(">QQ")
CHUNK_KEY_BYTES = _TWO_U64.size
_WRITER_VALUE = struct.Struct(">QB")


def u64(value: int) -> bytes:
    """8 bytes, big-endian."""
    return value.to_bytes(8, "big")


def number_of(key: bytes) -> int:
    """The big-endian number in the last 8 bytes of a key, or in a value of 8 bytes."""
    return int.from_bytes(key[-8:], "big")


def after(prefix: bytes) -> bytes:
    """The least key greater than all keys that start with `prefix`, which must not be all 0xff."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1])


def _names(*names: str) -> bytes:
    return b"".join(name.encode() + _NUL for name in names)


def run_key(namespace: str, run: str) -> bytes:
    """runs: the run's record."""
    return namespace.encode() + _NUL + run.encode()


def namespace_of(key: bytes) -> str:
    """The namespace in a key of runs."""
    return key[: key.index(_NUL)].decode()


def namespace_end(namespace: str) -> bytes:
    """runs: greater than every key of the namespace, and not than those of a later one."""
    return namespace.encode() + b"\x01" if namespace else b""


def record_key(number: int) -> bytes:
    """logs: the log's record."""
    return _RECORD + u64(number)


def event_prefix(number: int) -> bytes:
    """logs: what the keys of a log's events start with."""
    return _EVENT + u64(number)


def event_key(number: int, offset: int, time_ns: int, kind: str) -> bytes:
    """logs: one event; its kind is part of the key, so that one sent again takes its own place."""
    return _EVENT + u64(number) + u64(offset) + u64(time_ns) + kind.encode()


def gap_prefix(number: int) -> bytes:
    """logs: what the keys of a log's gaps start with."""
    return _GAP + u64(number)


def gap_key(number: int, offset: int) -> bytes:
    """logs: one gap."""
    return _GAP + u64(number) + u64(offset)


def verified_key(number: int) -> bytes:
    """logs: when the log was last verified."""
    return _VERIFIED + u64(number)


def chunk_key(number: int, offset: int) -> bytes:
    """chunks: the chunk of log `number` that starts at `offset`."""
    return _TWO_U64.pack(number, offset)


def parse_chunk_key(key: bytes) -> tuple[int, int]:
    """(number, offset) of a key of chunks."""
    number, offset = _TWO_U64.unpack(key)
    return number, offset


def extent_key(number: int, offset: int) -> bytes:
    """extents: the extent of log `number` that starts at `offset`."""
    return _TWO_U64.pack(number, offset)


def dek_key(number: int) -> bytes:
    """keys: the wrapped DEK of log `number`."""
    return _DEK + u64(number)


def wrapping_key_of(wrapped: bytes) -> bytes:
    """The id of the store key in a wrapped DEK; of no use where that is damaged."""
    return wrapped[1:17]


def keyring_key(name: bytes) -> bytes:
    """keys: a record of the keyring."""
    return _KEYRING + name


def keyring_name(key: bytes) -> bytes:
    """The name in a key made by keyring_key()."""
    return key[len(_KEYRING) :]


def attempt_prefix(namespace: str, run: str, task: str = "") -> bytes:
    """index: what the keys of a run's attempts, or with `task` of that task's, start with."""
    return _ATTEMPT + (_names(namespace, run, task) if task else _names(namespace, run))


def attempt_key(namespace: str, run: str, task: str, attempt: int) -> bytes:
    """index: leads to the number of a log."""
    return attempt_prefix(namespace, run, task) + attempt.to_bytes(4, "big")


def parse_attempt_key(key: bytes) -> tuple[str, str, str, int]:
    """(namespace, run, task, attempt) of a key made by attempt_key()."""
    namespace, run, task = key[1:-5].decode().split("\0")
    return namespace, run, task, int.from_bytes(key[-4:], "big")


def open_prefix() -> bytes:
    """index: what the keys of logs that are not completed start with."""
    return _OPEN


def open_key(number: int) -> bytes:
    """index: there as long as the log is not completed."""
    return _OPEN + u64(number)


def unsealed_prefix() -> bytes:
    """index: what the keys of completed logs that are not in the archive as a whole start with."""
    return _UNSEALED


def unsealed_key(number: int) -> bytes:
    """index: there from a log's completion until it is sealed in the archive."""
    return _UNSEALED + u64(number)


def unmerged_prefix() -> bytes:
    """index: what the keys of completed logs whose small chunks are not merged start with."""
    return _UNMERGED


def unmerged_key(number: int) -> bytes:
    """index: there from a log's completion until its small chunks are merged, or it is sealed in the archive."""
    return _UNMERGED + u64(number)


def export_prefix() -> bytes:
    """index: what the keys of logs that are not exported wholly start with."""
    return _EXPORT


def export_key(number: int) -> bytes:
    """index: how far a log that is to be exported was; goes when all of it was."""
    return _EXPORT + u64(number)


def death_prefix() -> bytes:
    """index: what the keys of logs whose death report was not sent out yet start with."""
    return _DEATH


def death_key(number: int) -> bytes:
    """index: there from a log's death report until that was sent out."""
    return _DEATH + u64(number)


def roster_key(number: int) -> bytes:
    """index: leads to the key of the archive object that holds a live log's identity and wrapped DEK."""
    return _ROSTER + u64(number)


def uses_key(object_key: str) -> bytes:
    """index: how many extents and logs name an archive object."""
    return _USES + object_key.encode()


def unused_prefix() -> bytes:
    """index: what the keys of archive objects that may be there and that nothing names start with."""
    return _UNUSED


def unused_key(object_key: str) -> bytes:
    """index: since when nothing names an archive object that may be there; it is to be deleted."""
    return _UNUSED + object_key.encode()


def object_of(key: bytes) -> str:
    """The archive object's key in one made by unused_key()."""
    return key[1:].decode()


def locked_prefix() -> bytes:
    """index: what the keys of archive objects that are deleted, and of which a lock keeps versions, start with."""
    return _LOCKED


def locked_key(until_ns: int, object_key: str) -> bytes:
    """index: an archive object of which versions are to be deleted once a lock lets go of them."""
    return _LOCKED + u64(until_ns) + object_key.encode()


def parse_locked_key(key: bytes) -> tuple[int, str]:
    """(until_ns, object's key) of a key made by locked_key()."""
    return int.from_bytes(key[1:9], "big"), key[9:].decode()


def writer_key(namespace: str, run: str, task: str, writer_id: bytes) -> bytes:
    """index: leads from a writer id to its log; stays as a tombstone when the log is deleted."""
    return _WRITER + _names(namespace, run, task) + writer_id


def pack_writer(number: int, *, deleted: bool) -> bytes:
    """The value under writer_key()."""
    return _WRITER_VALUE.pack(number, deleted)


def unpack_writer(value: bytes) -> tuple[int, bool]:
    """(number, deleted) of a value under writer_key()."""
    number, deleted = _WRITER_VALUE.unpack(value)
    return number, bool(deleted)


def expiring_prefix() -> bytes:
    """index: what the keys of runs that are being deleted piece by piece start with."""
    return _EXPIRING


def expiring_key(namespace: str, run: str) -> bytes:
    """index: there from the first logs of a large run being deleted until the last ones are."""
    return _EXPIRING + _names(namespace) + run.encode()


def parse_expiring_key(key: bytes) -> tuple[str, str]:
    """(namespace, run) of a key made by expiring_key()."""
    namespace, run = key[1:].decode().split("\0")
    return namespace, run


def hold_prefix() -> bytes:
    """index: what the keys of holds start with."""
    return _HOLD


def hold_key(namespace: str, run: str, label: str, value: str) -> bytes:
    """index: the hold on a run, or with `label` on all runs with that label, in a namespace ("" for all)."""
    return _HOLD + (_names(namespace, label) + value.encode() if label else _names(namespace, "") + run.encode())


def time_prefix(namespace: str) -> bytes:
    """index: what the keys of a namespace's runs by time start with."""
    return _TIME + _names(namespace)


def state_prefix(namespace: str, state: int) -> bytes:
    """index: what the keys of a namespace's runs in one state start with."""
    return _STATE + _names(namespace) + bytes([state])


def label_prefix(namespace: str, label: str, value: str) -> bytes:
    """index: what the keys of a namespace's runs with one label start with."""
    return _LABEL + _names(namespace, label, value)


def position(created_ns: int, run: str) -> bytes:
    """A run's place in every list of runs, to stand behind one of the three prefixes: newest first, then by name."""
    return u64(MAX_U64 - created_ns) + run.encode()


def parse_position(place: bytes) -> tuple[int, str]:
    """(created_ns, run) of position()."""
    return MAX_U64 - int.from_bytes(place[:8], "big"), place[8:].decode()
