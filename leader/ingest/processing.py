"""The messages of one worker's stream: each is checked, what fits is sealed, and the rest refused."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from joblog.death import EVENT_KIND
from joblog.errors import JoblogError
from joblog.leader.ingest.live_log import Accepted, LiveLog, Refused
from joblog.v1 import ingest_pb2, types_pb2

if TYPE_CHECKING:
    from joblog.leader.ingest.quotas import Account
    from joblog.leader.ingest.session import Session

log = logging.getLogger(__name__)

MAX_LOGS = 200_000
MAX_EVENT_BYTES = 4096
# On one stream: of a log's events the last 10,000 are archived.
MAX_EVENTS = 10_000
# What no worker may say: others rely on it.
OWN_EVENTS = frozenset({EVENT_KIND})


@dataclass(slots=True)
class Processed:
    """What came of one message: work to commit, and answers."""

    accepted: list[Accepted] = field(default_factory=list)
    ends: dict[LiveLog, int] = field(default_factory=dict)
    events: list[tuple[LiveLog, types_pb2.Event]] = field(default_factory=list)
    opened: list[tuple[ingest_pb2.OpenLog, LiveLog | types_pb2.LogRecord]] = field(default_factory=list)
    closes: list[tuple[LiveLog, ingest_pb2.CloseLog]] = field(default_factory=list)
    counted: list[tuple[Account, int]] = field(default_factory=list)
    refusals: dict[int, Refused] = field(default_factory=dict)
    refilled: set[int] = field(default_factory=set)
    # When the oldest byte was read at its task; 0: there is none.
    first_time_ns: int = 0


class Processing:
    """Works through a stream's messages, one after another, in threads of the pool."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._ingest = session.ingest
        # By handle, of logs that are open.
        self._events: Counter[int] = Counter()

    def closed(self, handle: int) -> None:
        """The log is completed: nothing comes for it any more. In the event loop."""
        self._events.pop(handle, None)

    def process(self, request: ingest_pb2.PushRequest) -> Processed:
        """Checks and seals."""
        done = Processed()
        if request.opens:
            self._open(request.opens, done)
        for append in request.appends:
            if append.handle in done.refusals:
                continue
            try:
                live = self._log(append.handle)
                with live.lock:
                    if live.session is not self._session or live.gone:
                        raise self._fenced(live)
                    accepted = self._accept(live, append, done)
                    if accepted is not None:
                        done.accepted.append(accepted)
                        if accepted.gap is None:
                            read_ns = append.batch.first_time_ns
                            done.first_time_ns = min(done.first_time_ns or read_ns, read_ns)
                    done.ends[live] = live.next_offset
            except Refused as refused:
                done.refusals[append.handle] = refused
        self._process_ends(request, done)
        for append in request.refills:
            self._refill(append, done)
        return done

    def _refill(self, append: ingest_pb2.Append, done: Processed) -> None:
        """What does not fit changes nothing: its range stays missing, as it was."""
        live = self._session.logs.get(append.handle)
        number = self._session.kept.get(append.handle) if live is None else live.number
        if number is None or (live is not None and live.session is not self._session and not live.gone):
            return
        try:
            cipher = self._ingest.registry.cipher(number) if live is None else live.cipher
            if self._ingest.archiving.refills.take(number, cipher, append, self._ingest.limits.max_batch_bytes):
                done.refilled.add(number)
        except JoblogError as error:
            log.warning("log %d: what came again for offset %d is not taken: %s", number, append.offset, error)

    def _accept(self, live: LiveLog, append: ingest_pb2.Append, done: Processed) -> Accepted | None:
        """What quotas allow of it. A batch that begins below a quota is taken whole."""
        account = self._account(live.record.id.namespace)
        if live.is_new(append):
            try:
                if append.HasField("batch"):
                    account.check_bytes()
                (live.account or account).check_stored()
            except Refused as refused:
                refused.next_offset = live.next_offset
                raise
        accepted = live.accept(append, self._ingest.limits.max_batch_bytes)
        if accepted is None:
            return None
        if accepted.gap is None:
            account.came(accepted.raw_length)
            done.counted.append((account, accepted.raw_length))
        if live.account is not None:
            live.account.stored(accepted.stored_bytes)
            live.held_bytes += accepted.stored_bytes
        return accepted

    def _account(self, namespace: str) -> Account:
        principal = self._session.principal
        return self._ingest.quotas.account(namespace, principal.token_id if principal else "")

    def _process_ends(self, request: ingest_pb2.PushRequest, done: Processed) -> None:
        for report in request.events:
            try:
                live = self._own(report.handle)
                if report.event.ByteSize() > MAX_EVENT_BYTES:
                    raise Refused(
                        ingest_pb2.REFUSAL_CODE_INVALID,
                        f"an event has {report.event.ByteSize()} bytes, at most {MAX_EVENT_BYTES} are allowed",
                    )
                self._count_event(report.handle)
                if report.event.kind in OWN_EVENTS:
                    raise Refused(
                        ingest_pb2.REFUSAL_CODE_INVALID, f"events of kind {report.event.kind} are the leader's own"
                    )
                done.events.append((live, report.event))
            except Refused as refused:
                done.refusals.setdefault(report.handle, refused)
        for close in request.closes:
            if close.handle not in done.refusals:
                try:
                    done.closes.append((self._own(close.handle), close))
                except Refused as refused:
                    done.refusals[close.handle] = refused

    def _count_event(self, handle: int) -> None:
        self._events[handle] += 1
        if self._events[handle] > MAX_EVENTS:
            raise Refused(
                ingest_pb2.REFUSAL_CODE_INVALID, f"the log has more than {MAX_EVENTS} events from this stream"
            )

    def _open(self, opens: Sequence[ingest_pb2.OpenLog], done: Processed) -> None:
        good: list[ingest_pb2.OpenLog] = []
        for request in opens:
            if request.handle in self._session.logs or len(self._session.logs) + len(good) >= MAX_LOGS:
                done.refusals[request.handle] = Refused(
                    ingest_pb2.REFUSAL_CODE_INVALID,
                    f"handle {request.handle} is in use on this stream, or it has more than {MAX_LOGS} logs",
                )
            else:
                good.append(request)
        for request, result in self._ingest.registry.open(self._session, good):
            if isinstance(result, Refused):
                done.refusals[request.handle] = result
                continue
            if isinstance(result, LiveLog):
                self._session.logs[request.handle] = result
            done.opened.append((request, result))

    def _log(self, handle: int) -> LiveLog:
        try:
            return self._session.logs[handle]
        except KeyError:
            raise Refused(
                ingest_pb2.REFUSAL_CODE_UNKNOWN_HANDLE, f"handle {handle} names no open log on this stream"
            ) from None

    def _own(self, handle: int) -> LiveLog:
        """The log, which this stream must be the one to write. One that is gone is left to the caller."""
        live = self._log(handle)
        with live.lock:
            if live.session is not self._session and not live.gone:
                raise self._fenced(live)
        return live

    @staticmethod
    def _fenced(live: LiveLog) -> Refused:
        if live.gone and live.record.state == types_pb2.LOG_STATE_COMPLETED:
            return Refused(ingest_pb2.REFUSAL_CODE_COMPLETED, f"{live.record.id.task}: the log is completed")
        if live.gone:
            return Refused(ingest_pb2.REFUSAL_CODE_DELETED, f"{live.record.id.task}: the log was deleted")
        return Refused(
            ingest_pb2.REFUSAL_CODE_OTHER_WRITER, f"{live.record.id.task}: a newer stream has taken the log over"
        )
