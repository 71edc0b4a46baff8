"""What somebody who may write to the bucket or the store's disk can put in another place: it is noticed there.

He has no keys. Objects, records and keys are good ones of joblog's own, but of another log, another place or time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joblog.batch import STDOUT
from joblog.errors import Conflict, Corrupt, JoblogError, NotFound
from joblog.identity import LogName
from joblog.leader.archive.cat import LogParts, Sums, find_log, open_log
from joblog.leader.archive.claim import Claim, ClaimLost
from joblog.leader.archive.container import KIND_SEALED, read_footer, read_index, walk_records, write_container
from joblog.leader.archive.layout import claim_key, metadata_key, sealed_key
from joblog.leader.archive.metadata import parse_metadata
from joblog.leader.archive.objects import walk
from joblog.leader.archive.verify import Verifier
from joblog.leader.buffer.changes import Changes
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import DescribedKeys
from joblog.leader.reading.piece import ReadSpec
from tests.archiving import ArchiveSite, CountedPuts
from tests.stored_log import NAME, StoredLog, stored_leader
from tests.vouched import document_of

OTHER = NAME._replace(task="other")
# Too large to be merged with one another.
SECOND = (600 << 10) + 1
TEXTS = {name: tuple(os.urandom(600 << 10) + b"\n" for _ in range(2)) for name in (NAME, OTHER)}


class Bucket:
    """Two sealed logs of the same shape, in the hands of somebody without keys."""

    def __init__(self, folder: Path) -> None:
        self.objects = CountedPuts(folder / "archive")
        self.site = ArchiveSite(folder / "one", self.objects)
        self.logs: dict[LogName, StoredLog] = {}
        for name, texts in TEXTS.items():
            log = self.logs[name] = self.site.leader.log(name)
            for text in texts:
                log.append((STDOUT, text))
            log.complete()
        self.site.seal()
        self.kms = FileKms(folder / "one" / "kek.key", create=False)

    def replace(self, key: str, data: bytes) -> None:
        """Puts an object as a client of the bucket does, with a checksum that fits."""
        self.objects.delete([key])
        self.objects.put(key, data)

    def read(self, name: LogName) -> tuple[bytes, list[str]]:
        """From the bucket and the KMS alone: the bytes, and what is wrong with them."""
        found = find_log(self.objects, name)
        sums, data = Sums(), b""
        with LogParts(self.objects, open_log(DescribedKeys(self.kms), found.metadata), found) as log:
            for part in log.parts():
                data += part.data
                sums.add(part)
        return data, sums.compare(found.metadata.record.seal)

    def problems(self) -> dict[str, list[str]]:
        """What `joblog archive verify` finds."""
        return {one.name or one.key: one.problems for one in Verifier(self.objects, self.kms).run() if one.problems}

    async def served(self, name: LogName) -> bytes:
        """What a leader with its catalog gives, with empty caches."""
        reader = self.site.new_reader()
        pieces = [piece async for piece in reader.read(self.logs[name].number, ReadSpec())]
        return b"".join(piece.data for piece in pieces)


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    made = Bucket(tmp_path)
    assert made.read(NAME) == (b"".join(TEXTS[NAME]), [])
    yield made
    made.site.close()


def records_of(body: bytes) -> list[tuple[int, bytes]]:
    footer = read_footer(body, len(body))
    return [(one.offset, one.value) for one in walk_records(body[8 : footer.index_position])]


def uid_of(body: bytes) -> bytes:
    footer = read_footer(body, len(body))
    return next(iter(read_index(body[footer.index_position :][: footer.index_length], footer).logs))


def with_object(document: bytes, body: bytes, vouch: Callable[[bytes], bytes]) -> bytes:
    """metadata.json, made to fit another object."""
    said = json.loads(document)
    footer = read_footer(body, len(body))
    said["object"] = {
        "size": len(body), "chunks": footer.chunks, "index_position": footer.index_position,
        "index_length": footer.index_length, "index_sha256": footer.index_sha256.hex(),
        "sha256": hashlib.sha256(body).hexdigest(),
    }  # fmt: skip
    return document_of(said, vouch)


def forged(bucket: Bucket, records: list[tuple[int, bytes]], name: LogName = NAME) -> None:
    """A well-formed object of these records in place of the log's, and metadata.json made to fit.

    It is vouched for with the log's key, which nobody has: so that the records alone show what was done.
    """
    uid = uid_of(bucket.objects.get(sealed_key(name)))
    body = b"".join(write_container(KIND_SEALED, [(uid, records)]))
    document = with_object(bucket.objects.get(metadata_key(name)), body, bucket.logs[name].cipher.vouch)
    bucket.replace(sealed_key(name), body)
    bucket.replace(metadata_key(name), document)


async def test_records_of_another_log(bucket: Bucket) -> None:
    mine = records_of(bucket.objects.get(sealed_key(NAME)))
    others = records_of(bucket.objects.get(sealed_key(OTHER)))
    forged(bucket, [mine[0], others[1]])
    data, problems = bucket.read(NAME)
    assert data == TEXTS[NAME][0]
    assert problems
    assert set(bucket.problems()) == {str(NAME)}
    assert await bucket.served(NAME) in (TEXTS[NAME][0], b"")


async def test_records_exchanged_between_offsets(bucket: Bucket) -> None:
    (first, one), (second, two) = records_of(bucket.objects.get(sealed_key(NAME)))
    forged(bucket, [(first, two), (second, one)])
    data, problems = bucket.read(NAME)
    assert data == b""
    assert len(problems) >= 2
    assert set(bucket.problems()) == {str(NAME)}
    assert await bucket.served(NAME) == b""


async def test_a_record_left_out_or_twice(bucket: Bucket) -> None:
    (first, one), (second, two) = records_of(bucket.objects.get(sealed_key(NAME)))
    for records, left in (([(first, one)], TEXTS[NAME][0]), ([(second, two)], TEXTS[NAME][1])):
        forged(bucket, records)
        data, problems = bucket.read(NAME)
        assert data == left
        assert problems
        assert str(NAME) in bucket.problems()
    with pytest.raises(JoblogError):
        forged(bucket, [(first, one), (first, one)])


async def test_objects_of_two_logs_exchanged(bucket: Bucket) -> None:
    keys = [sealed_key(NAME), sealed_key(OTHER)]
    bodies = [bucket.objects.get(key) for key in keys]
    for key, body in zip(keys, reversed(bodies), strict=True):
        bucket.replace(key, body)
    for name in (NAME, OTHER):
        data, problems = bucket.read(name)
        assert data == b""
        assert problems
        assert await bucket.served(name) == b""
    assert set(bucket.problems()) == {str(NAME), str(OTHER)}


def test_metadata_of_another_log(bucket: Bucket) -> None:
    """Moved as it is, and with the names changed to those of the log whose place it takes."""
    other = bucket.objects.get(metadata_key(OTHER))
    bucket.replace(metadata_key(NAME), other)
    with pytest.raises(Corrupt, match="moved here"):
        bucket.read(NAME)
    bucket.replace(metadata_key(NAME), other.replace(b'"other"', f'"{NAME.task}"'.encode()))
    with pytest.raises(Corrupt, match="was changed"):
        bucket.read(NAME)


def test_facts_that_were_changed(bucket: Bucket) -> None:
    """Whatever is said of a log in clear, its own key vouches for; without it nobody can say otherwise."""
    document = bucket.objects.get(metadata_key(NAME))
    said = json.loads(document)
    assert document_of(said, bucket.logs[NAME].cipher.vouch) != document
    changes: list[dict[str, object]] = [
        {"outcome": None},
        {"state": "interrupted"},
        {"events": []},
        {"seal": {**said["seal"], "gaps": [{"offset": 0, "length": 1, "reason": "lost", "newlines": 0}]}},
        {"length": said["length"] - 1},
    ]
    for change in changes:
        if all(said[name] == value for name, value in change.items()):
            continue
        bucket.replace(metadata_key(NAME), document_of({**said, **change}))
        with pytest.raises(Corrupt, match="was changed"):
            bucket.read(NAME)
        assert str(NAME) in str(bucket.problems())
    bucket.replace(metadata_key(NAME), document_of(said, bucket.logs[NAME].cipher.vouch))
    assert bucket.read(NAME) == (b"".join(TEXTS[NAME]), [])


def test_the_key_of_another_log(bucket: Bucket) -> None:
    mine, other = (json.loads(bucket.objects.get(metadata_key(name))) for name in (NAME, OTHER))
    mine["key"]["dek"] = other["key"]["dek"]
    bucket.replace(metadata_key(NAME), document_of(mine))
    with pytest.raises(Corrupt, match="another log's"):
        bucket.read(NAME)
    mine["uid"] = other["uid"]
    bucket.replace(metadata_key(NAME), document_of(mine))
    with pytest.raises(Corrupt, match="was changed"):
        bucket.read(NAME)


async def test_a_shorter_log_with_a_seal_that_fits(bucket: Bucket) -> None:
    """A leader that has its catalog knows the log's seal, whatever lies in the bucket."""
    (first, one), _ = records_of(bucket.objects.get(sealed_key(NAME)))
    forged(bucket, [(first, one)])
    verdict = await bucket.site.verify(bucket.logs[NAME].number)
    assert not verdict.complete


def test_an_older_object_in_a_packs_place(tmp_path: Path) -> None:
    """A pack's key is never given twice: an old pack under a new one's key is not what the extents say."""
    bucket = Bucket(tmp_path)
    live = bucket.site.leader.log(NAME._replace(task="live"))
    packs = []
    for text in (b"one\n" * 20, b"two\n" * 20):
        live.append((STDOUT, text))
        bucket.site.flush(everything=True)
        packs.append(max(info.key for info in walk(bucket.objects, "_live/") if info.key.endswith(".pack")))
    assert len(set(packs)) == 2
    bucket.replace(packs[1], bucket.objects.get(packs[0]))
    assert packs[1] in bucket.problems() or _live_data(bucket, "live") == b"one\n" * 20
    bucket.site.close()


def _live_data(bucket: Bucket, task: str) -> bytes:
    found = find_log(bucket.objects, NAME._replace(task=task))
    with LogParts(bucket.objects, open_log(DescribedKeys(bucket.kms), found.metadata), found) as log:
        return b"".join(part.data for part in log.parts())


def test_an_older_roster_is_not_the_newest(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path)
    rosters = []
    for n in range(2):
        bucket.site.leader.log(NAME._replace(task=f"live{n}")).append((STDOUT, b"x" * 100))
        bucket.site.flush(everything=True)
        rosters.append(max(info.key for info in walk(bucket.objects, "_live/") if info.key.endswith(".roster")))
    old = bucket.objects.get(rosters[0])
    bucket.replace(rosters[1], old)
    with pytest.raises(NotFound):
        find_log(bucket.objects, NAME._replace(task="live1"))
    assert _live_data(bucket, "live0") == b"x" * 100
    bucket.site.close()


def test_an_old_claim_put_back_stops_its_leader(tmp_path: Path) -> None:
    objects = CountedPuts(tmp_path / "archive")
    first = Claim(objects, "1" * 32)
    first.ensure()
    old = objects.get(claim_key())
    second = Claim(objects, "2" * 32)
    second.take(force=True)
    objects.delete([claim_key()])
    objects.put(claim_key(), old)
    with pytest.raises(ClaimLost):
        second.ensure()
    # It is the claim of the first one again, which no two can have: neither writes over what the other has written.
    with pytest.raises(Conflict):
        Claim(objects, "2" * 32).ensure()


async def test_chunks_exchanged_in_the_store(tmp_path: Path) -> None:
    """Who writes to the leader's disk knows how checksums are made: only the key tells the places apart."""
    with stored_leader(tmp_path) as leader:
        mine, other = leader.log(NAME), leader.log(OTHER)
        for log in (mine, other):
            for text in TEXTS[NAME if log is mine else OTHER]:
                log.append((STDOUT, text))
            log.complete()
        values = {}
        with leader.store.view() as view:
            for log in (mine, other):
                for offset, header, sealed in view.chunks(log.number, 0):
                    values[log.number, offset] = header.pack() + bytes(sealed)
        for target, source in (
            ((mine.number, 0), (mine.number, SECOND)),
            ((mine.number, 0), (other.number, 0)),
            ((mine.number, SECOND), (other.number, SECOND)),
        ):
            changes = Changes()
            changes.put_chunk(*target, values[source])
            leader.store.write(changes)
            pieces = [piece async for piece in leader.reader.read(mine.number, ReadSpec())]
            assert TEXTS[OTHER][0] not in b"".join(piece.data for piece in pieces)
            assert b"".join(piece.data for piece in pieces) == TEXTS[NAME][1 if target[1] == 0 else 0]
            changes = Changes()
            changes.put_chunk(*target, values[target])
            leader.store.write(changes)


async def test_keys_exchanged_in_the_store(tmp_path: Path) -> None:
    with stored_leader(tmp_path) as leader:
        mine, other = leader.log(NAME), leader.log(OTHER)
        mine.append((STDOUT, TEXTS[NAME][0]))
        wrapped = leader.store.get_dek(other.number)
        assert wrapped is not None
        changes = Changes()
        changes.put_dek(mine.number, wrapped)
        leader.store.write(changes)
        with pytest.raises(Corrupt, match="another log's"):
            [piece async for piece in leader.reader.read(mine.number, ReadSpec())]


def test_metadata_from_before(bucket: Bucket) -> None:
    """There is one metadata.json of a sealed log: it is not written again, but with the same facts."""
    first = parse_metadata(bucket.objects.get(metadata_key(NAME)))
    bucket.site.seal()
    again = parse_metadata(bucket.objects.get(metadata_key(NAME)))
    assert first.record.seal == again.record.seal
    assert first.record.outcome == again.record.outcome
