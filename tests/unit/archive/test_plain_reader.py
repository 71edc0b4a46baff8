"""A reader that shares no code with joblog reads what joblog's own code sealed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from joblog.batch import STDERR, STDOUT
from joblog.identity import LogName
from joblog.leader.archive.container import KIND_SEALED, ContainerWriter
from joblog.leader.archive.merge import merge_chunks
from joblog.leader.archive.metadata import Metadata, SealedObject, pack_metadata, parse_metadata
from joblog.leader.archive.objects import Bytes
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import open_described
from tests import plain_reader
from tests.stored_log import StoredLog, stored_leader

READER = Path(plain_reader.__file__)


@pytest.fixture
def sealed(tmp_path: Path) -> tuple[StoredLog, Path]:
    """A log that went through store, merging and sealing; the folder of its objects, with the KEK file."""
    with stored_leader(tmp_path) as leader:
        log = leader.log(LogName("default", "demo", "build", 1))
        for number in range(200):
            log.append((STDOUT, f"line {number} of a log\n".encode()), (STDERR, b"an error\n"))
        log.gap(1000, newlines=10)
        log.append((STDOUT, b"tiny"))
        log.append((STDOUT, os.urandom(300_000)))
        log.complete()
        wrapped = leader.store.get_dek(log.number)
        record = leader.store.get_log(log.number)
        assert wrapped is not None
        assert record is not None
        writer = ContainerWriter(KIND_SEALED)
        pieces: list[Bytes] = [writer.begin_log(record.uid)]
        with leader.store.view() as view:
            for chunk in merge_chunks(log.cipher, view.chunks(log.number)):
                pieces.extend(writer.add(chunk.offset, chunk.value))
        pieces.append(writer.finish())
        metadata = Metadata(
            record,
            leader.store.events(log.number),
            leader.keyring.describe(wrapped),
            log.cipher.seal_writer(record.writer_id),
            SealedObject(writer.footer, b""),
        )
        (tmp_path / "log.joblog").write_bytes(b"".join(pieces))
        (tmp_path / "metadata.json").write_bytes(pack_metadata(metadata, log.cipher.vouch))
        return log, tmp_path


def run(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-I", READER, *arguments], capture_output=True, check=False, timeout=60)


def test_with_the_kek_and_the_metadata(sealed: tuple[StoredLog, Path]) -> None:
    log, folder = sealed
    ran = run(folder / "log.joblog", folder / "kek.key", folder / "metadata.json")
    (gap,) = log.gaps
    assert ran.stderr.decode() == f"missing: offsets {gap.offset} to {gap.offset + gap.length}\n"
    assert ran.stdout == log.model.present(0, log.length, None)


def test_with_the_key_of_the_log(sealed: tuple[StoredLog, Path]) -> None:
    log, folder = sealed
    metadata = parse_metadata((folder / "metadata.json").read_bytes())
    dek = open_described(FileKms(folder / "kek.key"), metadata.record.uid, metadata.dek)
    assert run(folder / "log.joblog", dek.hex()).stdout == log.model.present(0, log.length, None)


def test_damage_is_noticed(sealed: tuple[StoredLog, Path]) -> None:
    _, folder = sealed
    data = (folder / "log.joblog").read_bytes()
    for at in (3, 9, 40, 2000, len(data) - 100, len(data) - 70, len(data) - 1):
        (folder / "bad.joblog").write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        ran = run(folder / "bad.joblog", folder / "kek.key", folder / "metadata.json")
        assert ran.returncode != 0, at
    os.chmod(folder / "kek.key", 0o600)
    (folder / "kek.key").write_bytes(bytes(32))
    assert run(folder / "log.joblog", folder / "kek.key", folder / "metadata.json").returncode != 0


def test_it_imports_nothing_of_joblog() -> None:
    imported = set()
    for node in ast.walk(ast.parse(READER.read_text())):
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert imported - sys.stdlib_module_names == {"cryptography", "zstandard"}
