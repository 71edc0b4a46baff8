"""A store whose table is damaged is never compacted again: the way out that docs/operations.md gives."""

from __future__ import annotations

import random
from pathlib import Path

from joblog.leader.archive.archiver import ArchiverLimits
from joblog.leader.archive.folder import FolderStore
from joblog.leader.archive.rebuild import Rebuild
from joblog.leader.buffer import keys
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from tests.damaging import chunk_files
from tests.e2e.archive_leader import archive_leader, shipper_of, until
from tests.e2e.test_archive_delivery import NAME, OUTCOME
from tests.unit.spool.spool_building import append, make_writer

NEVER = ArchiverLimits(flush_interval_seconds=1e9)
PATIENT = ArchiverLimits(flush_interval_seconds=0.2, grace_seconds=0.0, loss_patience_seconds=1000.0)


async def test_the_store_is_left_behind_and_nothing_else(tmp_path: Path) -> None:
    objects = FolderStore(tmp_path / "archive")
    kek = tmp_path / "kek.key"
    folder = tmp_path / "leader"
    rng = random.Random(5)
    # Small chunks lie in the table itself.
    lines = [rng.randbytes(150).hex().encode() + b"\n" for _ in range(120)]
    writer = make_writer(tmp_path)
    address = ""
    async with shipper_of(tmp_path, lambda: address) as shipper:
        async with archive_leader(folder, objects, NEVER, kek=kek, gather_seconds=0.0) as leader:
            address = leader.address
            for line in lines:
                append(writer, line)
                await until(lambda: shipper.left() == (0, 0) and shipper.feed("spool1"), "the leader has it")
            leader.store._engine._family(keys.CHUNKS).flush()
        [table] = [file for file in chunk_files(folder / "store") if file.suffix == ".sst"]
        data = bytearray(table.read_bytes())
        data[8192:12288] = b"\xff" * 4096
        table.write_bytes(data)

        # What is put into the range of the damaged block can't be read either. All else is archived.
        async with archive_leader(folder, objects, PATIENT, kek=kek) as leader:
            address = leader.address
            number = leader.store.find_log(NAME) or 0
            assert number
            length = sum(map(len, lines))
            await until(lambda: leader.buffered(number) == 0, "the archive has what can be read")
            assert [extent.end_offset for extent in leader.store.extents(number)][-1] == length
            assert len(await leader.text(number)) < length
            assert leader.store.archived_offset(number) < length
            await until(lambda: leader.ingest.archiving.refills._hidden, "it is known that refilling is in vain")
            assert (folder / "store" / "damaged.joblog").exists()
        (folder / "store").rename(folder / "store.damaged")
        store = Store.open(folder / "store")
        rebuilt = Rebuild(store, Keyring.open(store, FileKms(kek), store.store_id), objects).run()
        assert (rebuilt.live, rebuilt.problems) == (1, [])
        store.close()

        # In the new one it comes again.
        async with archive_leader(folder, objects, PATIENT, kek=kek) as leader:
            address = leader.address
            append(writer, b"last words\n")
            assert writer.end(OUTCOME)
            await until(lambda: not Path(writer.folder).exists(), "it is sealed, and its spool removed")
            [number] = leader.numbers()
            assert await leader.text(number) == b"".join(lines) + b"last words\n"
            assert (await leader.reader.verify(number, lambda _done, _all: None)).complete
            leader.store.compact_chunks()
        assert not (folder / "store" / "damaged.joblog").exists()
