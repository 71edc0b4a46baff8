"""The store's keys while a leader runs: opened at its start, rotated by age, wrapped anew when an operator asks."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import NamedTuple

from joblog.errors import Conflict, Corrupt, Denied, JoblogError, Unavailable
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.keyring import Keyring, store_key_id
from joblog.leader.crypto.kms import Kms
from joblog.leader.crypto.kms_options import KmsDescription
from joblog.leader.crypto.remembered import KmsSource, present_now, remember, settings_of, settings_text
from joblog.leader.crypto.store_key_record import DescribedKey, StoreKeyRecord, unpack_record
from joblog.leader.crypto.store_keys import check_kms
from joblog.leader.metrics import Metrics
from joblog.leader.recovery import RecoveryKms, pack_recovery, wrap_again
from joblog.leader.start_note import StartNote
from joblog.service import Service

log = logging.getLogger(__name__)

DAY_NS = 24 * 3600 * 10**9
# The store key's age is looked at this often at least: the clock may be set, and a suspended machine has none.
_LOOK_SECONDS = 600.0
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.5, 60.0


class Rewrapped(NamedTuple):
    """How far a rewrap is. archived: copies in the archive that were written, once it is finished."""

    done: int
    total: int
    archived: int = 0
    finished: bool = False


def _no_archive() -> int:
    return 0


class KeyService(Service):
    """Goes before all that opens or makes logs. write_archive: brings the archive's copies of store keys up to date.

    store_key_days: how old a store key may become, 0: as old as it gets. clock_ns tells its age; jitter: 0 to 1.
    """

    name = "keys"

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        source: KmsSource,
        metrics: Metrics,
        *,
        store_key_days: int,
        note: StartNote,
        warning: str = "",
        clock_ns: Callable[[], int] = time.time_ns,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """warning: what is to be told from the start on."""
        self.keyring = keyring
        self.keys = keyring.store_keys
        self.store = store
        self.source = source
        self.store_key_days = store_key_days
        self.started_ns = clock_ns()
        self.write_archive: Callable[[], int] = _no_archive
        # Ids of keys of which the archive may lack the newest copy.
        self.behind: Callable[[], list[bytes]] = list
        self._metrics = metrics.keys
        self._requests = metrics.kms.requests
        self._note = note
        self._warning = warning
        self._clock_ns = clock_ns
        self._jitter = jitter
        self._moved_to: KmsDescription | None = None
        self._overdue = ""
        self._rewrapping = asyncio.Lock()

    # Starting

    async def start(self) -> None:
        """Opens what new and live logs need; waits for a KMS that can't be reached.

        Raises Denied, Corrupt and the like: waiting would not help.
        """
        pause, said = _FIRST_PAUSE_SECONDS, ""
        try:
            while True:
                try:
                    await asyncio.to_thread(self._open_needed)
                    break
                except Unavailable as error:
                    reason = f"the keys can't be opened, as the KMS can't be reached; waiting for it: {error}"
                except JoblogError as error:
                    if self._warning:
                        raise type(error)(f"{self._warning}; with what is set now: {error}") from error
                    raise
                if reason != said:
                    log.warning("%s", reason)
                    self._note.set(reason)
                    said = reason
                self._metrics.waiting.set(1)
                await asyncio.sleep(pause * (0.5 + 0.5 * self._jitter()))
                pause = min(2 * pause, _LAST_PAUSE_SECONDS)
        finally:
            self._metrics.waiting.set(0)
            self._note.clear()
        if said:
            log.info("the KMS can be reached again")
        if self._warning:
            log.warning("%s", self._warning)

    def _open_needed(self) -> None:
        self.keys.current()
        # Keys from before their age was noted count as new.
        self.keys.note_made(self._clock_ns())
        for key_id in self._live_key_ids():
            if not self.keys.is_open(key_id):
                try:
                    self.keys.cipher(key_id)
                except Unavailable:
                    raise
                except JoblogError as error:
                    # That of some logs alone: ingest says which.
                    log.error("store key %s: %s", key_id.hex(), error)
        self._metrics.store_keys.set(len(self.keys.all()))

    def _live_key_ids(self) -> set[bytes]:
        found = set()
        for number in self.store.open_numbers():
            wrapped = self.store.get_dek(number)
            if wrapped is not None:
                try:
                    found.add(store_key_id(wrapped))
                except JoblogError:
                    continue
        return found

    # Rotation by age

    async def run(self) -> None:
        """Makes a new store key whenever the current one has become too old."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            went_well = await asyncio.to_thread(self.look)
            if went_well:
                pause = _FIRST_PAUSE_SECONDS
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                await asyncio.sleep(pause * (0.5 + 0.5 * self._jitter()))
                pause = min(2 * pause, _LAST_PAUSE_SECONDS)

    def is_due(self) -> bool:
        """Whether the current store key is older than it may become."""
        made_ns = self.keys.current_made_ns()
        if not self.store_key_days or not made_ns:
            return False
        return self._clock_ns() - made_ns >= self.store_key_days * DAY_NS

    def look(self) -> bool:
        """Rotates when that is due; False when it could not be done, and is to be tried again. Blocks."""
        try:
            if self.is_due():
                key_id = self.keys.rotate()
                log.info("made store key %s, as the one before is %d days old", key_id.hex(), self.store_key_days)
                self._metrics.store_keys.set(len(self.keys.all()))
        except JoblogError as error:
            self._metrics.rotation_failures.inc()
            self._metrics.rotation_overdue.set(1)
            if not self._overdue:
                log.warning("a new store key is due, and can't be made; the old one goes on: %s", error)
            self._overdue = f"keys: a new store key is due, and can't be made; the old one goes on: {error}"
            return False
        if self._overdue:
            log.info("store keys can be made again")
            self._overdue = ""
        self._metrics.rotation_overdue.set(0)
        return True

    # What operators ask

    def warnings(self) -> list[str]:
        """What is wrong with the keys now, for people."""
        return [text for text in (self._warning, self._overdue) if text]

    def rotate(self) -> bytes:
        """A new store key for new logs; its id. Blocks. Raises Unavailable, Denied."""
        key_id = self.keys.rotate()
        log.info("made store key %s, as somebody asked for it", key_id.hex())
        self._metrics.store_keys.set(len(self.keys.all()))
        return key_id

    def rotate_kek(self) -> str:
        """A new version of the KEK; its name. Blocks. Raises Conflict where the KMS can't make one, Unavailable."""
        return self._present.rotate()

    def newest_version(self) -> str:
        """The KEK's newest version; "" where the KMS tells of none, or can't be asked now. Blocks."""
        try:
            return self._present.current_version()
        except Unavailable:
            return ""

    def kms_calls(self) -> int:
        """Requests to KMSes since the leader started."""
        samples = (sample for metric in self._requests.collect() for sample in metric.samples)
        return int(sum(sample.value for sample in samples if sample.name.endswith("_total")))

    def settings(self) -> dict[str, str]:
        """What has to be set for the KMS that the keys were moved to; empty where they were not since the start."""
        return {} if self._moved_to is None else settings_of(self._moved_to)

    async def rewrap(self, to: Mapping[str, str]) -> AsyncGenerator[Rewrapped, None]:
        """Wraps all store keys anew: under the present KMS, or under the one that the settings `to` name.

        When it ends, or is ended, before it is finished, call it again; without `to` it goes on to the same KMS. Raises
        Denied, Corrupt, InvalidSettings, Unavailable; all keys can be opened then as before.
        """
        async with self._rewrapping:
            if to:
                await asyncio.to_thread(self._move, to)
            total = len(self.keys.all())
            newest = await asyncio.to_thread(self._present.current_version)
            # Where no version shows, every key is wrapped again.
            steps = self.keys.rewrap(lambda record: bool(newest) and self._is_of(record, newest))
            done = 0
            yield Rewrapped(done, total)
            while await asyncio.to_thread(_step, steps):
                done += 1
                yield Rewrapped(done, max(done, total))
            archived = await asyncio.to_thread(self.write_archive)
            log.info("all store keys are wrapped by KMS %r, key %r", self.keys.kms.present.name, self._present.key_id)
            yield Rewrapped(done, done, archived, finished=True)

    def export(self, passphrase: str) -> tuple[bytes, int]:
        """(recovery file, store keys in it); with a passphrase, wrapped under that. Blocks. Raises as rewrap()."""
        found = [self.keys.describe(key.key_id) for key in self.keys.all()]
        if passphrase:
            target = RecoveryKms(passphrase)
            found = [wrap_again(key, self._kms_of(key), target) for key in found]
        return pack_recovery(found, self.store.store_id, self._clock_ns()), len(found)

    def _kms_of(self, key: DescribedKey) -> Kms:
        record = unpack_record(key.record)
        return self.keys.kms.find(record.kms, record.key_id)

    @property
    def _present(self) -> Kms:
        return self.keys.kms.present

    def is_fresh(self, record: StoreKeyRecord, newest: str) -> bool:
        """Whether the key is wrapped by the present KMS, under the version `newest` as far as versions are known."""
        is_older = bool(newest and record.kek_version) and record.kek_version != newest
        return self.keys.kms.is_present(record.kms, record.key_id) and not is_older

    def _is_of(self, record: StoreKeyRecord, version: str) -> bool:
        return self.keys.kms.is_present(record.kms, record.key_id) and record.kek_version == version

    def _move(self, to: Mapping[str, str]) -> None:
        description = self.source.describe(to)
        kms = self.source.open(description, to, create=True)
        check_kms(kms, self.store.store_id)
        before = self._present
        if (kms.name, kms.key_id) == (before.name, before.key_id):
            self._check_same(kms)
            return
        former = present_now(self.store, self.source, before)
        self.keys.switch(kms, lambda: remember(self.store, former, kms, description))
        self._moved_to = description
        self._warning = (
            f"the store's keys were moved to KMS {kms.name!r}, key {kms.key_id!r}: before the next start of the "
            f"leader, set {settings_text(description)}"
        )
        log.info("KMS %r, key %r, wraps store keys from now on", kms.name, kms.key_id)

    def _check_same(self, kms: Kms) -> None:
        """Raises Conflict when `kms` has the name and key id of the present one, and is another one."""
        key_id, _ = self.keys.current()
        try:
            self.keys.describe(key_id).unwrap(kms)
        except Denied:
            raise Conflict(
                f"the other KMS can't be told from the present one, {kms.name!r}, key {kms.key_id!r}: move to one of "
                "another kind first, and from there to it"
            ) from None


def _step(steps: Iterator[object]) -> bool:
    try:
        return next(steps, None) is not None
    except RuntimeError as error:
        raise Corrupt(f"the keys could not be wrapped anew: {error}") from error
