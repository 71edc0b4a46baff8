"""Legal holds: which runs nobody deletes. All of them are in memory, as every deletion asks."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from google.protobuf.message import DecodeError

from joblog.errors import Conflict, Corrupt, InvalidInput
from joblog.identity import AUDIT_NAMESPACE, MAX_LABEL_VALUE_LENGTH, MAX_LABELS, check_name
from joblog.leader.buffer import keys
from joblog.leader.buffer.cursor import Source, scan
from joblog.leader.buffer.engine import Engine, Operations
from joblog.v1.retention_pb2 import Hold

MAX_HOLDS = 10_000
MAX_REASON_LENGTH = 400


class Held(Conflict):
    """A legal hold keeps what was to be deleted."""


def check_hold(hold: Hold) -> Hold:
    """Returns the hold when it is one, on a run or on a label; raises InvalidInput."""
    if bool(hold.run) == bool(hold.label):
        raise InvalidInput("a hold is on a run or on a label: give one of them")
    if hold.run or hold.namespace:
        check_name("namespace", hold.namespace)
    if hold.namespace == AUDIT_NAMESPACE:
        raise InvalidInput("the audit log can't be deleted: it needs no hold")
    if hold.run:
        check_name("run", hold.run)
    else:
        check_name("label", hold.label)
    if len(hold.value) > MAX_LABEL_VALUE_LENGTH or "\0" in hold.value or (hold.run and hold.value):
        raise InvalidInput(f"a label's value has at most {MAX_LABEL_VALUE_LENGTH} characters, and a run has none")
    if len(hold.reason) > MAX_REASON_LENGTH:
        raise InvalidInput(f"the reason has {len(hold.reason)} characters, at most {MAX_REASON_LENGTH} are kept")
    return hold


def key_of(hold: Hold) -> bytes:
    """Its key in the index."""
    return keys.hold_key(hold.namespace, hold.run, hold.label, hold.value)


def words_of(hold: Hold) -> str:
    """What a hold is on, in words."""
    where = hold.namespace or "any namespace"
    return f"run {hold.namespace}:{hold.run}" if hold.run else f"label {hold.label}={hold.value} in {where}"


class Holds:
    """The holds of one moment; another one takes its place when they change. Never changed itself, so thread-safe.

    unreadable: why nothing at all may be deleted, as there may be holds that are not known here; else empty.
    """

    def __init__(self, holds: Iterable[Hold] = (), unreadable: str = "") -> None:
        self.all = {key_of(hold): hold for hold in holds}
        self.unreadable = unreadable
        self._labels = {(hold.namespace, hold.label) for hold in self.all.values() if hold.label}

    @classmethod
    def load(cls, source: Source) -> Holds:
        """Those in the store."""
        prefix = keys.hold_prefix()
        found = [Hold.FromString(value) for _, value in scan(source, keys.INDEX, prefix, keys.after(prefix))]
        return cls(found, (source.get(keys.META, keys.META_UNREADABLE_HOLDS) or b"").decode())

    @property
    def has_labels(self) -> bool:
        """Whether any of them is on a label: a log's own labels matter then."""
        return bool(self._labels)

    def may_be_on_logs(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether one may be on a log's own label that a run with these has not: it says the first value of each."""
        if len(labels) >= MAX_LABELS:
            return any(where in ("", namespace) for where, _ in self._labels)
        return any(label in labels and where in ("", namespace) for where, label in self._labels)

    def of(self, namespace: str, run: str, labels: Mapping[str, str]) -> list[Hold]:
        """Those that hold the run, or a log of it with these labels."""
        if not self.all:
            return []
        wanted = [keys.hold_key(namespace, run, "", "")]
        if self._labels:
            for label, value in labels.items():
                wanted += [keys.hold_key(where, "", label, value) for where in (namespace, "")]
        return [self.all[key] for key in wanted if key in self.all]

    def check(self, namespace: str, run: str, labels: Mapping[str, str]) -> None:
        """Raises Held when nothing of the run may be deleted."""
        if self.unreadable:
            raise Held(f"nothing is deleted: {self.unreadable}; `joblog hold ls` says more")
        for hold in self.of(namespace, run, labels):
            raise Held(
                f"{namespace}:{run} is on legal hold (on {words_of(hold)}): an admin may lift it (`joblog hold lift`)"
            )

    def with_hold(self, hold: Hold) -> Holds:
        """The same and one more."""
        if len(self.all) >= MAX_HOLDS:
            raise Conflict(f"there are {MAX_HOLDS} holds, the most that are kept: lift some, or hold a label")
        return Holds([*self.all.values(), hold], self.unreadable)

    def without(self, hold: Hold) -> Holds:
        """The same without that one."""
        gone = key_of(hold)
        return Holds([one for key, one in self.all.items() if key != gone], self.unreadable)


class HoldTable:
    """The holds in the store. Thread-safe.

    present: those of now; another object takes its place when they change. lock: held by whoever deletes logs, so that
    what is being deleted while a hold is set is gone when set() returns, and nothing is from then on.
    """

    def __init__(self, engine: Engine, lock: threading.Lock) -> None:
        self._engine = engine
        self._lock = lock
        self.present = Holds.load(engine)

    def set(self, hold: Hold) -> Hold | None:
        """Sets the hold, synced; gives the one that was there already, which stays. Raises InvalidInput, Conflict."""
        key = key_of(check_hold(hold))
        with self._lock:
            there = self.present.all.get(key)
            if there is not None:
                return there
            holds = self.present.with_hold(hold)
            self._engine.write(Operations([], [], [(keys.INDEX, key, hold.SerializeToString())]))
            self.present = holds
        self._engine.sync()
        return None

    def lift(self, hold: Hold) -> bool:
        """Lifts it, synced; False when there was none. Raises InvalidInput."""
        key = key_of(check_hold(hold))
        with self._lock:
            if key not in self.present.all:
                return False
            self._engine.write(Operations([], [(keys.INDEX, key)], []))
            self.present = self.present.without(hold)
        self._engine.sync()
        return True

    def restore(self, holds: Iterable[Hold], unreadable: str = "") -> None:
        """Sets those that an archive keeps, beside those that are there; unreadable: why they are not known."""
        for hold in holds:
            self.set(hold)
        with self._lock:
            put = (keys.META, keys.META_UNREADABLE_HOLDS, unreadable.encode())
            self._engine.write(Operations([], [], [put]))
            self.present = Holds(self.present.all.values(), unreadable)
        self._engine.sync()


def pack_holds(holds: Iterable[Hold]) -> bytes:
    """All of them, for the archive; the same for the same holds."""
    return b"".join(
        len(data).to_bytes(4, "big") + data
        for data in (hold.SerializeToString(deterministic=True) for hold in sorted(holds, key=key_of))
    )


def unpack_holds(data: bytes) -> list[Hold]:
    """What pack_holds() was given. Raises Corrupt."""
    found: list[Hold] = []
    at = 0
    try:
        while at < len(data):
            end = at + 4 + int.from_bytes(data[at : at + 4], "big")
            if end > len(data) or len(found) == MAX_HOLDS:
                raise Corrupt("what is kept of holds is cut short, or too long")
            found.append(check_hold(Hold.FromString(data[at + 4 : end])))
            at = end
    except (InvalidInput, DecodeError) as error:
        raise Corrupt(f"what is kept of holds can't be read: {error}") from None
    return found
