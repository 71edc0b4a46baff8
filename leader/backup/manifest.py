"""The manifest of a backup: what was backed up, and which pieces make up each file. Layout: docs/format.md."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

import zstandard

from joblog.errors import Corrupt, WrongVersion
from joblog.leader.archive.fields import Fields, format_time, parse_document
from joblog.leader.backup.keys import BackupKeys
from joblog.leader.backup.layout import is_backup_id, is_copy_name
from joblog.leader.backup.piece import MAX_PIECE_BYTES

MAGIC = b"JLBACKUP"
VERSION = 1
_HEAD = struct.Struct(">8sB3xIQ")
HEAD_BYTES = _HEAD.size
MAX_SUMMARY_BYTES = 16 << 10
# Of some 50 TB.
MAX_BODY_BYTES = 512 << 20
MAX_MANIFEST_BYTES = HEAD_BYTES + MAX_SUMMARY_BYTES + MAX_BODY_BYTES
_FILE_PATH = re.compile(r"(?:store|access)/[A-Za-z0-9][A-Za-z0-9._-]{0,120}\Z", re.ASCII)
_CONTENT_BYTES = 32


class Summary(NamedTuple):
    """What a listing shows of a backup.

    created_ns: the point in time that it holds. bytes: of all files; sent_bytes: of the objects that were new.
    store_version, joblog: what wrote it. kms, kms_key_id: of the store's present KMS. reason: "schedule" or "asked".
    """

    id: str
    created_ns: int
    finished_ns: int
    store_id: str
    store_version: int
    host: str
    joblog: str
    files: int
    bytes: int
    sent_bytes: int
    kms: str
    kms_key_id: str
    reason: str


class PieceRef(NamedTuple):
    """A piece of a file: the name of the object that holds it (layout.new_copy_name), and its length in bytes."""

    name: str
    length: int


class BackedUp(NamedTuple):
    """A file. path: store/NAME or access/state. content: the id of its whole content.

    modified_ns, inode: of the file when it was read: one that has both, and name and size, is the same.
    """

    path: str
    size: int
    content: bytes
    modified_ns: int
    inode: int
    pieces: tuple[PieceRef, ...]


class Manifest(NamedTuple):
    """A backup as a whole; it needs no other one."""

    summary: Summary
    files: tuple[BackedUp, ...]

    def names(self) -> Iterator[str]:
        """Names of all objects that it needs; some more than once."""
        return (piece.name for file in self.files for piece in file.pieces)


def content_of(keys: BackupKeys, pieces: tuple[PieceRef, ...]) -> bytes:
    """The id of the content that these pieces make up."""
    return keys.name(b"".join(bytes.fromhex(piece.name[:64]) + piece.length.to_bytes(4, "big") for piece in pieces))


def pack_manifest(keys: BackupKeys, manifest: Manifest) -> bytes:
    """The object."""
    summary = _summary_fields(manifest.summary)
    files = [
        {
            "path": file.path,
            "size": file.size,
            "content": file.content.hex(),
            "modified_ns": file.modified_ns,
            "inode": file.inode,
            "pieces": [[piece.name, piece.length] for piece in file.pieces],
        }
        for file in manifest.files
    ]
    backup_id = manifest.summary.id
    body = json.dumps({"summary": summary, "files": files}, separators=(",", ":")).encode()
    head = keys.seal_manifest(json.dumps(summary).encode(), _bound(backup_id, b"summary"))
    sealed = keys.seal_manifest(zstandard.ZstdCompressor(level=3).compress(body), _bound(backup_id, b"body"))
    return _HEAD.pack(MAGIC, VERSION, len(head), len(sealed)) + head + sealed


def _bound(backup_id: str, part: bytes) -> bytes:
    return b"joblog backup manifest 1 " + part + b" " + backup_id.encode()


def _summary_fields(summary: Summary) -> dict[str, object]:
    fields = summary._asdict()
    fields["created_at"] = format_time(fields.pop("created_ns"))
    fields["finished_at"] = format_time(fields.pop("finished_ns"))
    return fields


def summary_end(data: bytes, backup_id: str, size: int) -> int:
    """Where the sealed summary ends in an object of `size` bytes that begins with `data`.

    Raises Corrupt, WrongVersion.
    """
    if len(data) < _HEAD.size:
        raise Corrupt(f"backup {backup_id}: its manifest is cut short")
    magic, version, head, body = _HEAD.unpack_from(data)
    if magic != MAGIC:
        raise Corrupt(f"backup {backup_id}: its manifest is none of joblog's")
    if version != VERSION:
        raise WrongVersion(
            f"backup {backup_id} has format version {version}; this joblog knows version {VERSION}: use a newer one"
        )
    if head > MAX_SUMMARY_BYTES or body > MAX_BODY_BYTES or _HEAD.size + head + body != size:
        raise Corrupt(f"backup {backup_id}: its manifest is cut short, or was changed")
    return int(_HEAD.size + head)


def unpack_summary(keys: BackupKeys, data: bytes, backup_id: str, size: int) -> Summary:
    """The summary at the start `data` of a manifest of `size` bytes. Raises Corrupt, WrongVersion."""
    end = summary_end(data, backup_id, size)
    what = f"backup {backup_id}"
    try:
        opened = keys.open_manifest(data[_HEAD.size : end], _bound(backup_id, b"summary"))
    except Corrupt as error:
        raise Corrupt(f"{what}: its manifest can't be opened: {error}") from None
    return _read_summary(parse_document(opened, what, MAX_SUMMARY_BYTES), backup_id)


def unpack_manifest(keys: BackupKeys, data: bytes, backup_id: str) -> Manifest:
    """What pack_manifest() was given. Raises Corrupt, WrongVersion."""
    what = f"backup {backup_id}"
    summary = unpack_summary(keys, data, backup_id, len(data))
    end = summary_end(data, backup_id, len(data))
    try:
        opened = keys.open_manifest(data[end:], _bound(backup_id, b"body"))
        body = zstandard.ZstdDecompressor().decompress(opened, max_output_size=MAX_BODY_BYTES)
    except Corrupt as error:
        raise Corrupt(f"{what}: its manifest can't be opened: {error}") from None
    except zstandard.ZstdError as error:
        raise Corrupt(f"{what}: its manifest does not inflate: {error}") from None
    fields = parse_document(body, what, MAX_BODY_BYTES)
    if _read_summary(fields.object("summary"), backup_id) != summary:
        fields.fail("summary", "is not the one before it")
    files = tuple(_read_file(keys, each) for each in fields.objects("files"))
    fields.end()
    if len({file.path for file in files}) != len(files) or len(files) != summary.files:
        fields.fail("files", "is not as the summary says")
    return Manifest(summary, files)


def _read_summary(fields: Fields, backup_id: str) -> Summary:
    summary = Summary(
        id=fields.text("id"),
        created_ns=fields.time_ns("created_at"),
        finished_ns=fields.time_ns("finished_at"),
        store_id=fields.text("store_id"),
        store_version=fields.integer("store_version"),
        host=fields.text("host"),
        joblog=fields.text("joblog"),
        files=fields.integer("files"),
        bytes=fields.integer("bytes"),
        sent_bytes=fields.integer("sent_bytes"),
        kms=fields.text("kms"),
        kms_key_id=fields.text("kms_key_id"),
        reason=fields.text("reason"),
    )
    fields.end()
    if summary.id != backup_id or not is_backup_id(summary.id):
        fields.fail("id", "is that of another backup: it was moved here")
    return summary


def _read_file(keys: BackupKeys, fields: Fields) -> BackedUp:
    path = fields.text("path")
    if not _FILE_PATH.match(path):
        fields.fail("path", f"is {path[:80]!r}, which no file of a backup has")
    size = fields.integer("size")
    pieces = tuple(_read_piece(fields, item) for item in fields.items("pieces"))
    if sum(piece.length for piece in pieces) != size:
        fields.fail("pieces", f"do not make up {size} bytes")
    content = fields.hex("content", _CONTENT_BYTES)
    if content != content_of(keys, pieces):
        fields.fail("content", "is not that of its pieces")
    found = BackedUp(path, size, content, fields.integer("modified_ns"), fields.integer("inode"), pieces)
    fields.end()
    return found


def _read_piece(fields: Fields, item: object) -> PieceRef:
    if (
        not isinstance(item, list)
        or len(item) != 2
        or not isinstance(item[0], str)
        or not is_copy_name(item[0])
        or type(item[1]) is not int
        or not 0 < item[1] <= MAX_PIECE_BYTES
    ):
        fields.fail("pieces", "is not a list of names and lengths")
    return PieceRef(item[0], item[1])
