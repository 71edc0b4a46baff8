"""Quotas at ingest: what is refused to workers until there is room again, and what is said of it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from joblog.errors import JoblogError
from joblog.leader.access.quota import QuotaRules, Scope, scopes_of
from joblog.leader.access.usage import DAY_NS, Meter, Use
from joblog.leader.ingest.live_log import LiveLog, Refused
from joblog.service import Service
from joblog.v1 import ingest_pb2, types_pb2
from joblog.values import format_size

if TYPE_CHECKING:
    from joblog.leader.buffer.store import Store
    from joblog.leader.metrics import QuotaMetrics

log = logging.getLogger(__name__)

# How long a worker waits before it asks again. What it sends then is refused whole: not too often.
BYTES_RETRY_SECONDS = 60.0
STORED_RETRY_SECONDS = 60.0
LIVE_RETRY_SECONDS = 5.0
WRITE_SECONDS = 5.0
MAX_WARNINGS = 20
_MAX_REACHED = 1000
# A quota counts as reached until nobody has met it for so long.
_REACHED_SECONDS = 2 * BYTES_RETRY_SECONDS
_MAX_ACCOUNTS = 10_000
_COUNTED_AT_ONCE = 100
_PAUSE_SECONDS = 0.001


class OverQuota(Refused):
    """Not now: a quota is used up."""

    def __init__(self, message: str, retry_seconds: float) -> None:
        super().__init__(ingest_pb2.REFUSAL_CODE_QUOTA, message, retry=True)
        self.retry_seconds = retry_seconds


class _Reached(NamedTuple):
    until: float
    text: str


class Account:
    """Whom logs of one namespace that come with one token count for. Thread-safe."""

    __slots__ = ("_quotas", "scopes")

    def __init__(self, quotas: Quotas, scopes: tuple[Scope, ...]) -> None:
        self._quotas = quotas
        self.scopes = scopes

    def check_open(self, opening: Mapping[Scope, int]) -> None:
        """Raises OverQuota. opening: logs that are about to be live."""
        quotas = self._quotas
        for scope in self.scopes:
            quota = quotas.rules.of(scope)
            if quota.live_logs:
                live = quotas.meter.use(scope).live_logs + opening.get(scope, 0)
                if live >= quota.live_logs:
                    said = f"{quota.live_logs}, is reached ({live} logs are live or interrupted): a log can be opened "
                    raise quotas.over(
                        scope, "live_logs", f"{said}once one of them is completed or deleted", LIVE_RETRY_SECONDS
                    )
        self.check_stored()

    def check_bytes(self) -> None:
        """Raises OverQuota when no more bytes may come in today."""
        quotas = self._quotas
        for scope in self.scopes:
            most = quotas.rules.of(scope).bytes_per_day
            if most and (used := quotas.meter.use(scope).bytes_today) >= most:
                left = quotas.meter.seconds_left()
                ends = time.gmtime((quotas.meter.today() + 1) * DAY_NS // 10**9)
                said = f"{format_size(most)}, is used up ({format_size(used)} came today): it begins anew at "
                raise quotas.over(
                    scope,
                    "bytes_per_day",
                    said + time.strftime("%Y-%m-%d %H:%M UTC", ends),
                    min(BYTES_RETRY_SECONDS, left + 0.1),
                )

    def check_stored(self) -> None:
        """Raises OverQuota when no more bytes may be kept."""
        quotas = self._quotas
        for scope in self.scopes:
            most = quotas.rules.of(scope).stored_bytes
            if most and (used := quotas.meter.use(scope).stored_bytes) >= most:
                said = f"{format_size(most)}, is reached ({format_size(used)} are stored): there is room again once "
                raise quotas.over(scope, "stored_bytes", f"{said}logs are deleted", STORED_RETRY_SECONDS)

    def came(self, count: int) -> None:
        """Bytes came in; negative: they could not be stored."""
        self._quotas.meter.add_bytes(self.scopes, count)

    def opened(self, count: int = 1) -> None:
        """So many logs more are open for writing."""
        self._quotas.meter.add_live(self.scopes, count)

    def stored(self, count: int) -> None:
        """So many bytes more are kept."""
        if count:
            self._quotas.meter.add_stored(self.scopes, count)


class Quotas(Service):
    """Holds workers to quotas. As a service it keeps what is counted. Thread-safe."""

    name = "quotas"

    def __init__(
        self, rules: QuotaRules | None = None, meter: Meter | None = None, metrics: QuotaMetrics | None = None
    ) -> None:
        self.rules = rules or QuotaRules()
        self.meter = meter or Meter()
        self._metrics = metrics
        self._lock = threading.Lock()
        self._reached: dict[tuple[Scope, str], _Reached] = {}
        self._accounts: dict[tuple[str, str], Account] = {}
        self._count_stored: Callable[[], None] = lambda: None
        self._counting: asyncio.Future[None] | None = None
        self._stopping = False

    # Lifecycle

    async def run(self) -> None:
        """Counts what lies there already, and writes down now and then what came in."""
        self._counting = asyncio.ensure_future(asyncio.to_thread(self._count_stored))
        try:
            await asyncio.shield(self._counting)
        except JoblogError as error:
            log.error("what is stored could not be counted, quotas of stored_bytes are too generous: %s", error)
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            self._expire()
            try:
                await asyncio.to_thread(self.meter.write)
            except JoblogError as error:
                log.warning("what counts for quotas can't be written down now: %s", error)

    async def stop(self) -> None:
        """Writes the rest down."""
        self._stopping = True
        if self._counting is not None:
            await asyncio.wait([self._counting])
        await asyncio.to_thread(self.meter.write)

    # Who pays

    def account(self, namespace: str, token_id: str) -> Account:
        """Whom logs of the namespace that come with this token count for; token_id may be empty."""
        found = self._accounts.get((namespace, token_id))
        if found is None:
            if len(self._accounts) >= _MAX_ACCOUNTS:
                self._accounts.clear()
            found = self._accounts[namespace, token_id] = Account(self, scopes_of(namespace, token_id))
        return found

    def account_of(self, record: types_pb2.LogRecord) -> Account:
        """Whom a log counts for while it is kept."""
        return self.account(record.id.namespace, record.token_id)

    def use_of_token(self, token_id: str) -> Use:
        """What counts for a token."""
        return self.meter.use(Scope("token", token_id))

    # What is stored

    def follow(self, store: Store, measure: Callable[[], None]) -> None:
        """Counts what completed logs take, from now on and in `run` what is there already; there calls `measure` too.

        To be called while nothing is written to the store.
        """
        store.on_held(self._held)
        held = store.held()

        def count() -> None:
            began = time.perf_counter()
            for number, ((namespace, token_id), size) in enumerate(held):
                self.meter.add_stored(scopes_of(namespace, token_id), size)
                if number % _COUNTED_AT_ONCE == 0:
                    # What workers and readers want comes first: a million logs are counted in half a minute.
                    time.sleep(max(_PAUSE_SECONDS, 3 * (time.perf_counter() - began)))
                    began = time.perf_counter()
                if self._stopping:
                    held.close()
                    return
            measure()

        self._count_stored = count

    def _held(self, changes: Mapping[tuple[str, str], int]) -> None:
        for (namespace, token_id), size in changes.items():
            self.meter.add_stored(scopes_of(namespace, token_id), size)

    # What is said

    def over(self, scope: Scope, quota: str, said: str, retry_seconds: float) -> OverQuota:
        """The refusal, which is counted."""
        text = f"quota {quota} of {scope.kind} {scope.name}, {said}"
        with self._lock:
            if len(self._reached) < _MAX_REACHED or (scope, quota) in self._reached:
                self._reached[scope, quota] = _Reached(time.monotonic() + _REACHED_SECONDS, text)
        if self._metrics is not None:
            self._metrics.refusals.labels(quota, scope.kind).inc()
            self._show()
        return OverQuota(text, retry_seconds)

    def warnings(self) -> list[str]:
        """The quotas that somebody met lately."""
        self._expire()
        with self._lock:
            texts = [reached.text for reached in self._reached.values()]
        more = len(texts) - MAX_WARNINGS
        return [*texts[:MAX_WARNINGS], *([f"{more} more quotas are reached"] if more > 0 else [])]

    def _expire(self) -> None:
        now = time.monotonic()
        with self._lock:
            for key in [key for key, reached in self._reached.items() if reached.until < now]:
                del self._reached[key]
        self._show()

    def _show(self) -> None:
        if self._metrics is None:
            return
        with self._lock:
            reached = Counter((quota, scope.kind) for scope, quota in self._reached)
        self._metrics.show(reached)


def let_go(live: LiveLog) -> None:
    """A log is not open for writing any more: what it took while it was is not counted any more."""
    account = live.account
    if account is not None:
        live.account = None
        account.opened(-1)
        account.stored(-live.held_bytes)
