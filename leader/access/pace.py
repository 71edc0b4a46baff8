"""How often and how much at once somebody may ask: requests a second by quota, and reads that are open."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator

from joblog.errors import TooMany
from joblog.leader.access.principal import Principal
from joblog.leader.access.quota import QuotaRules, Scope, scopes_of

MEAN_SECONDS = 10
_MAX_SCOPES = 10_000


class Pace:
    """Holds requests to the quotas `requests_per_second`, in the mean of ten seconds. Belongs to the event loop.

    slowed: told of each request that was refused. clock: seconds, monotonic.
    """

    def __init__(
        self,
        rules: QuotaRules,
        slowed: Callable[[Scope], None] = lambda _scope: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._slowed = slowed
        self._clock = clock
        # How many requests each scope may make at once, and when that was; the one that asked last comes last.
        self._left: OrderedDict[Scope, tuple[float, float]] = OrderedDict()

    def take(self, namespace: str, token_id: str) -> None:
        """A request for something in the namespace (may be empty), with this token (likewise). Raises TooMany."""
        now = self._clock()
        taken: list[tuple[Scope, float]] = []
        for scope in scopes_of(namespace, token_id):
            rate = self._rules.of(scope).requests_per_second
            if not rate:
                continue
            left, when = self._left.get(scope, (float(rate * MEAN_SECONDS), now))
            left = min(rate * MEAN_SECONDS, left + (now - when) * rate)
            if left < 1:
                self._slowed(scope)
                wait = (1 - left) / rate
                raise TooMany(
                    f"quota requests_per_second of {scope.kind} {scope.name}, {rate}, is used up: "
                    f"try again in {wait:.1f} s",
                    wait,
                )
            taken.append((scope, left - 1))
        for scope, left in taken:
            self._left[scope] = (left, now)
            self._left.move_to_end(scope)
        while len(self._left) > _MAX_SCOPES:
            self._left.popitem(last=False)


class Readers:
    """Bounds the reads that are open at once. Belongs to the event loop.

    total: of everybody. per_caller: of one token with its sessions, or one certificate; none where access control is
    off.
    """

    def __init__(self, total: int, per_caller: int) -> None:
        self._total = total
        self._per_caller = per_caller
        self._open = 0
        self._callers: Counter[tuple[str, str]] = Counter()

    @contextlib.contextmanager
    def reading(self, principal: Principal) -> Iterator[None]:
        """Around one read. Raises TooMany."""
        caller = ("token", principal.token_id) if principal.token_id else (principal.kind, principal.id)
        if principal.kind != "open" and self._callers[caller] >= self._per_caller:
            raise TooMany(
                f"{principal.kind} {principal.name!r} has {self._per_caller} reads open (limits.caller_reads): "
                "end some, or wait"
            )
        if self._open >= self._total:
            raise TooMany(f"{self._total} reads are open at this leader (limits.reads): try again in 1 s")
        self._open += 1
        self._callers[caller] += 1
        try:
            yield
        finally:
            self._open -= 1
            self._callers[caller] -= 1
            if not self._callers[caller]:
                del self._callers[caller]
