"""Every byte of a small sealed log's objects is changed in turn: it is noticed, or makes no difference to its bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from joblog.batch import STDERR, STDOUT
from joblog.errors import Corrupt, JoblogError
from joblog.leader.archive.cat import LogParts, Sums, find_log, open_log
from joblog.leader.archive.folder import FolderStore
from joblog.leader.archive.key_objects import archive_keys, pack_store_key
from joblog.leader.archive.layout import metadata_key, sealed_key, store_key_key
from joblog.leader.archive.metadata import parse_metadata
from joblog.leader.archive.objects import ObjectInfo, walk
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import DescribedKeys, WrappedDek
from joblog.leader.crypto.store_key_record import DescribedKey
from tests.archiving import ArchiveSite, CountedPuts
from tests.stored_log import NAME

TEXT = b"first line\nsecond line\n"
# One bit of each byte; text becomes other text.
FLIP = 0x01


class Changed(FolderStore):
    """An archive in which one object is another one than was put."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.key = ""
        self.data = b""

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        if key != self.key:
            return super().get(key, start, length)
        begin = max(0, len(self.data) + start) if start < 0 else start
        end = len(self.data) if length is None else begin + length
        if end > len(self.data) or begin > end:
            raise Corrupt(f"{key} is shorter")
        return self.data[begin:end]

    def head(self, key: str) -> ObjectInfo | None:
        info = super().head(key)
        return info if key != self.key or info is None else info._replace(size=len(self.data), checksum="")


class Sealed(NamedTuple):
    """A sealed log in a bucket. kms: it opened the store key before, and is not asked again by `keys`."""

    objects: Changed
    kms: FileKms
    keys: DescribedKeys


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    folder = tmp_path_factory.mktemp("sealed")
    site = ArchiveSite(folder / "one", CountedPuts(folder / "archive"))
    log = site.leader.log(NAME)
    log.append((STDOUT, TEXT[:11]))
    log.gap(5, newlines=1)
    log.append((STDERR, TEXT[11:]))
    log.complete()
    site.flush(everything=True)
    site.seal()
    site.close()
    objects = Changed(folder / "archive")
    kms = FileKms(folder / "one" / "kek.key", create=False)
    yield Sealed(objects, kms, archive_keys(objects, kms))


def read(sealed: Sealed) -> tuple[bytes, list[str]]:
    """What the bucket and the KMS give of the log, and what a check against its seal finds. Raises JoblogError."""
    found = find_log(sealed.objects, NAME)
    sums, data = Sums(), b""
    with LogParts(sealed.objects, open_log(sealed.keys, found.metadata), found) as log:
        for part in log.parts():
            data += part.data
            sums.add(part)
    return data, sums.compare(found.metadata.record.seal)


def flipped(data: bytes) -> Iterator[tuple[int, bytes]]:
    for at in range(len(data)):
        yield at, data[:at] + bytes([data[at] ^ FLIP]) + data[at + 1 :]


def outcome_of(sealed: Sealed, key: str, data: bytes) -> tuple[bytes, list[str]] | None:
    """As read(), with other bytes in an object; None where that was refused with an error of joblog's."""
    sealed.objects.key, sealed.objects.data = key, data
    try:
        return read(sealed)
    except JoblogError:
        return None
    finally:
        sealed.objects.key = ""


def test_the_log_as_it_was_put(sealed: Sealed) -> None:
    assert read(sealed) == (TEXT, [])


def test_every_byte_of_the_sealed_object(sealed: Sealed) -> None:
    key = sealed_key(NAME)
    body = sealed.objects.get(key)
    quiet = []
    for at, data in flipped(body):
        found = outcome_of(sealed, key, data)
        if found is None or found[1]:
            # Noticed. What is given is still nothing but bytes of the log.
            assert found is None or found[0] in (TEXT, TEXT[:11], TEXT[11:], b""), at
        else:
            assert found[0] == TEXT, at
            quiet.append(at)
    # A read of a whole small log needs neither magic, index nor footer; verify looks at those.
    footer = parse_metadata(sealed.objects.get(metadata_key(NAME))).sealed
    assert footer is not None
    assert all(at < 8 or at >= footer.footer.index_position for at in quiet)


def test_every_cut_of_the_sealed_object(sealed: Sealed) -> None:
    key = sealed_key(NAME)
    body = sealed.objects.get(key)
    footer = parse_metadata(sealed.objects.get(metadata_key(NAME))).sealed
    assert footer is not None
    for end in range(footer.footer.index_position):
        found = outcome_of(sealed, key, body[:end])
        assert found is None or found[1], end


def test_every_byte_of_the_metadata(sealed: Sealed) -> None:
    """No change of what is said in clear passes: the log's own key vouches for all of it."""
    key = metadata_key(NAME)
    body = sealed.objects.get(key)
    passed = [(at, data[max(0, at - 40) : at + 10]) for at, data in flipped(body) if outcome_of(sealed, key, data)]
    # But for the copies of the store key, which the object of that key goes before, nothing is known to be unused.
    assert not passed


def test_every_byte_of_the_store_keys_object(sealed: Sealed) -> None:
    described = parse_metadata(sealed.objects.get(metadata_key(NAME))).dek.key
    key, body = store_key_key(described.key_id), pack_store_key(described)
    sealed.objects.put(key, body)
    for _, data in flipped(body):
        sealed.objects.key, sealed.objects.data = key, data
        try:
            metadata = parse_metadata(sealed.objects.get(metadata_key(NAME)))
            # A damaged copy is passed over for the one beside the log: the key is the right one, or there is none.
            dek = archive_keys(sealed.objects, sealed.kms).open_dek(metadata.record.uid, metadata.dek)
        except JoblogError:
            continue
        finally:
            sealed.objects.key = ""
        assert dek == sealed.keys.open_dek(metadata.record.uid, metadata.dek)


def test_every_byte_of_the_wrapped_keys(sealed: Sealed) -> None:
    metadata = parse_metadata(sealed.objects.get(metadata_key(NAME)))
    uid, wrapped = metadata.record.uid, metadata.dek
    for _, dek in flipped(wrapped.dek):
        with pytest.raises(JoblogError):
            DescribedKeys(sealed.kms).open_dek(uid, wrapped._replace(dek=dek))
    right = wrapped.key.unwrap(sealed.kms)
    for _, record in flipped(wrapped.store_key):
        try:
            # Its numbers and names are in clear: a key that opens is the right one all the same.
            assert DescribedKey(wrapped.store_key_id, wrapped.store_id, record).unwrap(sealed.kms) == right
        except JoblogError:
            continue
    for _, other in flipped(uid):
        with pytest.raises(JoblogError):
            DescribedKeys(sealed.kms).open_dek(other, wrapped)
    with pytest.raises(JoblogError):
        DescribedKeys(sealed.kms).open_dek(uid, WrappedDek(wrapped.dek, "0" * 32, wrapped.store_key))
    cipher = LogCipher(sealed.keys.open_dek(uid, wrapped), uid)
    for _, writer in flipped(metadata.writer):
        with pytest.raises(JoblogError):
            cipher.open_writer(writer)


def test_every_byte_of_the_key_file(sealed: Sealed, tmp_path: Path) -> None:
    metadata = parse_metadata(sealed.objects.get(metadata_key(NAME)))
    good = sealed.kms.path.read_bytes()
    path = tmp_path / "kek.key"
    path.touch(mode=0o600)
    for _, data in flipped(good):
        path.write_bytes(data)
        with pytest.raises(JoblogError):
            DescribedKeys(FileKms(path, create=False)).open_dek(metadata.record.uid, metadata.dek)


def test_the_metadata_says_nothing_of_what_the_log_says(sealed: Sealed) -> None:
    for info in walk(sealed.objects, ""):
        body = sealed.objects.get(info.key)
        assert TEXT[:10] not in body and TEXT[11:22] not in body
    json.loads(sealed.objects.get(metadata_key(NAME)))
