"""Every object of an archive held against its seal, from the bucket and the KMS alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import google_crc32c

from joblog.errors import Corrupt, Denied, NotFound, WrongVersion
from joblog.leader.archive.cache import RangeCache
from joblog.leader.archive.cat import Located, LogParts, Sums, open_log
from joblog.leader.archive.census import load_index, load_metadata, load_rosters, parallel, sealed_extent
from joblog.leader.archive.container import MAGIC, Footer, Record, record_head
from joblog.leader.archive.extent_read import ExtentRead, Want
from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.archive.key_objects import archive_keys, check_store_key
from joblog.leader.archive.layout import (
    METADATA_NAME,
    parse_log_key,
    parse_pack_key,
    parse_roster_key,
    parse_store_key_key,
)
from joblog.leader.archive.metadata import Metadata
from joblog.leader.archive.objects import ObjectInfo, ObjectStore, checksum_text, walk
from joblog.leader.archive.packing import extents_of
from joblog.leader.archive.state_object import STATES, check_state
from joblog.leader.buffer.chunk import KIND_DATA
from joblog.leader.buffer.opening import ForeignText, SourceUnreachable, open_bytes
from joblog.leader.crypto.keyring import DescribedKeys
from joblog.leader.crypto.kms import Kms
from joblog.v1.archive_pb2 import Extent

_LOGS_AT_ONCE = 4
_MAX_PROBLEMS = 20


class Checked(NamedTuple):
    """What became of one object, or of a sealed log, which is its metadata.json and its log.joblog together.

    key: of the object, for a log that of its metadata. name: the log's, "" of others. bytes: of the log.
    problems: what is wrong, for people; empty when it is as it was written.
    """

    key: str
    name: str
    bytes: int
    problems: list[str]


class Verifier:
    """Checks all objects below a prefix of the archive; memory does not grow with their number."""

    def __init__(self, objects: ObjectStore, kms: Kms | DescribedKeys, *, foreign: ForeignText | None = None) -> None:
        """foreign: gives the text of adopted logs."""
        self._objects = objects
        self._foreign = foreign
        self._keys = kms if isinstance(kms, DescribedKeys) else archive_keys(objects, kms)
        self._live: dict[bytes, tuple[Metadata, str]] = {}

    def run(self, prefix: str = "", progress: Callable[[int], None] = lambda _: None) -> Iterator[Checked]:
        """One result after another. progress: told of bytes of logs that were read. Raises what the store raises."""
        broken: dict[str, str] = {}
        self._live = load_rosters(self._objects, broken.__setitem__)
        work = partial(self._check, broken=broken)
        with ThreadPoolExecutor(_LOGS_AT_ONCE, thread_name_prefix="archive-verify") as pool:
            for checked in parallel(pool, work, walk(self._objects, prefix)):
                if checked is not None:
                    progress(checked.bytes)
                    yield checked

    def _check(self, info: ObjectInfo, broken: dict[str, str]) -> Checked | None:
        key = info.key
        try:
            if parse_roster_key(key):
                return Checked(key, "", 0, [broken[key]] if key in broken else [])
            if (kind := STATES.get(key)) is not None:
                return Checked(key, "", 0, check_state(kind, self._objects, self._keys))
            if parse_store_key_key(key):
                return Checked(key, "", 0, check_store_key(self._objects, key, self._keys.kms))
            parsed = parse_log_key(key)
            if parse_pack_key(key) or (parsed is not None and parsed.to_offset):
                return self._check_pack(info)
            if parsed is not None and parsed.file == METADATA_NAME:
                return self._check_log(key)
        except (NotFound, Corrupt, WrongVersion, Denied, SourceUnreachable) as error:
            if isinstance(error, NotFound) and self._objects.head(key) is None:
                # A leader at work has deleted it since it was listed.
                return None
            return Checked(key, "", 0, [str(error)])
        return None

    def _check_log(self, key: str) -> Checked:
        metadata = load_metadata(self._objects, key)
        name, length = str(metadata.name), metadata.record.seal.length
        extent = sealed_extent(metadata)
        if extent is None or metadata.sealed is None:
            return Checked(key, name, 0, ["it says that the log is not sealed"])
        info = self._objects.head(extent.object)
        if info is None:
            return Checked(key, name, 0, [f"{extent.object} is not there"])
        if info.size != metadata.sealed.size:
            return Checked(key, name, 0, [f"{extent.object} has {info.size} bytes, not {metadata.sealed.size}"])
        footer, _ = load_index(self._objects, info)
        sums, whole = Sums(), WholeObject()
        located = Located(metadata, [extent], length)
        cipher = open_log(self._keys, metadata)
        with LogParts(self._objects, cipher, located, observe=whole.add, foreign=self._foreign) as log:
            for part in log.parts():
                sums.add(part)
                if len(sums.problems) >= _MAX_PROBLEMS:
                    break
        problems = sums.compare(metadata.record.seal)
        if footer != metadata.sealed.footer:
            problems.append(f"{extent.object} ends with another footer than {METADATA_NAME} says")
        if not problems:
            problems = self._check_whole(info, footer, metadata.sealed.sha256, whole)
        return Checked(key, name, length, problems[:_MAX_PROBLEMS])

    def _check_whole(self, info: ObjectInfo, footer: Footer, sha256: bytes, whole: WholeObject) -> list[str]:
        """An object all of whose records are right, held against the checksums that were kept of it."""
        if not sha256 and not info.checksum:
            return []
        position = footer.index_position
        whole.update(self._objects.get(info.key, position, info.size - position))
        problems = []
        if sha256 and whole.sha256 != sha256:
            problems.append(f"{info.key} has SHA-256 {whole.sha256.hex()}, {METADATA_NAME} says {sha256.hex()}")
        if info.checksum and whole.checksum != info.checksum:
            problems.append(f"{info.key} has {whole.checksum}, the store says {info.checksum}")
        return problems

    def _check_pack(self, info: ObjectInfo) -> Checked:
        try:
            footer, index = load_index(self._objects, info)
        except Corrupt as error:
            segment = parse_log_key(info.key)
            if segment is None:
                raise Corrupt(f"{error}: which ranges of which logs are in it can't be told") from None
            raise Corrupt(
                f"log {segment.name}, offsets {segment.from_offset} to {segment.to_offset}: {error}"
            ) from None
        reader = ExtentReader(self._objects, RangeCache(0), threads=_LOGS_AT_ONCE)
        problems: list[str] = []
        total = 0
        try:
            for entries in index.logs.values():
                if len(entries):
                    total += self._check_extents(
                        reader, list(extents_of(entries, footer, info.key, 0)), entries.uid, problems
                    )
        finally:
            reader.close()
        return Checked(info.key, "", total, problems[:_MAX_PROBLEMS])

    def _check_extents(self, reader: ExtentReader, extents: list[Extent], uid: bytes, problems: list[str]) -> int:
        """Reads what an object holds of one log; opens it where a roster has the log's key. Returns its bytes."""
        total = 0
        metadata = self._live[uid][0] if uid in self._live else None
        cipher = None if metadata is None else open_log(self._keys, metadata)
        where = f"log {uid.hex()}" if metadata is None else f"log {metadata.name}"
        want = Want(extents[0].offset, extents[-1].end_offset, sequential=True)

        def lost(begin: int, end: int, why: str) -> None:
            problems.append(f"{where}, offsets {begin} to {end}: {why}")

        for record in ExtentRead(reader, extents, uid, want, lost).records():
            total += record.header.raw_length
            try:
                if cipher is not None and record.header.kind == KIND_DATA:
                    open_bytes(cipher, record.offset, record.header, record.sealed)
            except Corrupt as error:
                end = record.offset + record.header.raw_length
                problems.append(f"{where}, offsets {record.offset} to {end}: {error}")
        return total


class WholeObject:
    """What an object of one log adds up to, from its magic, its records in order, and what follows them."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._crc32c = 0
        self.update(MAGIC)

    def update(self, data: bytes) -> None:
        """The next bytes."""
        self._sha256.update(data)
        self._crc32c = google_crc32c.extend(self._crc32c, data)

    def add(self, record: Record) -> None:
        """The next record, which was held against its own checksum: its head follows from the rest of it."""
        self.update(record_head(record.offset, record.value))
        self.update(record.value)

    @property
    def sha256(self) -> bytes:
        """Of all so far."""
        return self._sha256.digest()

    @property
    def checksum(self) -> str:
        """Of all so far, as ObjectInfo has it."""
        return checksum_text(self._crc32c)
