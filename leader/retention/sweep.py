"""One look at all runs, a slice at a time: which of them are due. Deletes nothing.

Runs are gone through by namespace and name, as they lie in the store: that takes some seconds for a million of them,
and follows a change of the policies at once, which an index of due dates would not. What is kept in memory ends with
each namespace: the newest runs of each group of keep_last, and, beyond a quota, the oldest runs that it lets go of.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from joblog.leader.buffer.every import logs_of_run
from joblog.leader.buffer.store import Store
from joblog.leader.retention.held import holds_on
from joblog.leader.retention.policy import ENDED, Policies, Policy, StoredQuota
from joblog.v1.types_pb2 import RunRecord

# Runs in the groups of one namespace that are kept in memory at once; and those that a quota lets go of in one sweep.
MAX_GROUPED = 500_000
MAX_OVER_QUOTA = 100_000


class Due(NamedTuple):
    """A run that nothing keeps any more but, maybe, a hold. why: the policy or quota, as it is written."""

    run: RunRecord
    why: str
    is_held: bool = False


class _Place(NamedTuple):
    """A run in its group: the newest is the greatest."""

    created_ns: int
    run: str
    ended_ns: int


class Sweep:
    """Used by one thread at a time, and once. now_ns: what counts as now.

    max_grouped: see MAX_GROUPED. Where a namespace has more, those beyond stay, and `problems` says so.
    """

    def __init__(
        self,
        store: Store,
        policies: Policies,
        now_ns: int,
        *,
        namespace: str = "",
        max_grouped: int = MAX_GROUPED,
        max_over_quota: int = MAX_OVER_QUOTA,
    ) -> None:
        self.looked_at = 0
        self.problems: list[str] = []
        self._store = store
        self._policies = policies
        self._now_ns = now_ns
        self._only = namespace
        self._max_grouped = max_grouped
        self._max_over_quota = max_over_quota
        self._namespace = ""
        self._forget()

    def _forget(self) -> None:
        self._groups: dict[tuple[Policy, tuple[str, ...]], list[_Place]] = {}
        self._grouped = 0
        self._stored_bytes = 0
        self._due_bytes = 0
        # Names of due runs, where a quota has to know.
        self._due: set[str] = set()
        self._quota = self._policies.quota_of(self._namespace) if self._namespace else None

    def slices(self, size: int) -> Iterator[list[Due]]:
        """What is due among some `size` runs at a time; each slice sees the store as it is then. Raises Unavailable."""
        at, more = b"", True
        while more:
            page = self._page(at, self._only, size)
            found: list[Due] = []
            for _, run in page:
                if run.namespace != self._namespace:
                    yield from self._end_namespace(size)
                    self._namespace = run.namespace
                    self._forget()
                if (due := self._look(run)) is not None:
                    found.append(due)
            self.looked_at += len(page)
            more = len(page) == size
            at = page[-1][0] if page else b""
            yield found
        yield from self._end_namespace(size)

    def _page(self, at: bytes, namespace: str, size: int) -> list[tuple[bytes, RunRecord]]:
        # Taken at once, so that no iterator of the store is kept over a pause.
        return list(islice(self._store.expiry.runs(at, namespace), size))

    def _look(self, run: RunRecord) -> Due | None:
        if run.state in ENDED:
            self._stored_bytes += run.stored_bytes
        policy = self._policies.of(run)
        if policy is None or policy.is_forever:
            return None
        if policy.keep_last:
            found = self._overtaken(policy, run)
            return None if found is None else self._found(found, policy.text)
        return self._found(run, policy.text) if policy.is_past(self._ended_ns(run), self._now_ns) else None

    def _found(self, run: RunRecord, why: str) -> Due:
        held = self.is_held(run)
        if not held:
            # An interrupted one takes nothing of the quota.
            self._due_bytes += run.stored_bytes if run.state in ENDED else 0
            if self._quota is not None and len(self._due) <= self._max_over_quota:
                self._due.add(run.run)
        return Due(run, why, held)

    def is_held(self, run: RunRecord) -> bool:
        """Whether a hold is on the run, on one of its labels, or on one of its logs' own."""
        return bool(self._store.holds.present.unreadable or holds_on(self._store, run))

    def _ended_ns(self, run: RunRecord) -> int:
        """When the run ended; an interrupted one, when something was heard of it last."""
        return run.completed_ns if run.state in ENDED else last_heard_ns(self._store, run)

    def _overtaken(self, policy: Policy, run: RunRecord) -> RunRecord | None:
        """The run of the group, this one or one that was met before, that is none of the newest any more, and is past.

        One that is not past yet, or that has changed since, is for the next sweep.
        """
        group = self._groups.setdefault((policy, policy.group(run)), [])
        place = _Place(run.created_ns, run.run, run.completed_ns)
        if len(group) < policy.keep_last:
            if self._grouped >= self._max_grouped:
                self._too_many(run.namespace)
                return None
            self._grouped += 1
            heapq.heappush(group, place)
            return None
        oldest = heapq.heappushpop(group, place)
        if not policy.is_past(oldest.ended_ns, self._now_ns):
            return None
        return run if oldest.run == run.run else self._as_met(run.namespace, oldest.run, oldest.ended_ns)

    def _as_met(self, namespace: str, name: str, ended_ns: int) -> RunRecord | None:
        """A run that was met before; None where it is gone, has gone on since, or goes on still."""
        run = self._store.get_run(namespace, name)
        return run if run is not None and run.state in ENDED and run.completed_ns == ended_ns else None

    def _too_many(self, namespace: str) -> None:
        text = (
            f"namespace {namespace} has more than {self._max_grouped:,} runs among the last of all groups of keep_last "
            "together: those beyond are not counted, and stay. Name labels with fewer values"
        )
        if text not in self.problems:
            self.problems.append(text)

    def _end_namespace(self, size: int) -> Iterator[list[Due]]:
        """What the quota of the namespace that was gone through lets go of, beside what is due anyway."""
        quota = self._quota
        excess = self._stored_bytes - self._due_bytes - quota.bytes if quota is not None else 0
        # Else so much is due that the next sweep is early enough.
        if quota is not None and excess > 0 and len(self._due) <= self._max_over_quota:
            yield from self._oldest(quota, excess, size)

    def _oldest(self, quota: StoredQuota, excess: int, size: int) -> Iterator[list[Due]]:
        """Enough of the runs that ended first, and are not held, to be within the quota again."""
        # The one that ended last is the first to be left out.
        chosen: list[tuple[int, str, int]] = []
        namespace, total, at, more = self._namespace, 0, b"", True
        while more:
            page = self._page(at, namespace, size)
            for _, run in page:
                if run.state not in ENDED or not run.stored_bytes or run.run in self._due or self.is_held(run):
                    continue
                heapq.heappush(chosen, (-run.completed_ns, run.run, run.stored_bytes))
                total += run.stored_bytes
                while total - chosen[0][2] >= excess or len(chosen) > self._max_over_quota:
                    total -= heapq.heappop(chosen)[2]
            more = len(page) == size
            at = page[-1][0] if page else b""
            yield []
        for begin in range(0, len(chosen), size):
            runs = (self._as_met(namespace, name, -ended) for ended, name, _ in chosen[begin : begin + size])
            yield [Due(run, f"quota {quota.text}") for run in runs if run is not None]


def last_heard_ns(store: Store, run: RunRecord) -> int:
    """When something was heard of the run's logs last."""
    logs = logs_of_run(store, run.namespace, run.run)
    heard = (max(log.last_append_ns, log.created_ns, log.completed_ns) for log in logs)
    return max(run.created_ns, max(heard, default=0))
