"""All logs that are open for writing, and how a log comes to be: opened, opened again, taken over, lost, back."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from joblog.errors import Conflict, InvalidInput, JoblogError, NotFound
from joblog.identity import AUDIT_NAMESPACE, MAX_ATTEMPT, RUN_LOG_TASK, LogName, check_labels, check_log_name
from joblog.leader.access.quota import Scope
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import KIND_DATA
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.ingest.limit import LogLimit
from joblog.leader.ingest.live_log import LiveLog, Refused
from joblog.leader.ingest.quotas import Quotas, let_go
from joblog.leader.ingest.seal import stored_bytes
from joblog.v1 import ingest_pb2, types_pb2

if TYPE_CHECKING:
    from joblog.leader.ingest.session import Session

log = logging.getLogger(__name__)

WRITER_ID_BYTES = 16
MAX_START_BYTES = 256 << 10
# The sizes of runs that are written are counted anew no more often than this: there may be ten thousand logs.
_SIZES_SECONDS = 2.0


class Registry:
    """Owns the LiveLogs. Thread-safe; load, reload and open use the store, so call them outside the event loop."""

    def __init__(self, store: Store, keyring: Keyring, *, max_log_bytes: int, quotas: Quotas | None = None) -> None:
        self.store = store
        self.quotas = quotas or Quotas()
        self.keyring = keyring
        self.max_log_bytes = max_log_bytes
        self._lock = threading.Lock()
        self.logs: dict[int, LiveLog] = {}
        self._sizes: dict[tuple[str, str], int] = {}
        self._sizes_until = 0.0

    def load(self) -> list[LiveLog]:
        """Takes up all logs that an earlier life of the leader left live or interrupted."""
        with self._lock:
            for record in self.store.live_logs():
                try:
                    live = self.logs[record.number] = self._restore(record)
                    self.quotas.account_of(record).opened()
                    live.account = self.quotas.account_of(record)
                except JoblogError as error:
                    log.error("log %d (%s/%s) can't be opened: %s", record.number, record.id.run, record.id.task, error)
            return list(self.logs.values())

    def all(self) -> list[LiveLog]:
        """Every log that is open for writing."""
        return list(self.logs.values())

    def get(self, number: int) -> LiveLog | None:
        """The log, when it is open for writing."""
        return self.logs.get(number)

    def open_bytes(self) -> Mapping[tuple[str, str], int]:
        """Bytes of tasks' logs that are open for writing, by namespace and run, as they were seconds ago at most."""
        now = time.monotonic()
        if now >= self._sizes_until:
            sizes = Counter[tuple[str, str]]()
            for live in self.all():
                name = live.record.id
                if name.task != RUN_LOG_TASK:
                    sizes[name.namespace, name.run] += live.durable_offset
            self._sizes, self._sizes_until = sizes, now + _SIZES_SECONDS
        return self._sizes

    def remove(self, number: int) -> LiveLog | None:
        """Takes a completed or deleted log out: nothing is accepted or committed for it any more."""
        live = self.logs.pop(number, None)
        if live is not None:
            with live.lock:
                live.gone = True
                live.session = None
                let_go(live)
        return live

    def reload(self, logs: Iterable[LiveLog]) -> list[LiveLog]:
        """Replaces logs by what the store holds of them, after a commit of theirs failed."""
        restored = []
        with self._lock:
            for old in logs:
                if self.logs.get(old.number) is not old:
                    continue
                record = self.store.get_log(old.number)
                if record is None:
                    del self.logs[old.number]
                    with old.lock:
                        let_go(old)
                    continue
                fresh = self.logs[old.number] = self._restore(record)
                fresh.last_heard = old.last_heard
                with old.lock:
                    fresh.account, old.account, fresh.held_bytes = old.account, None, old.held_bytes
                fresh.archived_offset = max(fresh.archived_offset, old.archived_offset)
                restored.append(fresh)
        return restored

    def _restore(self, record: types_pb2.LogRecord) -> LiveLog:
        cipher = self._cipher(record)
        end = self.store.log_end(record.number)
        next_offset, lines = (end.offset, end.lines) if end else (0, 0)
        live = LiveLog(record, cipher, next_offset, lines, self._limit(record))
        live.archived_offset = self.store.archived_offset(record.number)
        live.death_reported = None
        return live

    def cipher(self, number: int) -> LogCipher:
        """Of a log that is completed. Raises NotFound, and what the keyring raises."""
        record = self.store.get_log(number)
        if record is None:
            raise NotFound(f"log {number} is not there: it was deleted")
        return self._cipher(record)

    def _cipher(self, record: types_pb2.LogRecord) -> LogCipher:
        wrapped = self.store.get_dek(record.number)
        if wrapped is None:
            raise InvalidInput("its key is missing")
        return LogCipher(self.keyring.open_dek(record.uid, wrapped), record.uid)

    def of_writer(self, name: LogName, writer_id: bytes) -> types_pb2.LogRecord | None:
        """The record, as of now, of the log that this writer opened in the task of `name`; None where there is none.

        Raises Conflict for one that was deleted.
        """
        entry = self.store.find_writer(name.namespace, name.run, name.task, writer_id)
        if entry is None:
            return None
        if entry.deleted:
            raise Conflict(f"{name}: the log was deleted; nothing is taken for it any more")
        return self.store.get_log(entry.number)

    def measure(self) -> None:
        """Finds out what logs take that an earlier life of the leader left open, where a quota asks. Reads them."""
        for live in self.all():
            account = live.account
            if account is None or not any(self.quotas.rules.of(scope).stored_bytes for scope in account.scopes):
                continue
            size = stored_bytes(self.store, live)
            with live.lock:
                if live.account is account:
                    account.stored(size - live.held_bytes)
                    live.held_bytes = size

    def limits(self, namespace: str) -> bool:
        """Whether logs there have a limit: of the audit log nothing may go."""
        return bool(self.max_log_bytes) and namespace != AUDIT_NAMESPACE

    def _limit(self, record: types_pb2.LogRecord) -> LogLimit | None:
        if not self.limits(record.id.namespace):
            return None
        number = record.number
        with self.store.view() as view:
            # What is archived is not looked into: an extent counts, stays or goes as a whole.
            places = [
                (extent.offset, extent.end_offset - extent.offset, extent.newlines, extent.lines_before, True)
                for extent in view.extents(number)
            ]
            places += [
                (offset, head.raw_length, head.newlines, head.lines_before, head.kind == KIND_DATA)
                for offset, head, _sealed in view.chunks(number, 0)
            ]
            return LogLimit(self.max_log_bytes, sorted(places))

    def open(
        self, session: Session, opens: Sequence[ingest_pb2.OpenLog], *, own: bool = False
    ) -> list[tuple[ingest_pb2.OpenLog, LiveLog | types_pb2.LogRecord | Refused]]:
        """Opens logs for a session, all in one write; what became of each. own: logs that the leader itself writes.

        A LiveLog: go on at its next offset. A LogRecord: completed already. Refused: why not.
        Raises OutOfSpace and the like when the write fails; then none was opened.
        """
        with self._lock:
            opening = _Opening(self, session, own=own)
            results = [(request, opening.one(request)) for request in opens]
            if opening.changes:
                self.store.write(opening.changes, sync=True)
            for live in opening.fresh:
                self.logs[live.number] = live
                live.account = self.quotas.account_of(live.record)
                live.account.opened()
            for live, record in opening.back:
                live.record = record
            for request, result in results:
                if isinstance(result, LiveLog):
                    with result.lock:
                        result.session = session
                        result.handle = request.handle
            return results


class _Opening:
    """The opens of one message, which must see each other."""

    def __init__(self, registry: Registry, session: Session, *, own: bool) -> None:
        self.changes = Changes()
        self.fresh: list[LiveLog] = []
        # Logs whose worker was lost and is back, and their records as they are once that is written.
        self.back: list[tuple[LiveLog, types_pb2.LogRecord]] = []
        self._registry = registry
        self._own = own
        self.store = registry.store
        self._session = session
        self._by_writer: dict[tuple[str, str, str, bytes], LiveLog] = {}
        self._attempts: dict[tuple[str, str, str], set[int]] = {}
        # Logs that are being opened, by what quotas are about.
        self._counts: Counter[Scope] = Counter()

    def one(self, request: ingest_pb2.OpenLog) -> LiveLog | types_pb2.LogRecord | Refused:
        try:
            name = self._check(request)
            return self._find(name, request) or self._create(name, request)
        except Refused as refused:
            return refused
        except InvalidInput as error:
            return Refused(ingest_pb2.REFUSAL_CODE_INVALID, str(error))

    def _check(self, request: ingest_pb2.OpenLog) -> LogName:
        name = LogName(request.id.namespace, request.id.run, request.id.task, request.id.attempt)
        check_log_name(name, open_attempt=True)
        self._session.check_may_open(name.namespace)
        if name.namespace == AUDIT_NAMESPACE and not self._own:
            raise InvalidInput(f"{name}: only the leader itself writes the audit log")
        if len(request.writer_id) != WRITER_ID_BYTES:
            raise InvalidInput(f"writer_id has {len(request.writer_id)} bytes, must be {WRITER_ID_BYTES}")
        if request.start.ByteSize() > MAX_START_BYTES:
            raise InvalidInput(f"start has {request.start.ByteSize()} bytes, at most {MAX_START_BYTES} are allowed")
        check_labels(dict(request.start.labels))
        return name

    def _find(self, name: LogName, request: ingest_pb2.OpenLog) -> LiveLog | types_pb2.LogRecord | None:
        place = (name.namespace, name.run, name.task)
        if known := self._by_writer.get((*place, request.writer_id)):
            return known
        entry = self.store.find_writer(*place, request.writer_id)
        if entry is None:
            return None
        if entry.deleted:
            raise Refused(
                ingest_pb2.REFUSAL_CODE_DELETED, f"{name}: the log was deleted; nothing is taken for it any more"
            )
        live = self._registry.logs.get(entry.number)
        if live is None:
            record = self.store.get_log(entry.number)
            if record is None or record.state != types_pb2.LOG_STATE_COMPLETED:
                raise Refused(
                    ingest_pb2.REFUSAL_CODE_UNAVAILABLE,
                    f"{name}: the log can't be opened; see the leader's log",
                    retry=True,
                )
            return record
        with live.lock:
            if live.next_offset != live.durable_offset and live.session is not self._session:
                raise Refused(
                    ingest_pb2.REFUSAL_CODE_UNAVAILABLE,
                    f"{name}: the earlier stream still ends; open it again",
                    retry=True,
                )
            if live.record.state == types_pb2.LOG_STATE_INTERRUPTED:
                self._back(live)
        self._by_writer[(*place, request.writer_id)] = live
        return live

    def _back(self, live: LiveLog) -> None:
        record = types_pb2.LogRecord()
        record.CopyFrom(live.record)
        record.state = types_pb2.LOG_STATE_LIVE
        self.changes.put_log(record)
        self.back.append((live, record))
        event = types_pb2.Event(
            offset=live.next_offset,
            time_ns=time.time_ns(),
            kind="worker_back",
            message=f"worker {self._session.worker_id} is back and goes on at offset {live.next_offset}",
        )
        self.changes.put_event(live.number, event)

    def _create(self, name: LogName, request: ingest_pb2.OpenLog) -> LiveLog:
        place = (name.namespace, name.run, name.task)
        principal = self._session.principal
        token_id = principal.token_id if principal else ""
        account = self._registry.quotas.account(name.namespace, token_id)
        if not self._own:
            account.check_open(self._counts)
        taken = self._attempts.setdefault(place, set())
        attempt = name.attempt
        if attempt == 0:
            attempt = max(self.store.last_attempt(*place), *taken, 0) + 1
            if attempt > MAX_ATTEMPT:
                # Somebody has chosen the last one that there can be.
                raise Refused(
                    ingest_pb2.REFUSAL_CODE_INVALID,
                    f"{name}: attempt {MAX_ATTEMPT} is taken, the last one that can be: give a number, or another task",
                )
        elif attempt in taken or self.store.find_log(name) is not None:
            raise Refused(
                ingest_pb2.REFUSAL_CODE_OTHER_WRITER,
                f"{name}: the log has another writer; leave the attempt open, or give a new one",
            )
        taken.add(attempt)
        uid = os.urandom(16)
        dek, wrapped = self._registry.keyring.new_dek(uid)
        record = types_pb2.LogRecord(
            id=types_pb2.LogId(namespace=name.namespace, run=name.run, task=name.task, attempt=attempt),
            uid=uid,
            number=self.store.next_number(),
            writer_id=request.writer_id,
            state=types_pb2.LOG_STATE_LIVE,
            tier=types_pb2.TIER_BUFFER,
            created_ns=time.time_ns(),
            start=request.start,
            token_id=token_id,
        )
        record.start.worker_id = self._session.worker_id
        self.changes.put_log(record)
        self.changes.put_dek(record.number, wrapped)
        limit = LogLimit(self._registry.max_log_bytes) if self._registry.limits(name.namespace) else None
        live = LiveLog(record, LogCipher(dek, uid), 0, 0, limit)
        self.fresh.append(live)
        self._counts.update(account.scopes)
        self._by_writer[(*place, request.writer_id)] = live
        return live
