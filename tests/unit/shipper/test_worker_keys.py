"""A worker's spool keys: made, given to a leader over a real connection, asked for again, given up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import grpc.aio
import pytest

from joblog.address import KnownLeader
from joblog.errors import Unavailable
from joblog.leader.api.grpc_ingest import IngestService
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.ingest.spool_keys import SpoolKeys as LeadersKeys
from joblog.trust import PLAINTEXT
from joblog.v1 import ingest_pb2_grpc
from joblog.worker.shipper.keys import KEY_AGE_SECONDS, UNUSED_AGE_SECONDS, SpoolKeys
from joblog.worker.spool.sealing import SpoolKey, new_key
from tests.unit.spool.spool_building import make_writer


class Leader:
    """The part of a leader that keeps spool keys, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self.now = 1e9

    @contextlib.asynccontextmanager
    async def running(self, name: str = "store") -> AsyncIterator[LeadersKeys]:
        store = Store.open(self.folder / name)
        keyring = Keyring.open(store, FileKms(self.folder / "kek.key"), store.store_id)
        kept = LeadersKeys(store, keyring.store_keys, clock_ns=lambda: int(self.now * 1e9))
        with ThreadPoolExecutor(1) as pool:
            server = grpc.aio.server()
            service = IngestService(cast(Any, None), kept, pool, cast(Any, None))
            ingest_pb2_grpc.add_IngestServicer_to_server(service, server)  # type: ignore[no-untyped-call]
            self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            await server.start()
            try:
                yield kept
            finally:
                self.address = ""
                await server.stop(None)
                store.close()

    def where(self) -> KnownLeader:
        if not self.address:
            raise Unavailable("no leader is there")
        return KnownLeader(self.address, PLAINTEXT)

    def worker(self, worker_id: str = "w") -> SpoolKeys:
        folders = [self.folder / "worker" / "spool", self.folder / "worker" / "refused"]
        return SpoolKeys(folders, worker_id, self.where, clock=lambda: self.now, retry_seconds=0.01)


@contextlib.asynccontextmanager
async def run(keys: SpoolKeys) -> AsyncIterator[SpoolKeys]:
    running = asyncio.create_task(keys.run())
    try:
        yield keys
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@pytest.fixture
def leader(tmp_path: Path) -> Leader:
    return Leader(tmp_path)


async def found(keys: SpoolKeys, key_id: str) -> SpoolKey:
    arrived = asyncio.Event()
    keys.on_arrival(arrived.set)
    if keys.find(key_id) is None:
        await asyncio.wait_for(arrived.wait(), 20)
    key = keys.find(key_id)
    assert key is not None
    return key


async def test_a_key_is_with_the_leader_before_it_is_used_and_comes_back(leader: Leader) -> None:
    async with leader.running() as kept:
        async with run(leader.worker()) as keys:
            key = await keys.current(20)
            assert [one.key for one in kept.get("w")] == [key.key]
            assert (await keys.current(0)).key == key.key
        async with run(leader.worker()) as again:
            assert (await found(again, key.key_id)).key == key.key
            assert (await again.current(20)).key == key.key
        assert (await leader.worker().fetch_current()).key == key.key
        async with run(leader.worker("other")) as other:
            assert (await other.current(20)).key != key.key
            assert other.find(key.key_id) is None
        assert len(kept.get("w")) == 1


async def test_without_a_leader_new_tasks_wait_and_are_told_what_for(leader: Leader) -> None:
    async with run(leader.worker()) as keys:
        with pytest.raises(Unavailable, match=r"spool.encryption is on.*: no leader is there"):
            await keys.current(0.2)
        waiting = asyncio.create_task(keys.current(20))
        async with leader.running() as kept:
            key = await waiting
            assert [one.key for one in kept.get("w")] == [key.key]
        # What is in memory goes on, however old it is.
        leader.now += KEY_AGE_SECONDS + 1
        assert (await keys.current(0)).key == key.key
    with pytest.raises(Unavailable, match="no leader is there"):
        await leader.worker().fetch_current()


async def test_keys_change_with_time_and_go_when_no_spool_needs_them(leader: Leader) -> None:
    async with leader.running() as kept:
        keys = leader.worker()
        first = await keys.fetch_current()
        writer = make_writer(leader.folder, key=first)
        writer.end({"kind": 1})
        leader.now += KEY_AGE_SECONDS + 1
        second = await keys.fetch_current()
        assert second.key != first.key
        leader.now += UNUSED_AGE_SECONDS + 1
        await keys.update()
        assert [one.key for one in kept.get("w")] == [first.key, second.key]
        aside = leader.folder / "worker" / "refused"
        aside.mkdir()
        moved = Path(writer.folder).rename(aside / "spool1")
        await keys.update()
        assert len(kept.get("w")) == 2
        (moved / "task.json").unlink()
        await keys.update()
        assert [one.key for one in kept.get("w")] == [second.key]
        assert keys.find(first.key_id) is None


async def test_a_leader_that_lost_its_disk_is_given_the_keys_again(leader: Leader) -> None:
    keys = leader.worker()
    async with leader.running():
        key = await keys.fetch_current()
    async with leader.running("another") as kept:
        async with run(keys):
            keys.look_again()
            while not kept.get("w"):
                await asyncio.sleep(0.01)
        assert [one.key for one in kept.get("w")] == [key.key]


async def test_a_key_that_nobody_has_is_not_asked_for_all_the_time(leader: Leader) -> None:
    async with leader.running():
        keys = leader.worker()
        missing = new_key().key_id
        assert keys.find(missing) is None
        await keys.update()
        keys._asked.clear()
        assert keys.find(missing) is None
        assert not keys._asked.is_set()
        assert keys.find(new_key().key_id) is None
        assert keys._asked.is_set()
