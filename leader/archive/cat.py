"""A log read from the bucket and the KMS alone, with no leader and no catalog."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Self

from joblog.errors import Corrupt, NotFound
from joblog.identity import LogName
from joblog.leader.archive.cache import RangeCache
from joblog.leader.archive.census import find_metadata, load_rosters, locate, sealed_extent
from joblog.leader.archive.container import Record
from joblog.leader.archive.extent_read import ExtentRead, Want
from joblog.leader.archive.fetch import ExtentReader, ObjectGone
from joblog.leader.archive.metadata import Metadata, vouched_cipher
from joblog.leader.archive.objects import ObjectStore
from joblog.leader.buffer.chunk import KIND_GAP
from joblog.leader.buffer.opening import ForeignText, open_bytes
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.crypto.keyring import DescribedKeys
from joblog.leader.crypto.kms import Kms
from joblog.v1 import types_pb2
from joblog.v1.archive_pb2 import Extent

_THREADS = 8


class Located(NamedTuple):
    """A log found in the archive. extents: all that is there of it, by offset. length: so much should be there."""

    metadata: Metadata
    extents: list[Extent]
    length: int

    @property
    def sealed(self) -> bool:
        """It is whole; what is there of a live log may have been behind when it was described."""
        return self.metadata.sealed is not None


class Part(NamedTuple):
    """Bytes of a log, or what is missing there. reason: a GapReason; GAP_REASON_LOST also for damage, then with why."""

    offset: int
    length: int
    data: bytes = b""
    reason: int = 0
    why: str = ""


def find_log(objects: ObjectStore, name: LogName) -> Located:
    """Where the log lies; attempt 0 is the newest attempt, sealed or live. Raises NotFound, Corrupt, WrongVersion."""
    sealed = find_metadata(objects, name)
    if sealed is not None and name.attempt:
        return _sealed(sealed)
    wanted = name._replace(attempt=0)
    problems: list[str] = []
    live = [
        named
        for named in load_rosters(objects, lambda key, why: problems.append(f"{key}: {why}")).values()
        if named[0].name._replace(attempt=0) == wanted and name.attempt in (0, named[0].name.attempt)
    ]
    newest = max(live, key=lambda named: named[0].name.attempt, default=None)
    if sealed is not None and (newest is None or newest[0].name.attempt <= sealed.name.attempt):
        return _sealed(sealed)
    if newest is None:
        more = f"; not readable: {', '.join(problems)}" if problems else ""
        raise NotFound(f"there is no log {name} in {objects.name}{more}")
    with ThreadPoolExecutor(_THREADS) as pool:
        uid = newest[0].record.uid
        found = locate(objects, pool, {uid: newest}, lambda key, why: problems.append(f"{key}: {why}"))[uid]
    end = found.extents[-1].end_offset if found.extents else 0
    return Located(newest[0], found.extents, end)


def _sealed(metadata: Metadata) -> Located:
    extent = sealed_extent(metadata)
    return Located(metadata, [] if extent is None else [extent], metadata.record.seal.length)


def open_log(keys: Kms | DescribedKeys, metadata: Metadata) -> LogCipher:
    """The log's cipher. Raises Denied when the KMS's key is another one, Corrupt, also for what was said by others."""
    uid = metadata.record.uid
    opener = keys if isinstance(keys, DescribedKeys) else DescribedKeys(keys)
    return vouched_cipher(opener.open_dek(uid, metadata.dek), metadata)


class LogParts:
    """Reads a located log. Use it as a context manager; parts() may be called once at a time."""

    def __init__(
        self,
        objects: ObjectStore,
        cipher: LogCipher,
        log: Located,
        *,
        observe: Callable[[Record], object] = lambda _: None,
        foreign: ForeignText | None = None,
    ) -> None:
        """observe: called with each record as it was found in its object, in order. foreign: see ExtentReader."""
        self._observe = observe
        self._reader = ExtentReader(objects, RangeCache(0), threads=_THREADS, foreign=foreign)
        self._cipher = cipher
        self._log = log
        self._losses: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def parts(self, from_offset: int = 0) -> Iterator[Part]:
        """From the chunk that holds from_offset to the log's end, without a hole. Memory: some chunks."""
        at = from_offset
        for part in self._chunks(from_offset):
            begin = max(at, part.offset)
            if part.offset > at:
                yield self._missing(at, part.offset)
            cut = begin - part.offset
            yield part._replace(offset=begin, length=part.length - cut, data=part.data[cut:]) if cut else part
            at = part.offset + part.length
        if at < self._log.length:
            yield self._missing(at, self._log.length)

    def _missing(self, begin: int, end: int) -> Part:
        why = "; ".join(dict.fromkeys(self._losses)) or "the archive has nothing of it"
        self._losses.clear()
        return Part(begin, end - begin, reason=types_pb2.GAP_REASON_LOST, why=why)

    def _chunks(self, from_offset: int) -> Iterator[Part]:
        want = Want(from_offset, self._log.length)
        for extent in self._log.extents:
            try:
                read = ExtentRead(self._reader, [extent], self._log.metadata.record.uid, want, self._note)
                for record in read.records():
                    self._observe(record)
                    length = record.header.raw_length
                    if record.header.kind == KIND_GAP:
                        yield Part(record.offset, length, reason=record.header.reason)
                        continue
                    try:
                        data = open_bytes(
                            self._cipher, record.offset, record.header, record.sealed, self._reader.foreign
                        )
                    except Corrupt as error:
                        self._losses.append(str(error))
                        continue
                    yield Part(record.offset, length, data)
            except ObjectGone as gone:
                self._losses.append(str(gone))

    def _note(self, _begin: int, _end: int, why: str) -> None:
        self._losses.append(why)


class Sums:
    """What a read adds up to, to hold against the seal."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.at = 0
        self.newlines = 0
        self.problems: list[str] = []
        self._gaps: list[tuple[int, int, int]] = []

    def add(self, part: Part) -> None:
        """The next part."""
        if part.offset != self.at:
            self.problems.append(f"offsets {self.at} to {part.offset}: missing")
        self.at = part.offset + part.length
        if part.reason:
            self._gaps.append((part.offset, part.length, part.reason))
            if part.why:
                self.problems.append(f"offsets {part.offset} to {self.at}: {part.why}")
        self._sha256.update(part.data)
        self.newlines += part.data.count(b"\n")

    def compare(self, seal: types_pb2.Seal) -> list[str]:
        """What is wrong, nothing when the log is exactly what was sealed."""
        problems = list(self.problems)
        if self.at != seal.length:
            problems.append(f"the seal says {seal.length} bytes, {self.at} were found")
        if [(gap.offset, gap.length, gap.reason) for gap in seal.gaps] != self._gaps:
            problems.append(f"the seal lists {len(seal.gaps)} gaps, {len(self._gaps)} others were found")
        newlines = self.newlines + sum(gap.newlines for gap in seal.gaps)
        if newlines != seal.newlines:
            problems.append(f"the seal says {seal.newlines} newlines, {newlines} were found")
        if seal.sha256 and self._sha256.digest() != seal.sha256:
            problems.append(f"the seal says SHA-256 {seal.sha256.hex()}, the bytes have {self._sha256.hexdigest()}")
        return problems
