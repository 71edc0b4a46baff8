"""What lies in a spool folder: names, records, segment headers, task.json, the control page (docs/format.md, "Spool").

Pure codecs, and nothing imported that a supervisor of a quiet task could do without.
"""

from __future__ import annotations

import json
import struct
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

VERSION = 1
# Of spools that are sealed (worker.spool.sealing).
SEALED_VERSION = 2

TASK_FILE = "task.json"
LOCK_FILE = "lock"
CONTROL_FILE = "control"
RESERVE_FILE = "reserve"
SEGMENT_SUFFIX = ".seg"
NOTIFY_SOCKET = "notify.sock"
# Beside the spools: those that the leader refuses for good, and in each of them why.
REFUSED_FOLDER = "refused"
REFUSAL_FILE = "refusal"
FILE_MODE = 0o600
FOLDER_MODE = 0o700

DATA = 1
GAP = 2
EVENT = 3
END = 4
# How far in the files that a log is read from it has come; for the one that writes the spool, when it starts again.
POSITION = 5

CODEC_NONE = 1
CODEC_ZSTD = 2

# Kind of a spool whose writer follows files: with no end record it is not over, whether its writer lives or not.
FOLLOWED = "followed"

BLOCK = "block"
TRUNCATE = "truncate"

SPOOL_FULL = "spool_full"
LOST = "lost"

MAX_RAW_BYTES = 1 << 20
# No writer makes a body as large: a header that claims more is damaged.
MAX_BODY_BYTES = 8 << 20

SEGMENT_MAGIC = b"JLSPOOL1"
SEALED_MAGIC = b"JLSPOOL2"
SEGMENT_HEADER = struct.Struct("<8sQ")
RECORD_HEADER = struct.Struct("<HBBIQQQQIIII")
RECORD_MAGIC = 0x4A4C
HEADER_BYTES = RECORD_HEADER.size

CONTROL_BYTES = 4096
CONTROL_WAKE_AT = 0
CONTROL_ACKED = 8
CONTROL_LENGTH = 16
CONTROL_DROPPED = 24
CONTROL_RELEASED = 32
CONTROL_DAMAGED = 40
CONTROL_ENDED = 48
NEVER = 2**64 - 1

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
# The header without its check.
CHECKED_BYTES = HEADER_BYTES - 4
_NO_CHECK = b"\0\0\0\0"


class SpoolTask:
    """What task.json says of a task attempt: its identity, how it was started, and its spool's limits.

    attempt: 0 when the leader is to give it. policy: BLOCK or TRUNCATE. kind: "command", "stdin", "runlog"
    or FOLLOWED. source: of the latter, by what it is found again.
    """

    __slots__ = (
        "attempt",
        "command",
        "cwd",
        "host",
        "kind",
        "labels",
        "max_spool_bytes",
        "namespace",
        "policy",
        "run",
        "source",
        "started_ns",
        "task",
        "writer_id",
    )

    def __init__(
        self,
        *,
        writer_id: bytes,
        namespace: str,
        run: str,
        task: str,
        attempt: int = 0,
        command: Sequence[str] = (),
        host: str = "",
        cwd: str = "",
        labels: Mapping[str, str] | None = None,
        started_ns: int = 0,
        max_spool_bytes: int = 256 << 20,
        policy: str = BLOCK,
        kind: str = "command",
        source: str = "",
    ) -> None:
        self.writer_id = writer_id
        self.namespace = namespace
        self.run = run
        self.task = task
        self.attempt = attempt
        self.command = tuple(command)
        self.host = host
        self.cwd = cwd
        self.labels = dict(labels or {})
        self.started_ns = started_ns
        self.max_spool_bytes = max_spool_bytes
        self.policy = policy
        self.kind = kind
        self.source = source

    def fields(self) -> dict[str, Any]:
        """The fields as JSON values."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields["writer_id"] = self.writer_id.hex()
        fields["command"] = list(self.command)
        return fields

    def encode(self) -> bytes:
        """The content of task.json."""
        return json.dumps({"version": VERSION, **self.fields()}).encode()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SpoolTask) and self.fields() == other.fields()

    def __hash__(self) -> int:
        return hash(self.writer_id)


def task_from_fields(fields: Mapping[str, Any]) -> SpoolTask:
    """The reverse of SpoolTask.fields; unknown fields are left aside. Raises KeyError, ValueError, TypeError."""
    known = {name: fields[name] for name in SpoolTask.__slots__ if name in fields}
    return SpoolTask(**{**known, "writer_id": bytes.fromhex(fields["writer_id"])})


def decode_task(content: bytes, where: str) -> SpoolTask:
    """task.json read back. Raises WrongVersion when another version wrote it, Corrupt when it is not whole."""
    from joblog.errors import Corrupt, WrongVersion

    try:
        fields = json.loads(content)
        version = fields["version"]
        if version == VERSION:
            return task_from_fields(fields)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Corrupt(
            f"{where}: is not a task file of a spool: {error!r:.200}; move the folder away to go on"
        ) from None
    raise WrongVersion(
        f"{where}: spool format version {version!r} is not known here, only {VERSION} and {SEALED_VERSION} are; "
        "ship it with the version of joblog that wrote it"
    )


class Header:
    """One record's header; see docs/format.md for what each field means for each kind."""

    __slots__ = (
        "body_length",
        "check",
        "codec",
        "first_time_ns",
        "frames_length",
        "kind",
        "lines_before",
        "newlines",
        "offset",
        "raw_crc32c",
        "raw_length",
    )

    kind: int
    codec: int
    body_length: int
    offset: int
    raw_length: int
    lines_before: int
    first_time_ns: int
    newlines: int
    frames_length: int
    raw_crc32c: int
    check: int


def pack_header(
    kind: int,
    body_length: int,
    *,
    offset: int,
    lines_before: int,
    first_time_ns: int,
    codec: int = CODEC_NONE,
    raw_length: int = 0,
    newlines: int = 0,
    frames_length: int = 0,
    raw_crc32c: int = 0,
) -> bytearray:
    """A record's header, with 0 in the place of its check."""
    return bytearray(
        RECORD_HEADER.pack(
            RECORD_MAGIC,
            kind,
            codec,
            body_length,
            offset,
            raw_length,
            lines_before,
            first_time_ns,
            newlines,
            frames_length,
            raw_crc32c,
            0,
        )
    )


def check_header(header: bytearray, body: Sequence[bytes | bytearray | memoryview]) -> None:
    """Puts the check of a record into its header."""
    check = zlib.crc32(header)
    for part in body:
        check = zlib.crc32(part, check)
    _U32.pack_into(header, CHECKED_BYTES, check)


def encode_header(kind: int, body: Sequence[bytes | bytearray | memoryview], **fields: int) -> bytearray:
    """A record's header, its check included; `body` is the body's parts in order. fields: as of pack_header."""
    header = pack_header(kind, sum(map(len, body)), **fields)
    check_header(header, body)
    return header


def decode_header(data: bytes | memoryview, at: int) -> Header | None:
    """The header at data[at:], or None when it can't be one. Its check is not looked at: see is_whole."""
    header = Header()
    (
        magic,
        header.kind,
        header.codec,
        header.body_length,
        header.offset,
        header.raw_length,
        header.lines_before,
        header.first_time_ns,
        header.newlines,
        header.frames_length,
        header.raw_crc32c,
        header.check,
    ) = RECORD_HEADER.unpack_from(data, at)
    if magic != RECORD_MAGIC or not DATA <= header.kind <= POSITION or header.body_length > MAX_BODY_BYTES:
        return None
    if header.frames_length > header.body_length:
        return None
    return header


def is_whole(header: Header, data: memoryview, at: int) -> bool:
    """Whether the record at data[at:], which must hold all of it, is what was written."""
    check = zlib.crc32(_NO_CHECK, zlib.crc32(data[at : at + CHECKED_BYTES]))
    return zlib.crc32(data[at + HEADER_BYTES : at + HEADER_BYTES + header.body_length], check) == header.check


def encode_segment_header(first_offset: int, *, sealed: bool = False) -> bytes:
    """A segment file's first 16 bytes."""
    return SEGMENT_HEADER.pack(SEALED_MAGIC if sealed else SEGMENT_MAGIC, first_offset)


def decode_segment_header(data: bytes, where: str, *, sealed: bool = False) -> int | None:
    """The segment's first offset; None when the header is not whole or damaged. Raises WrongVersion.

    sealed: what the spool is. A segment that is not what its spool is counts as damaged: nobody may put one in clear
    among those that are sealed.
    """
    if len(data) < SEGMENT_HEADER.size:
        return None
    magic, first_offset = SEGMENT_HEADER.unpack_from(data)
    if magic == (SEALED_MAGIC if sealed else SEGMENT_MAGIC):
        return int(first_offset)
    if magic[:7] == SEGMENT_MAGIC[:7] and magic not in (SEGMENT_MAGIC, SEALED_MAGIC):
        from joblog.errors import WrongVersion

        raise WrongVersion(f"{where}: spool segment format {magic[7:]!r} is not known here, only b'1' and b'2' are")
    return None


def segment_name(number: int) -> str:
    """The file name of segment `number`, from 1."""
    return f"{number:08d}{SEGMENT_SUFFIX}"


def segment_number(name: str) -> int | None:
    """The number of the segment file called `name`; None when it is not one."""
    stem = name.removesuffix(SEGMENT_SUFFIX)
    return int(stem) if stem != name and stem.isascii() and stem.isdigit() else None


def u64_bytes(value: int) -> bytes:
    """A number as the control page holds it."""
    return _U64.pack(value)


def u64_at(page: Any, at: int) -> int:
    """The number at byte `at` of a control page."""
    return int(_U64.unpack_from(page, at)[0])
