"""The claim: which leader may write below the archive's prefix.

One small object names the store of the leader that has it, and an epoch that grows with each taking. It is written
only under the condition that it is what was read before, so that of two leaders one finds out. What a leader writes
to the archive has its epoch in the key, or is conditional as well.

It is written anew now and then for as long as its leader works. So whoever watches it for a while knows whether that
one is gone, and no rule of the bucket by which old objects go befalls it.
"""

from __future__ import annotations

import json
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from joblog.errors import Conflict, Corrupt, NotFound, WrongVersion
from joblog.leader.archive import failpoints
from joblog.leader.archive.layout import claim_key, live_prefix, parse_pack_key, parse_roster_key
from joblog.leader.archive.objects import ObjectStore, PreconditionFailed, walk

log = logging.getLogger(__name__)

VERSION = 1
# Objects that one epoch may put: sequence numbers are epoch * EPOCH_STEP + 1 and so on.
EPOCH_STEP = 10**12
RENEW_SECONDS = 60.0


class ClaimLost(Conflict):
    """Another leader has the archive: this one must not write to it any more."""


class ClaimState(NamedTuple):
    """What the claim says. renewed_ns: when it was last written, by that leader's clock; renew_seconds: how often."""

    store_id: str
    epoch: int
    token: str
    host: str
    claimed_ns: int
    renewed_ns: int
    renew_seconds: float


def read_claim(objects: ObjectStore) -> ClaimState | None:
    """The claim as of now; None when nobody ever claimed the archive. Raises Corrupt or WrongVersion."""
    found = _get(objects)
    return None if found is None else _parse(objects.name, found)


def _get(objects: ObjectStore) -> bytes | None:
    try:
        return objects.get(claim_key())
    except NotFound:
        if objects.head(claim_key()) is None:
            return None
        raise


def _parse(name: str, data: bytes) -> ClaimState:
    try:
        said = json.loads(data)
        version = said["version"]
        if version != VERSION:
            raise WrongVersion(f"{name}: its claim has version {version}; this joblog knows version {VERSION}")
        return ClaimState(
            str(said["store_id"]),
            int(said["epoch"]),
            str(said["token"]),
            str(said["host"]),
            int(said["claimed_ns"]),
            int(said.get("renewed_ns", said["claimed_ns"])),
            float(said.get("renew_seconds", RENEW_SECONDS)),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise Corrupt(
            f"{name}: {claim_key()} is damaged: it is no claim. Remove it if no leader uses the archive"
        ) from None


class Claim:
    """This leader's claim. Thread-safe; all methods but `epoch` and next_sequence() block.

    renew_seconds: how often renew() is going to be called.
    """

    def __init__(
        self,
        objects: ObjectStore,
        store_id: str,
        *,
        renew_seconds: float = RENEW_SECONDS,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._objects = objects
        self._store_id = store_id
        self._renew_seconds = renew_seconds
        self._clock_ns = clock_ns
        self._state: ClaimState | None = None
        self._lock = threading.Lock()
        self._etag = ""
        self._sequence = 0
        # 0: not claimed yet.
        self.epoch = 0

    def ensure(self) -> None:
        """Takes the claim, or makes sure that it still stands. Raises ClaimLost."""
        with self._lock:
            if self.epoch:
                self._check()
            else:
                self._take(force=False)

    def take(self, *, force: bool, over: ClaimState | None = None) -> None:
        """Takes the claim; with force also from another store's leader, which then stops. Raises ClaimLost.

        over: only from this one; it is refused when somebody else has claimed the archive since then.
        """
        with self._lock:
            self._take(force=force, over=over)

    def renew(self) -> None:
        """Shows that this leader is at work, if it has the claim. Raises ClaimLost."""
        with self._lock:
            if self._state is None:
                return
            self._check()
            fresh = self._state._replace(renewed_ns=self._clock_ns())
            try:
                self._etag = self._objects.put(claim_key(), _packed(fresh), if_match=self._etag).etag
                self._state = fresh
            except PreconditionFailed:
                # Somebody has taken it over just now, or the store changes etags by itself.
                self._check()

    def next_sequence(self) -> int:
        """A number that no object of this archive was given before."""
        with self._lock:
            if not self.epoch:
                raise ClaimLost(f"{self._objects.name}: the archive was never claimed")
            self._sequence += 1
            return self.epoch * EPOCH_STEP + self._sequence

    def _take(self, *, force: bool, over: ClaimState | None = None) -> None:
        info = self._objects.head(claim_key())
        old = read_claim(self._objects) if info is not None else None
        if old is not None and old.store_id != self._store_id and not (force and _is_same(over or old, old)):
            raise ClaimLost(self._message(old))
        epoch = max(old.epoch if old else self._epoch_of_packs(), self.epoch) + 1
        token = secrets.token_hex(8)
        now_ns = self._clock_ns()
        state = ClaimState(self._store_id, epoch, token, socket.gethostname(), now_ns, now_ns, self._renew_seconds)
        condition = None if info is None else info.etag
        try:
            etag = self._objects.put(claim_key(), _packed(state), if_absent=info is None, if_match=condition).etag
        except PreconditionFailed:
            now = read_claim(self._objects)
            if now is None or now.token != token:
                raise ClaimLost(self._message(now)) from None
            # An earlier try of the same put has come through. The next look finds out the etag.
            etag = ""
        failpoints.reach("claim.written")
        self.epoch, self._state, self._etag, self._sequence = epoch, state, etag, 0
        log.info("claimed archive %s, epoch %d", self._objects.name, epoch)

    def _epoch_of_packs(self) -> int:
        """The last epoch in which this leader put objects, where the claim itself is gone."""
        last = 0
        for info in walk(self._objects, live_prefix(self._store_id)):
            found = parse_pack_key(info.key) or parse_roster_key(info.key)
            last = max(last, found[1] // EPOCH_STEP if found else 0)
        return last

    def _check(self) -> None:
        info = self._objects.head(claim_key())
        if info is not None and info.etag == self._etag:
            return
        now = read_claim(self._objects)
        if now is None:
            # The bucket was emptied or made anew; whoever is first has it.
            log.warning("archive %s: the claim is gone; claiming it again", self._objects.name)
            self._take(force=False)
        elif self._state is None or now.token != self._state.token:
            raise ClaimLost(self._message(now))
        elif info is not None:
            self._etag = info.etag

    def _message(self, now: ClaimState | None) -> str:
        whose = f"the leader on {now.host} with store {now.store_id}" if now else "another leader"
        return (
            f"archive {self._objects.name} is claimed by {whose}, this one has store {self._store_id}: two leaders "
            "can't share a prefix. Give this one another prefix; or, if the other one is gone for good, start this one "
            "on an empty data folder, or run `joblog archive rebuild` there, to take over"
        )


def _packed(state: ClaimState) -> bytes:
    return json.dumps({"version": VERSION, **state._asdict()}, indent=1).encode() + b"\n"


def _is_same(one: ClaimState, other: ClaimState) -> bool:
    return one.token == other.token
