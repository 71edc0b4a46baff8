"""A new leader on an archive that another one has written: it waits until that one is surely gone, and takes over.

A leader is gone when its claim was not renewed for some of its intervals. That is seen by watching, not by comparing
clocks; only a claim that is older than any two clocks with which a store can be used may differ needs no watching.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from itertools import chain, islice

from joblog.errors import Denied, Interrupted, JoblogError
from joblog.leader.archive.census import load_metadata, load_rosters, sealed_keys
from joblog.leader.archive.claim import ClaimLost, ClaimState, read_claim
from joblog.leader.archive.objects import ObjectStore
from joblog.leader.archive.rebuild import Rebuild, has_logs, is_unfinished
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.keyring import Keyring

log = logging.getLogger(__name__)

# Renewals that fail to come before a leader counts as gone.
MISSED_RENEWALS = 3
# S3 refuses requests of clocks that are 15 minutes off.
CLOCKS_DIFFER_SECONDS = 1200.0
_POLL_SECONDS = 2.0
_SAY_EVERY = 5000


class Takeover:
    """Looks once, before the leader takes anything in. Blocks; stop() may be called from another thread.

    claimed: see Rebuild.
    """

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        objects: ObjectStore,
        *,
        claimed: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._claimed = claimed
        # Whether the archive may hold logs that this leader does not know of.
        self.has_not_looked = False
        self._store = store
        self._keyring = keyring
        self._objects = objects
        self._clock = clock
        self._clock_ns = clock_ns
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Has run() end soon; a rebuild that was begun goes on with the next start."""
        self._stopping.set()

    def run(self) -> bool:
        """Fills a store without logs from an archive that holds some; whether it did.

        An archive that can't be looked at now holds up nobody: the leader goes on as a new one, and stops as soon as it
        finds another's claim. Raises Conflict when the leader that has the archive is at work, Denied when the logs
        there were written with another key, Interrupted, and what rebuilding raises.
        """
        if is_unfinished(self._store):
            log.warning("the catalog is not rebuilt as a whole yet: going on with it")
            self._rebuild(None)
            return True
        if has_logs(self._store):
            return False
        try:
            claim = read_claim(self._objects)
            if claim is not None and claim.store_id == self._store.store_id:
                return False
            if claim is None and not self._has_logs():
                return False
        except JoblogError as error:
            self.has_not_looked = True
            log.warning("archive: can't be looked at now, going on as a leader that has no logs yet: %s", error)
            return False
        if claim is not None:
            self._wait_until_gone(claim)
        self._check_key()
        whose = f"the leader on {claim.host} with store {claim.store_id}" if claim else "a leader that is gone"
        log.warning("archive %s: taking it over from %s", self._objects.name, whose)
        self._rebuild(claim)
        return True

    def _has_logs(self) -> bool:
        return any(True for _ in chain(sealed_keys(self._objects), load_rosters(self._objects, _pass_over)))

    def _wait_until_gone(self, claim: ClaimState) -> None:
        patience = MISSED_RENEWALS * claim.renew_seconds
        if self._clock_ns() - claim.renewed_ns > (CLOCKS_DIFFER_SECONDS + patience) * 1e9:
            return
        log.warning(
            "archive %s is claimed by the leader on %s with store %s: watching for %g s whether that is at work",
            self._objects.name,
            claim.host,
            claim.store_id,
            patience,
        )
        until = self._clock() + patience
        while (left := until - self._clock()) > 0:
            if self._stopping.wait(min(left, _POLL_SECONDS, claim.renew_seconds / 2)):
                raise Interrupted("the leader is stopping")
            if read_claim(self._objects) != claim:
                raise ClaimLost(
                    f"archive {self._objects.name} is claimed by the leader on {claim.host} with store "
                    f"{claim.store_id}, which is at work: two leaders can't share a prefix. Give this one another "
                    "prefix, or stop that one and start this one again; `joblog archive rebuild` takes over at once"
                )

    def _check_key(self) -> None:
        """Before anything is claimed: whether logs that are there open with the key that is set."""
        sealed = (load_metadata(self._objects, key) for key in sealed_keys(self._objects))
        live = (metadata for metadata, _ in load_rosters(self._objects, _pass_over).values())
        for metadata in islice(chain(sealed, live), 1):
            try:
                self._keyring.adopt(metadata.dek)
            except Denied as error:
                raise Denied(
                    f"archive {self._objects.name} holds logs that were written with another key: {error}. Nothing was "
                    f"changed there. Remove {self._store.path}, which is empty, and the key file that was made new, if "
                    "any; put the right one in its place, and start again"
                ) from None

    def _rebuild(self, over: ClaimState | None) -> None:
        rebuild = Rebuild(self._store, self._keyring, self._objects, over=over, claimed=self._claimed)
        rebuilt = rebuild.run(self._show)
        log.warning(
            "archive %s: taken over: %d sealed logs, %d live ones, %d bytes; %d objects could not be used",
            self._objects.name,
            rebuilt.sealed,
            rebuilt.live,
            rebuilt.bytes,
            len(rebuilt.problems),
        )

    def _show(self, what: str, done: int, _total: int) -> None:
        if self._stopping.is_set():
            raise Interrupted("the leader is stopping; the catalog is rebuilt further when it starts again")
        if done % _SAY_EVERY < 500:
            log.info("rebuilding the catalog: %d %s", done, what)


def _pass_over(_key: str, _why: str) -> None:
    """What is damaged is told when the catalog is rebuilt."""
