"""Stores that are damaged, locked, of another version, cut off by a kill, or out of space."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from joblog.errors import Conflict, Corrupt, OutOfSpace, Unavailable, WrongVersion
from joblog.leader.buffer import keys
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.engine import Operations
from joblog.leader.buffer.options import MIB, StoreOptions
from joblog.leader.buffer.store import Store
from joblog.v1.types_pb2 import LogRecord

Opener = Callable[..., LogRecord]
Chunk = Callable[..., bytes]

CHILD = """
import os, sys
from pathlib import Path
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import Store
from joblog.v1.types_pb2 import LOG_STATE_LIVE, LogId, LogRecord

store = Store.open(Path(sys.argv[1]))
number = store.next_number()
changes = Changes()
name = LogId(namespace="n", run="r", task="t", attempt=1)
record = LogRecord(id=name, uid=b"u" * 16, number=number, writer_id=b"w" * 16, created_ns=1)
record.state = LOG_STATE_LIVE
changes.put_log(record)
store.write(changes)
offset = 0
while True:
    size = 5000 if offset % 3 else 100
    changes = Changes()
    head = bytes([1, 1, 0, 1]) + bytes(4) + size.to_bytes(8, "big") + bytes(24)
    changes.put_chunk(number, offset, head + offset.to_bytes(8, "big") * (size // 8))
    store.write(changes)
    offset += size
    os.write(1, f"{offset}\\n".encode())
"""


def read_all(store: Store, number: int) -> int:
    """The length of the log's whole chunks from 0 on, each held against what the child writes."""
    length = 0
    with store.view() as view:
        for offset, header, sealed in view.chunks(number):
            assert offset == length
            assert sealed == offset.to_bytes(8, "big") * (header.raw_length // 8)
            length += header.raw_length
    return length


def test_a_store_in_use_is_refused_to_another_process(store: Store) -> None:
    code = (
        f"from joblog.leader.buffer.store import Store; from pathlib import Path; Store.open(Path({str(store.path)!r}))"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "joblog.errors.Conflict" in child.stderr
    assert "in use" in child.stderr
    with pytest.raises(Conflict, match="in use"):
        Store.open(store.path)
    store.close()
    store.close()
    Store.open(store.path).close()


def test_an_unknown_format_version_is_refused(store: Store) -> None:
    store._engine.write(Operations([], [], [(keys.META, keys.META_FORMAT, (9).to_bytes(4, "big"))]))
    store.close()
    for _ in range(2):
        with pytest.raises(WrongVersion, match="format version 9"):
            Store.open(store.path)


def test_what_is_no_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(Corrupt, match="other files"):
        Store.open(tmp_path)
    assert os.listdir(tmp_path) == ["letter.txt"]


@pytest.mark.parametrize("victim", ["CURRENT", "MANIFEST-*", "*.sst"])
def test_a_missing_file_is_corruption(store: Store, opener: Opener, victim: str) -> None:
    opener(store)
    store.close()
    for file in store.path.glob(victim):
        file.unlink()
    with pytest.raises(Corrupt, match=str(store.path)):
        Store.open(store.path)


def killed_store(path: Path, writes: int) -> int:
    """Length acked by a store whose process was killed after so many writes or a few more."""
    with subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        acked = [int(child.stdout.readline()) for _ in range(writes)]
        child.kill()
        acked += [int(line) for line in child.stdout.read().splitlines()]
    return acked[-1]


def youngest_wal(path: Path) -> Path:
    return max(path.glob("*.log"))


def test_every_acked_write_outlives_a_kill(tmp_path: Path) -> None:
    writes = random.randrange(1, 400)
    acked = killed_store(tmp_path / "store", writes)
    store = Store.open(tmp_path / "store")
    assert read_all(store, 1) >= acked, f"after {writes} writes"
    store.close()


def test_a_torn_tail_that_was_never_synced_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "store"
    acked = killed_store(path, 100)
    wal = youngest_wal(path)
    # What a power cut may leave behind the synced part: a torn record, zeros, remains of another file.
    with wal.open("ab") as file:
        file.write(wal.read_bytes()[-5000:-1000] + bytes(5000) + os.urandom(5000))
    store = Store.open(path)
    assert read_all(store, 1) >= acked
    store.close()


def test_a_synced_write_lost_from_the_wal_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "store"
    killed_store(path, 100)
    wal = youngest_wal(path)
    data = bytearray(wal.read_bytes())
    data[len(data) // 2] ^= 1
    wal.write_bytes(data)
    keep = tmp_path / "keep"
    shutil.copytree(path, keep)
    for _ in range(2):
        with pytest.raises(Corrupt, match=r"synced.*Restore a backup, or remove synced\.joblog"):
            Store.open(path)
    (keep / "synced.joblog").unlink()
    store = Store.open(keep)
    assert read_all(store, 1) > 0
    store.close()


STALLED = {"level0_slowdown_writes_trigger": "1", "level0_stop_writes_trigger": "1"}
FLOWING = {"level0_slowdown_writes_trigger": "40", "level0_stop_writes_trigger": "60"}


def test_a_write_waits_out_a_stall_without_holding_up_others(store: Store, opener: Opener) -> None:
    record = opener(store)
    runs = store._engine._families[keys.RUNS]
    runs.set_options(STALLED)
    runs.flush()
    written: list[LogRecord] = []
    thread = threading.Thread(target=lambda: written.append(opener(store, run="other")))
    thread.start()
    deadline = time.monotonic() + 20
    while store.stats().stalls < 3:
        assert time.monotonic() < deadline
        assert thread.is_alive()
    assert store.get_log(record.number) == record
    assert store.get_run("default", "other") is None
    runs.set_options(FLOWING)
    thread.join(20)
    assert store.get_log(written[0].number) == written[0]


def test_a_stall_that_lasts_is_refused(tmp_path: Path, opener: Opener) -> None:
    store = Store.open(tmp_path / "store", options=StoreOptions(stall_seconds=0.05))
    opener(store)
    runs = store._engine._families[keys.RUNS]
    runs.set_options(STALLED)
    runs.flush()
    with pytest.raises(Unavailable, match="too slow"):
        opener(store, run="other")
    store.close()


def test_a_synced_write_lets_other_threads_run(store: Store, opener: Opener) -> None:
    """An fsync with the interpreter lock held would stop every connection: seen as a gap in a second thread's steps."""
    record = opener(store)
    stop = threading.Event()
    steps = 0

    def step() -> None:
        nonlocal steps
        while not stop.is_set():
            steps += 1
            time.sleep(0)

    syncs = 0
    thread = threading.Thread(target=step)
    changes = Changes()
    changes.put_chunk(record.number, 0, bytes(8 * MIB))
    store.write(changes, sync=False)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        moved = False
        while not moved and time.monotonic() < deadline:
            store._engine.write(Operations([], [], [(keys.CHUNKS, keys.chunk_key(record.number, 1), bytes(8 * MIB))]))
            before = steps
            sys.setswitchinterval(10)
            try:
                store._engine.sync()
                moved = steps > before
            finally:
                sys.setswitchinterval(0.005)
            syncs += 1
    finally:
        stop.set()
        thread.join()
    assert moved, f"no other thread moved in {syncs} syncs"


@contextmanager
def small_disk(path: Path, size_bytes: int) -> Iterator[Path]:
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "none", str(path)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command to make a small disk with")
    if mounted.returncode:
        pytest.skip(f"a small disk can't be mounted here (root is needed): {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_a_full_disk_is_out_of_space_and_then_goes_on(tmp_path: Path, opener: Opener) -> None:
    with small_disk(tmp_path / "disk", 48 * MIB) as disk:
        store = Store.open(disk / "store", options=StoreOptions(write_buffers_bytes=8 * MIB))
        record = opener(store)
        (disk / "ballast").write_bytes(bytes(16 * MIB))
        offset = 0
        changes = Changes()
        payload = b"\1\1\0\1" + bytes(4) + (100_000).to_bytes(8, "big") + bytes(24)
        size = 100_000
        with pytest.raises(OutOfSpace, match="free space"):
            while offset < 1 << 30:
                changes = Changes()
                changes.put_chunk(record.number, offset, payload + offset.to_bytes(8, "big") * (size // 8))
                store.write(changes)
                offset += size
        assert read_all(store, record.number) >= offset
        with pytest.raises(OutOfSpace):
            store.write(changes)
        (disk / "ballast").unlink()
        deadline = time.monotonic() + 30
        while True:
            try:
                store.write(changes)
                break
            except OutOfSpace:
                assert time.monotonic() < deadline, "no write in 30 s although there is space again"
                time.sleep(0.1)
        assert read_all(store, record.number) == offset + size
        store.close()
        store = Store.open(store.path)
        assert read_all(store, record.number) == offset + size
        store.close()


def test_opening_on_a_full_disk_is_out_of_space(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", MIB) as disk:
        with pytest.raises(OSError, match="space"):
            (disk / "ballast").write_bytes(bytes(2 * MIB))
        with pytest.raises(OutOfSpace):
            Store.open(disk / "store")
