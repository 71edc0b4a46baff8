"""Sealed spools: what they hide, which key opens them, and what comes of it when none does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from joblog.errors import Corrupt, Unavailable, WrongVersion
from joblog.worker.spool.format import HEADER_BYTES, LOST, SEGMENT_HEADER, encode_segment_header
from joblog.worker.spool.sealing import OVERHEAD_BYTES, SpoolCipher, SpoolKey, new_key, sealed_with
from joblog.worker.spool.writer import SpoolWriter
from tests.unit.spool.spool_building import SPOOL_KEY, append, make_writer, open_reader, read_all

SECRET = b"the secret line\n"


@pytest.fixture(autouse=True)
def sealing() -> None:
    """Not run twice, as the others here are."""


@pytest.fixture
def writer(tmp_path: Path) -> SpoolWriter:
    return make_writer(tmp_path, key=SPOOL_KEY)


def segment(writer: SpoolWriter, number: int = 1) -> Path:
    return Path(writer.folder, f"{number:08d}.seg")


def files(writer: SpoolWriter) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path(writer.folder).iterdir()}


def test_nothing_of_the_task_lies_in_clear(writer: SpoolWriter) -> None:
    append(writer, SECRET)
    append(writer, SECRET * 10_000)
    writer.append_event("noted", "the secret event")
    writer.discard(bytearray(SECRET), len(SECRET))
    append(writer, SECRET)
    writer.end({"kind": 1, "message": "the secret outcome"})
    for path, content in files(writer).items():
        for clear in (b"secret", b"noted", b"sha256", b"spool_full", writer.task.writer_id, b'"run"'):
            assert clear not in content, path
    assert read_all(open_reader(writer.folder)).data == SECRET * 10_001 + bytes(len(SECRET)) + SECRET
    # A CRC tells what short bytes were.
    header = segment(writer).read_bytes()[SEGMENT_HEADER.size :][:HEADER_BYTES]
    assert header[48:52] == bytes(4)


def test_equal_bytes_are_sealed_differently(tmp_path: Path) -> None:
    writers = [make_writer(tmp_path, name=name, key=SPOOL_KEY) for name in ("a", "b")]
    sealed = set()
    for writer in writers:
        for _ in range(20):
            append(writer, b"x" * 64)
        content = segment(writer).read_bytes()[SEGMENT_HEADER.size :]
        size = len(content) // 20
        sealed |= {content[at + HEADER_BYTES : at + size] for at in range(0, len(content), size)}
    assert len(sealed) == 40
    nonces = {one[:12] for one in sealed}
    assert len(nonces) == 40


def test_a_refused_record_is_sealed_anew(tmp_path: Path) -> None:
    """The same place is written again with other bytes: never with the nonce of the first."""
    cipher = SpoolCipher(SPOOL_KEY, "s", bytes(16))
    first, second = (cipher.seal(b"h", 5, (data,), 0) for data in (b"one", b"two"))
    assert first[:12] != second[:12]
    assert cipher.open(b"h", 5, memoryview(second)) == (0, b"two")
    for header, offset in ((b"x", 5), (b"h", 5 + (1 << 30))):
        with pytest.raises(Corrupt):
            cipher.open(header, offset, memoryview(second))


def test_a_key_that_is_not_there_or_not_the_right_one_changes_nothing(writer: SpoolWriter) -> None:
    append(writer, SECRET)
    writer.end({"kind": 1})
    before = files(writer)
    assert sealed_with(writer.folder) == SPOOL_KEY.key_id
    with pytest.raises(Unavailable, match=f"{SPOOL_KEY.key_id}.*not at hand"):
        open_reader(writer.folder, lambda _key_id: None)
    with pytest.raises(Corrupt, match="does not open with spool key"):
        open_reader(writer.folder, lambda _key_id: new_key())
    assert files(writer) == before
    assert read_all(open_reader(writer.folder)).data == SECRET


def test_a_spool_opens_in_its_own_folder_only(writer: SpoolWriter) -> None:
    append(writer, SECRET)
    writer.end({"kind": 1})
    moved = Path(writer.folder).rename(Path(writer.folder).with_name("spool2"))
    with pytest.raises(Corrupt, match="renamed"):
        open_reader(moved)


def test_a_record_that_was_forged_is_a_gap(tmp_path: Path) -> None:
    """Its check is right, for no key is needed for that."""
    writer = make_writer(tmp_path, key=SPOOL_KEY)
    other = make_writer(tmp_path, name="other", key=SPOOL_KEY)
    for one in (writer, other):
        append(one, b"a" * 50)
        append(one, b"b" * 50)
        append(one, b"c" * 50)
    writer.end({"kind": 1})
    size = HEADER_BYTES + OVERHEAD_BYTES + 50 + 5 + 13
    at = SEGMENT_HEADER.size + size
    content = bytearray(segment(writer).read_bytes())
    content[at : at + size] = segment(other).read_bytes()[at : at + size]
    segment(writer).write_bytes(content)
    reader = open_reader(writer.folder)
    got = read_all(reader)
    assert got.data == b"a" * 50 + bytes(50) + b"c" * 50
    assert [gap.reason for gap in got.gaps] == [LOST]
    assert reader.ended is not None
    assert reader.ended.sha256 == b""


def test_records_in_clear_are_not_taken_among_sealed_ones(tmp_path: Path) -> None:
    writer = make_writer(tmp_path, key=SPOOL_KEY)
    append(writer, SECRET)
    clear = make_writer(tmp_path, name="clear")
    append(clear, b"forged bytes, 16")
    segment(writer).write_bytes(segment(clear).read_bytes())
    writer.close()
    got = read_all(open_reader(writer.folder))
    assert got.data == bytes(len(SECRET))
    assert len(got.gaps) == 1


def test_unknown_versions_are_refused(writer: SpoolWriter) -> None:
    append(writer, SECRET)
    path = Path(writer.folder, "task.json")
    said = json.loads(path.read_bytes())
    assert sorted(said) == ["key", "salt", "sealed", "version"]
    path.write_text(json.dumps({**said, "version": 3}))
    with pytest.raises(WrongVersion, match="version 3"):
        open_reader(writer.folder)
    path.write_text(json.dumps({**said, "salt": "xyz"}))
    with pytest.raises(Corrupt):
        open_reader(writer.folder)
    path.write_text(json.dumps(said))
    segment(writer).write_bytes(b"JLSPOOL3" + encode_segment_header(0, sealed=True)[8:])
    with pytest.raises(WrongVersion):
        open_reader(writer.folder).read(100)


def test_a_key_does_not_print_itself() -> None:
    key = SpoolKey(b"k" * 32)
    assert repr(key) == f"SpoolKey({key.key_id})"
    assert key.key.hex() not in key.key_id
