"""Store keys over the life of a leader: a month of them, an outage of the KMS, a start that has to wait."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from joblog.errors import Corrupt, Denied, Unavailable
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.crypto.kms import Kms
from joblog.leader.crypto.kms_options import KmsDescription
from joblog.leader.crypto.known_kms import KnownKms
from joblog.leader.crypto.store_keys import StoreKeys
from joblog.leader.key_service import DAY_NS, KeyService
from joblog.leader.metrics import Metrics
from joblog.leader.start_note import StartNote
from joblog.v1 import types_pb2
from tests.stored_log import eventually
from tests.unit.crypto.test_store_keys import CountedKms

START_NS = 1_700_000_000 * 10**9


class NoSource:
    """Knows no other KMS."""

    def describe(self, settings: Mapping[str, str] = {}) -> KmsDescription:
        return KmsDescription("passphrase", {})

    def open(
        self,
        description: KmsDescription,
        settings: Mapping[str, str] = {},
        *,
        create: bool = False,
    ) -> Kms:
        raise Denied("there is no other one")


class Life:
    """One life of a leader's keys after the other, on one store. now_ns: moved by the test."""

    def __init__(self, folder: Path) -> None:
        self.note = folder / "leader.json"
        self.kms = CountedKms(folder / "kek.key")
        self.store = Store.open(folder / "store")
        self.now_ns = START_NS
        self.metrics = Metrics()
        self.restart()

    def restart(self, days: int = 30) -> None:
        keys = StoreKeys(self.store, KnownKms(self.kms), self.store.store_id, clock_ns=lambda: self.now_ns)
        self.service = KeyService(
            self.store,
            Keyring(keys),
            NoSource(),
            self.metrics,
            store_key_days=days,
            note=StartNote(self.note),
            clock_ns=lambda: self.now_ns,
            jitter=lambda: 0.0,
        )

    def log(self, *, live: bool = False) -> tuple[int, bytes]:
        """A new log: (number, uid)."""
        uid, number = os.urandom(16), self.store.next_number()
        _, wrapped = self.service.keyring.new_dek(uid)
        record = types_pb2.LogRecord(
            id=types_pb2.LogId(namespace="default", run="run", task=f"task{number}", attempt=1),
            uid=uid,
            number=number,
            writer_id=os.urandom(16),
            state=types_pb2.LOG_STATE_LIVE if live else types_pb2.LOG_STATE_COMPLETED,
            created_ns=self.now_ns,
        )
        changes = Changes()
        changes.put_log(record)
        changes.put_dek(number, wrapped)
        self.store.write(changes, sync=False)
        return number, uid

    def open(self, number: int, uid: bytes) -> None:
        wrapped = self.store.get_dek(number)
        assert wrapped is not None
        self.service.keyring.open_dek(uid, wrapped)

    def value(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(name)


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    made = Life(tmp_path)
    yield made
    made.store.close()


async def test_a_month_with_a_thousand_logs_and_a_restart_each_day(life: Life) -> None:
    """Requests to the KMS grow with time alone: a handful a day, however many logs are made and read."""
    logs: list[tuple[int, bytes]] = []
    a_day: list[int] = []
    await life.service.start()
    for day in range(62):
        before = len(life.kms.calls)
        for _ in range(24):
            assert life.service.look()
            life.now_ns += DAY_NS // 24
            logs.extend(life.log(live=not day) for _ in range(1 if len(logs) < 1000 else 0))
        for number, uid in logs:
            life.open(number, uid)
        life.restart()
        await life.service.start()
        a_day.append(len(life.kms.calls) - before)
    assert len(logs) == 1000
    assert life.kms.calls.count("wrap") == 3, "one for each store key"
    assert max(a_day) <= 4
    assert len(life.service.keys.all()) == 3
    life.kms.calls.clear()
    for _ in range(24):
        assert life.service.look()
    assert not life.kms.calls, "without a restart, none a day"
    counts = life.store.count_deks()
    assert sum(counts.values()) == 1000
    assert len(counts) >= 2


def test_zero_days_is_never_and_a_clock_set_back_harms_nothing(life: Life) -> None:
    life.restart(days=0)
    life.log()
    life.now_ns += 10_000 * DAY_NS
    assert life.service.look()
    assert life.kms.calls == ["wrap"]
    life.restart()
    life.now_ns = START_NS - 100 * DAY_NS
    assert life.service.look()
    assert len(life.service.keys.all()) == 1


def test_a_rotation_that_is_due_while_the_kms_is_away_is_made_up_for(
    life: Life, caplog: pytest.LogCaptureFixture
) -> None:
    life.log()
    life.now_ns += 31 * DAY_NS
    life.kms.away = True
    for _ in range(3):
        assert not life.service.look()
        life.log()
    assert caplog.text.count("a new store key is due") == 1
    assert "does not answer" in life.service.warnings()[0]
    assert life.value("joblog_keys_rotation_overdue") == 1
    assert life.value("joblog_keys_rotation_failures_total") == 3
    life.kms.away = False
    assert life.service.look()
    assert not life.service.warnings()
    assert life.value("joblog_keys_rotation_overdue") == 0
    assert len(life.service.keys.all()) == 2


async def test_a_start_waits_for_the_kms_says_so_and_goes_on(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    number, uid = life.log(live=True)
    life.service.keys.rotate()
    old, _ = life.log()
    life.restart()
    life.kms.away = True
    starting = asyncio.create_task(life.service.start())
    await eventually(lambda: life.note.exists())
    said = json.loads(life.note.read_text())
    assert "waiting for it" in said["waiting"] and said["pid"] == os.getpid()
    assert not starting.done()
    assert life.value("joblog_keys_waiting") == 1
    asked = len(life.kms.calls)
    await eventually(lambda: len(life.kms.calls) > asked)
    life.kms.away = False
    await asyncio.wait_for(starting, 10)
    assert not life.note.exists()
    assert life.value("joblog_keys_waiting") == 0
    assert caplog.text.count("waiting for it") == 1
    life.kms.calls.clear()
    life.open(number, uid)
    life.log()
    assert not life.kms.calls, "what live and new logs need is open"
    assert old


async def test_what_waiting_does_not_help_ends_the_start(life: Life) -> None:
    life.log()
    name = b"store/" + life.service.keys.all()[0].key_id
    record = life.store.get_key(name)
    assert record is not None
    life.store.put_key(name, record[:-1] + bytes([record[-1] ^ 1]))
    life.restart()
    with pytest.raises(Corrupt):
        await life.service.start()
    life.kms = CountedKms(life.note.with_name("other.key"))
    life.restart()
    with pytest.raises(Denied, match=r"keys\.kind"):
        await life.service.start()


async def test_a_stop_ends_the_wait(life: Life) -> None:
    life.log()
    life.restart()
    life.kms.away = True
    starting = asyncio.create_task(life.service.start())
    await eventually(lambda: life.note.exists())
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not life.note.exists()
    with pytest.raises(Unavailable):
        life.service.keys.current()
